package pgfeed

import (
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// handledTo remembers what was handled when. It is guarded by the stream's mu.
type handledTo struct {
	since []handledAt // oldest first
}

type handledAt struct {
	at  time.Time
	lsn pglogrepl.LSN
}

// steps is how many of them there are for KeepFor, at most.
const steps = 60

func (h *handledTo) note(keep time.Duration, lsn pglogrepl.LSN) {
	now := time.Now()
	if n := len(h.since); n == 0 || now.Sub(h.since[n-1].at) >= keep/steps {
		h.since = append(h.since, handledAt{now, lsn})
	}
}

// before returns what was handled up to a time, and forgets what was before; 0 if nothing is
// known of it.
func (h *handledTo) before(t time.Time) (lsn pglogrepl.LSN) {
	n := 0
	for n < len(h.since) && !h.since[n].at.After(t) {
		lsn = h.since[n].lsn
		n++
	}
	if n > 1 { // the last one is needed until there is a later one
		h.since = append(h.since[:0], h.since[n-1:]...)
	}
	return lsn
}

// trail is what was handled when before a position, oldest first, in unequal steps; zeros stand
// at its end. A stream that goes on at the position knows from it how far it may move the second
// slot. Without it a slot would stay where it is while leaders change more often than KeepFor.
type trail [8]handledTime

type handledTime struct {
	at  int64 // microseconds since 1970, by the clock of whoever handled it
	lsn pglogrepl.LSN
}

// trail returns the trail of what has been handled.
func (h *handledTo) trail(keep time.Duration) (t trail) {
	// The two oldest are needed, since the first of them may be too old; the others lie apart.
	n, last := 0, time.Time{}
	for i, e := range h.since {
		if n < len(t) && (i < 2 || e.at.Sub(last) >= keep/time.Duration(len(t)-2)) {
			t[n] = handledTime{e.at.UnixMicro(), e.lsn}
			n, last = n+1, e.at
		}
	}
	return t
}

// follow begins with the trail of a position. What it says of the future is not believed.
func (h *handledTo) follow(t trail) {
	now := time.Now()
	for _, e := range t {
		at := time.UnixMicro(e.at)
		if n := len(h.since); e.lsn == 0 || at.After(now) || n > 0 && (at.Before(h.since[n-1].at) || e.lsn < h.since[n-1].lsn) {
			return
		}
		h.since = append(h.since, handledAt{at, e.lsn})
	}
}

// keep moves the second slot to what was handled KeepFor ago. To go back, a stream begins
// with a copy of it. The first slot is always moved at once: a server that shuts down waits
// until its followers have confirmed everything.
func (s *stream) keep() {
	o := &opening{Feed: s.Feed}
	defer o.close()
	every := max(s.opt.KeepFor/(steps/5), 100*time.Millisecond)
	// The first one comes soon: the stream before this one may not have lived long enough.
	tick := time.NewTimer(min(every, time.Second))
	defer tick.Stop()
	var done pglogrepl.LSN
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			tick.Reset(every)
		}
		s.mu.Lock()
		to := s.before(time.Now().Add(-s.opt.KeepFor))
		s.mu.Unlock()
		if to <= done {
			continue
		}
		err := s.moveSecond(o, to)
		if err == nil {
			done = to
		} else if s.ctx.Err() == nil {
			s.opt.Logger.Warn("pgfeed: the second slot could not be moved, the server keeps more of its log", "slot", s.back(), "err", err)
		}
		if err != nil {
			o.close()
			o.sql = nil
		}
	}
}

func (s *stream) moveSecond(o *opening, to pglogrepl.LSN) (err error) {
	ctx := s.ctx
	if o.sql == nil {
		if o.sql, err = s.connect(ctx, false); err != nil {
			return err
		}
		// It takes as long as it takes to read the log.
		if err = o.exec(ctx, "SET statement_timeout = 0"); err != nil {
			return err
		}
	}
	second, err := o.slot(ctx, s.back())
	if err != nil {
		return err
	}
	if !second.usable() {
		s.opt.Logger.Warn("pgfeed: the second slot is gone and is made again", "slot", s.back(), "was", second.wal)
		return o.second(ctx, second)
	}
	if second.confirmed >= to {
		return nil
	}
	err = o.exec(ctx, "SELECT pg_replication_slot_advance(%s, %s)", quote(s.back()), quote(to.String()))
	if code(err) == objectInUse { // another leader copies it
		return nil
	}
	if err != nil {
		return fmt.Errorf("to %v: %w", to, err)
	}
	return nil
}
