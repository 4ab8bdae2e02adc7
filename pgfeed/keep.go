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

// keep moves the second slot to what was handled KeepFor ago. To go back, a stream begins
// with a copy of it. The first slot is always moved at once: a server that shuts down waits
// until its followers have confirmed everything.
func (s *stream) keep() {
	o := &opening{Feed: s.Feed}
	defer o.close()
	tick := time.NewTicker(max(s.opt.KeepFor/(steps/5), 100*time.Millisecond))
	defer tick.Stop()
	var done pglogrepl.LSN
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
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
