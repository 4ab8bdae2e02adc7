package asidetest

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
)

// Log is a feed of changes in memory, for tests of programs that set Options.Feed. It
// uses package time, so it runs on fake time within testing/synctest. The zero value is
// ready.
type Log struct {
	mu      sync.Mutex
	id      uint64
	batches []driver.Batch // each a transaction
	lost    int            // how many of them are lost
	failing error
	silent  bool
	changed chan struct{} // closed when any of these changes
	streams map[*logStream]bool
	handled int
}

var logIDs atomic.Uint64

var _ driver.Feed = (*Log)(nil)

// Append adds one transaction, committed now.
func (l *Log) Append(changes ...driver.Change) {
	l.change(func() {
		l.batches = append(l.batches, driver.Batch{Changes: slices.Clone(changes), Committed: time.Now()})
	})
}

// AppendAll adds a transaction after which every record may have changed.
func (l *Log) AppendAll() {
	l.change(func() { l.batches = append(l.batches, driver.Batch{All: true, Committed: time.Now()}) })
}

// Lose forgets all transactions: whoever has not read them has a gap.
func (l *Log) Lose() {
	l.change(func() { l.lost = len(l.batches) })
}

// Break ends all open streams with an error.
func (l *Log) Break(err error) {
	l.change(func() {
		for s := range l.streams {
			s.broken = err
		}
	})
}

// Fail makes Open fail, until it is called with nil.
func (l *Log) Fail(err error) { l.change(func() { l.failing = err }) }

// Silence keeps Next from returning, as a primary that does not answer.
func (l *Log) Silence(silent bool) { l.change(func() { l.silent = silent }) }

// Handled returns how many transactions the log was told are handled.
func (l *Log) Handled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.handled
}

// Streams returns how many streams are open.
func (l *Log) Streams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams)
}

func (l *Log) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	f()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Log) init() {
	if l.changed == nil {
		l.id, l.changed, l.streams = logIDs.Add(1), make(chan struct{}), map[*logStream]bool{}
	}
}

// Open implements driver.Feed.
func (l *Log) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.init()
	if l.failing != nil {
		return nil, l.failing
	}
	s := &logStream{l: l, next: len(l.batches)}
	if from != nil {
		if len(from) != 16 || binary.BigEndian.Uint64(from) != l.id {
			return nil, driver.ErrGap
		}
		s.next = int(binary.BigEndian.Uint64(from[8:]))
		if s.next < l.lost || s.next > len(l.batches) {
			return nil, driver.ErrGap
		}
	}
	l.streams[s] = true
	return s, nil
}

type logStream struct {
	l      *Log
	next   int
	broken error
}

var errLogClosed = errors.New("asidetest: the stream is closed")

// aliveEvery is how often a quiet stream shows that it is alive.
const aliveEvery = time.Second

func (s *logStream) Next(ctx context.Context) (driver.Batch, error) {
	alive := time.NewTimer(aliveEvery)
	defer alive.Stop()
	for quiet := false; ; {
		s.l.mu.Lock()
		changed := s.l.changed
		switch {
		case ctx.Err() != nil:
			s.l.mu.Unlock()
			return driver.Batch{}, ctx.Err()
		case s.broken != nil:
			s.l.mu.Unlock()
			return driver.Batch{}, s.broken
		case s.l.silent:
		case s.next < s.l.lost:
			s.l.mu.Unlock()
			return driver.Batch{}, driver.ErrGap
		case s.next < len(s.l.batches):
			b := s.l.batches[s.next]
			s.next++
			s.l.mu.Unlock()
			return b, nil
		case quiet:
			s.l.mu.Unlock()
			return driver.Batch{}, nil
		}
		s.l.mu.Unlock()
		select {
		case <-changed:
		case <-alive.C:
			quiet = true
		case <-ctx.Done():
		}
	}
}

func (s *logStream) Position() driver.Position {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	p := binary.BigEndian.AppendUint64(nil, s.l.id)
	return binary.BigEndian.AppendUint64(p, uint64(s.next))
}

func (s *logStream) Handled(ctx context.Context, p driver.Position) error {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	s.l.handled = max(s.l.handled, int(binary.BigEndian.Uint64(p[8:])))
	return ctx.Err()
}

func (s *logStream) Close() error {
	s.l.change(func() {
		if s.broken == nil {
			s.broken = errLogClosed
		}
		delete(s.l.streams, s)
	})
	return nil
}
