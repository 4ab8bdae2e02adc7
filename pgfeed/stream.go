package pgfeed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"

	"github.com/asidecache/aside/driver"
)

const (
	// joined is how many changes of several transactions Next returns at once.
	joined = 4096
	// heartbeat is how often the server is asked where it is, at least.
	heartbeat = time.Second
)

// stream is an open feed. Three goroutines work for it: read collects transactions, beat
// asks the server for signs of life, and keep moves the second slot.
type stream struct {
	*Feed
	sql, repl *conn

	ctx    context.Context // until the stream ends
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // something happened that Next waits for

	looking sync.Mutex // held from a look at the definition until it is noted
	handledTo

	mu    sync.Mutex
	room  sync.Cond // read waits for it
	err   error     // why the stream has ended
	pos   position  // behind what Next has returned
	known definition

	queue   []*txn
	queued  int // changes in queue
	waiting bool
	inTx    bool
	taken   *taken        // what Next will return when it is visible
	walEnd  pglogrepl.LSN // nothing is told up to here but what is in queue
	want    pglogrepl.LSN // quiet when walEnd is there
	quiet   bool          // Next may return that nothing has changed
	altered bool          // every row may have another value
	huge    *huge         // a transaction under way
	given   time.Time     // when Next returned last
	alive   bool          // Next may return that the server works

	handled   pglogrepl.LSN // by the caller
	confirmed pglogrepl.LSN // told to the server

	reader reader
}

// txn is a committed transaction.
type txn struct {
	mark
	changes []driver.Change
	all     bool
	huge    *huge // what it was while its rows came
}

// untold reports whether a transaction is still to be told as everything. Once its first
// rows were, all of it was visible; they may be told while its commit comes.
func (t *txn) untold() bool { return t.all && (t.huge == nil || !t.huge.told) }

// huge is a transaction that has changed more than is told one by one, and whose rows
// still come.
type huge struct {
	xid  uint32
	told bool
}

// taken are the transactions of one Batch.
type taken struct {
	batch driver.Batch
	xids  []uint32
	last  mark
	huge  *huge // it still comes
}

func newStream(o *opening) *stream {
	s := &stream{Feed: o.Feed, sql: o.sql, repl: o.repl, wake: make(chan struct{}, 1)}
	s.room.L = &s.mu
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pos = position{system: o.facts.system, timeline: o.facts.timeline}
	s.reader.partitioned = o.facts.partitioned
	return s
}

// define notes the definition at the start.
func (s *stream) define(ctx context.Context) error {
	if _, err := s.sql.query(ctx, "PREPARE aside_look AS "+s.lookStatement()); err != nil {
		return s.clean(err)
	}
	lsn, d, err := s.lookAt(ctx)
	if err != nil {
		return err
	}
	s.known = d
	s.pos.lsn, s.pos.defined = lsn, s.digest(d)
	return nil
}

func (s *stream) digest(d definition) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", s.opt.Slot, d.frame, d.content))
	return binary.BigEndian.Uint64(sum[:])
}

func (s *stream) lookAt(ctx context.Context) (lsn pglogrepl.LSN, d definition, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Silence, s.silent())
	defer cancel()
	rows, err := s.sql.query(ctx, "EXECUTE aside_look")
	if err != nil {
		return 0, d, s.clean(err)
	}
	lsn, err = pglogrepl.ParseLSN(string(rows[0][0]))
	return lsn, definition{string(rows[0][1]), string(rows[0][2])}, err
}

func (s *stream) silent() error { return fmt.Errorf("no answer within %v", s.opt.Silence) }

// resume has the stream go on behind a position; begins is where its slot does.
func (s *stream) resume(at position, begins pglogrepl.LSN) {
	s.pos.lsn, s.pos.last = at.lsn, at.last
	s.reader.skipTo = at.last
	s.reader.proven = at.last.end <= begins
	s.follow(at.handled)
	s.startAt(begins)
}

// beginAt has the stream begin where its slot does, without what seen sees.
func (s *stream) beginAt(begins pglogrepl.LSN, seen snapshot, seenTo pglogrepl.LSN) {
	s.pos.lsn = begins
	s.reader.proven = true
	s.reader.seen, s.reader.seenTo = &seen, seenTo
	s.startAt(begins)
}

func (s *stream) startAt(begins pglogrepl.LSN) {
	s.handled, s.confirmed, s.given = s.pos.lsn, begins, time.Now()
	if len(s.since) == 0 {
		s.note(s.opt.KeepFor, begins)
	}
}

func (s *stream) run() {
	s.reader.stream = s
	s.repl.heard.Store(time.Now().UnixNano())
	s.work.Go(s.reader.run)
	s.work.Go(s.beat)
	if !s.opt.Temporary {
		s.work.Go(s.keep)
	}
}

func (s *stream) Position() driver.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pos
	p.handled = s.trail(s.opt.KeepFor)
	return p.encode()
}

func (s *stream) Next(ctx context.Context) (driver.Batch, error) {
	for {
		s.mu.Lock()
		if s.err != nil {
			defer s.mu.Unlock()
			return driver.Batch{}, s.err
		}
		s.takeLocked()
		next := s.taken
		switch {
		case next != nil:
		case s.huge != nil && !s.huge.told:
			next = &taken{batch: driver.Batch{All: true}, xids: []uint32{s.huge.xid}, huge: s.huge}
		case s.altered, s.alive && s.huge != nil:
			next = &taken{batch: driver.Batch{All: true}}
		case s.quiet, s.alive:
			next = &taken{}
		}
		s.mu.Unlock()
		if next != nil {
			if err := s.visible(ctx, next.xids); err != nil {
				return driver.Batch{}, err
			}
			if next.batch.All {
				// What an ALTER TABLE before now has changed is told by this, too.
				if err := s.look(); err != nil {
					return driver.Batch{}, s.fail(err)
				}
			}
			return s.give(next), nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return driver.Batch{}, context.Cause(ctx)
		}
	}
}

// takeLocked takes transactions out of the queue.
func (s *stream) takeLocked() {
	if s.taken != nil || len(s.queue) == 0 {
		return
	}
	t := &taken{}
	n := 0
	for n < len(s.queue) && (n == 0 || len(t.batch.Changes)+len(s.queue[n].changes) <= joined) {
		tx := s.queue[n]
		if n == 0 {
			t.batch.Changes = tx.changes
		} else {
			t.batch.Changes = append(t.batch.Changes, tx.changes...)
		}
		t.batch.All = t.batch.All || tx.untold()
		t.xids = append(t.xids, tx.xid)
		t.last = tx.mark
		s.queued -= len(tx.changes)
		n++
	}
	if t.batch.All {
		t.batch.Changes = nil
	}
	if t.batch.All || len(t.batch.Changes) > 0 {
		t.batch.Committed = time.UnixMicro(t.last.time)
	}
	s.queue = slices.Delete(s.queue, 0, n)
	s.taken = t
	s.room.Signal()
}

// give ends a batch's way.
func (s *stream) give(t *taken) driver.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet, s.alive, s.given = false, false, time.Now()
	if t == s.taken {
		s.taken = nil
		s.pos.last = t.last
		s.pos.lsn = max(s.pos.lsn, t.last.end)
		if !t.batch.Committed.IsZero() {
			s.lastCommit.Store(t.last.time)
		}
	} else if len(s.queue) == 0 {
		s.pos.lsn = max(s.pos.lsn, s.walEnd)
	}
	if t.batch.All {
		s.altered = false
	}
	if t.huge != nil {
		t.huge.told = true
	}
	s.wakeUp() // what is in the queue meanwhile
	return t.batch
}

// visible waits until every new snapshot sees the transactions: the log has a commit before
// others see it, and a load that reads in between would store the old row for good.
func (s *stream) visible(ctx context.Context, xids []uint32) error {
	began := time.Now()
	for wait := 100 * time.Microsecond; len(xids) > 0; wait = min(2*wait, 10*time.Millisecond) {
		limited, cancel := context.WithTimeoutCause(s.ctx, s.opt.Silence, s.silent())
		rows, err := s.sql.query(limited, "SELECT pg_current_snapshot()")
		cancel()
		if err != nil {
			return s.fail(s.clean(err))
		}
		now, err := parseSnapshot(string(rows[0][0]))
		if err != nil {
			return s.fail(err)
		}
		for len(xids) > 0 && now.sees(xids[0]) {
			xids = xids[1:]
		}
		if len(xids) == 0 {
			return nil
		}
		if time.Since(began) > s.opt.Silence {
			return s.fail(fmt.Errorf("pgfeed: transaction %d is in the log of %s, but not visible %v later: its commit waits, "+
				"perhaps for a synchronous standby (SELECT pid, wait_event, query FROM pg_stat_activity WHERE wait_event = 'SyncRep')",
				xids[0], s.where(), s.opt.Silence))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctx.Done():
		}
	}
	return nil
}

// look compares the definition with the one that is known.
func (s *stream) look() error {
	s.looking.Lock()
	defer s.looking.Unlock()
	lsn, d, err := s.lookAt(s.ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.frame != s.known.frame {
		return gap("the table %s, its replica identity or the publication %s has changed", s.table, s.opt.Publication)
	}
	if d.content != s.known.content {
		s.known = d
		s.pos.defined = s.digest(d)
		s.altered = true
	}
	if s.want == 0 {
		s.want = max(lsn, 1)
	}
	s.restLocked()
	return nil
}

// restLocked notes that nothing is pending, and what follows from it.
func (s *stream) restLocked() {
	idle := !s.inTx && len(s.queue) == 0 && s.taken == nil
	if idle && s.want != 0 && s.walEnd >= s.want {
		s.quiet, s.want = true, 0
	}
	if idle && s.handled >= s.pos.last.end && s.reader.proven {
		s.confirmed = max(s.confirmed, s.walEnd)
	}
	if s.quiet || s.alive || s.altered || len(s.queue) > 0 {
		s.wakeUp()
	}
}

func (s *stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// beat asks the server every second or so, and several times in wal_sender_timeout, whether
// anybody waits in Next or not: a server that shuts down is noticed, and not held up by
// changes that are not handled.
func (s *stream) beat() {
	tick := time.NewTicker(min(heartbeat, s.opt.Silence/8))
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.look(); err != nil {
			_ = s.fail(err)
			return
		}
		if err := s.tell(true); err != nil {
			_ = s.fail(err)
			return
		}
		silent := time.Since(time.Unix(0, s.repl.heard.Load()))
		s.mu.Lock()
		waiting := s.waiting // then nobody reads what the server may say
		// The server works, but what comes is not complete, or not the newest: it reads a
		// long log, or sends a large transaction.
		s.alive = silent < s.opt.Silence/2 && time.Since(s.given) > s.opt.Silence/2
		s.restLocked()
		s.mu.Unlock()
		if !waiting && silent > s.opt.Silence {
			_ = s.fail(s.clean(s.silent()))
			return
		}
	}
}

// tell tells the server what has been handled.
func (s *stream) tell(reply bool) error {
	s.mu.Lock()
	confirmed := s.confirmed
	s.mu.Unlock()
	return s.clean(s.repl.status(confirmed, reply, s.opt.Silence))
}

func (s *stream) Handled(_ context.Context, b driver.Position) error {
	p, err := decodePosition(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	if p.system != s.pos.system || p.timeline != s.pos.timeline || p.lsn > s.pos.lsn {
		s.mu.Unlock()
		return errPosition
	}
	s.handled = max(s.handled, p.lsn)
	s.confirmed = max(s.confirmed, p.lsn)
	s.note(s.opt.KeepFor, s.handled)
	s.restLocked()
	s.mu.Unlock()
	if err := s.tell(false); err != nil {
		return s.fail(err)
	}
	return nil
}

var errClosed = errors.New("pgfeed: the stream is closed")

func (s *stream) Close() error {
	_ = s.fail(errClosed)
	s.work.Wait()
	return nil
}

// fail ends the stream, if it has not ended, and returns why it has.
func (s *stream) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.cancel()
		s.sql.close()
		s.repl.close()
		s.room.Broadcast()
		s.wakeUp()
	}
	return s.err
}
