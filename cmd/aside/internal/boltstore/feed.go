package boltstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

var _ todo.Feeder = (*Store)(nil)

// Feed returns the feed of the changes that are made through this Store. No other process
// can change the file meanwhile, so these are all changes. They are kept in memory, from the
// first Open of a feed on: after a restart, or if a reader is too far behind, there is a gap.
//
// Any number of streams may be open. Handled does nothing.
func (s *Store) Feed(todo.FeedOptions) (aside.Feed, error) { return feed{s}, nil }

const (
	// maxLog is the maximum memory of the changes that are kept. It is enough for 100,000
	// changes of short IDs.
	maxLog = 8 << 20
	// changeBytes is the memory of a change without its key.
	changeBytes = 64
	// maxBatch is how much of that one stream returns at once. A transaction that is
	// larger than maxTransaction is told as one after which everything may have changed.
	maxBatch       = 64 << 10
	maxTransaction = maxLog / 4

	// settle is how old a change is when it is told. Nearly always, the writer has its
	// answer by then and has published the record, so that the cache leaves it in place.
	settle = 2 * time.Millisecond
	// aliveEvery is how often a quiet stream shows that it is alive.
	aliveEvery = time.Second
)

// changeLog has the latest transactions.
type changeLog struct {
	id [8]byte // of this opening of the file: positions of another one are gaps

	mu      sync.Mutex
	on      bool          // somebody has opened the feed
	closed  bool          // the store is
	all     []transaction // the oldest first
	first   uint64        // number of all[0]
	bytes   int           // memory of all
	changed chan struct{} // closed when something is added; nil if nobody waits
}

// transaction is one commit. Without changes it stands for one that is too large to tell.
type transaction struct {
	changes []driver.Change
	bytes   int
	at      time.Time
}

func newChangeLog() *changeLog {
	l := &changeLog{}
	_, _ = rand.Read(l.id[:])
	return l
}

// wanted reports whether changes are to be kept.
func (l *changeLog) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.on
}

// add adds a transaction that is visible to readers by now.
func (l *changeLog) add(changes []driver.Change) {
	t := transaction{changes: changes, bytes: changeBytes, at: time.Now()}
	for i := range changes {
		t.bytes += changeBytes + len(changes[i].Key)
	}
	if t.bytes > maxTransaction {
		t.changes, t.bytes = nil, changeBytes
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		return
	}
	l.all = append(l.all, t)
	l.bytes += t.bytes
	for l.bytes > maxLog {
		l.bytes -= l.all[0].bytes
		l.all[0] = transaction{}
		l.all = l.all[1:]
		l.first++
	}
	l.wakeLocked()
}

func (l *changeLog) wakeLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *changeLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wakeLocked()
}

// next is the number that the next transaction will have.
func (l *changeLog) nextLocked() uint64 { return l.first + uint64(len(l.all)) }

type feed struct{ s *Store }

// Open implements driver.Feed.
func (f feed) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	if err := f.s.usable(ctx); err != nil {
		return nil, err
	}
	if from == nil {
		if err := f.begin(ctx); err != nil {
			return nil, err
		}
	}
	l := f.s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.nextLocked()
	if from != nil {
		if len(from) != 16 || [8]byte(from[:8]) != l.id {
			return nil, fmt.Errorf("%w: the position is not one of this process, which alone remembers the changes of %s", driver.ErrGap, f.s.path)
		}
		if at = binary.BigEndian.Uint64(from[8:]); at < l.first || at > l.nextLocked() {
			return nil, fmt.Errorf("%w: of the changes of %s only the latest are kept in memory", driver.ErrGap, f.s.path)
		}
	}
	return &stream{store: f.s, next: at, ended: make(chan struct{})}, nil
}

// begin has changes kept from now on. It waits for the transaction that runs, which may not
// keep its changes.
func (f feed) begin(ctx context.Context) error {
	l := f.s.log
	l.mu.Lock()
	l.on = true
	l.mu.Unlock()
	err := f.s.write(ctx, func(*writeTx) error { return nil })
	if f.s.broken.Load() != nil {
		return nil // nothing changes any more
	}
	return err
}

// stream is an open feed.
type stream struct {
	store *Store
	ended chan struct{}
	end   sync.Once

	mu   sync.Mutex
	next uint64 // number of the transaction that is told next
}

var errStreamClosed = errors.New("boltstore: the stream is closed")

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (driver.Batch, error) {
	alive := time.NewTimer(aliveEvery)
	defer alive.Stop()
	for {
		b, young, changed, err := s.read()
		if err != nil || len(b.Changes) > 0 || b.All {
			return b, err
		}
		var settled <-chan time.Time
		if young > 0 {
			settled = time.After(young)
		}
		select {
		case <-settled:
		case <-changed:
		case <-alive.C:
			return driver.Batch{}, nil
		case <-s.ended:
			return driver.Batch{}, errStreamClosed
		case <-ctx.Done():
			return driver.Batch{}, ctx.Err()
		}
	}
}

// read returns the transactions that are old enough. If there is none, it returns when the
// next one will be, or a channel that tells of one.
func (s *stream) read() (b driver.Batch, young time.Duration, changed <-chan struct{}, err error) {
	select {
	case <-s.ended:
		return b, 0, nil, errStreamClosed
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.store.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.next < l.first {
		return b, 0, nil, fmt.Errorf("%w: more changed than is kept in memory", driver.ErrGap)
	}
	now, bytes := time.Now(), 0
	for s.next < l.nextLocked() && bytes < maxBatch {
		t := l.all[s.next-l.first]
		if young = settle - now.Sub(t.at); young > 0 && !l.closed {
			break
		}
		if t.changes == nil {
			// What comes after it is told in a batch of its own.
			b.All, b.Changes = true, nil
		}
		b.Changes = append(b.Changes, t.changes...)
		b.Committed = t.at
		bytes += t.bytes
		if s.next++; b.All {
			break
		}
	}
	switch {
	case len(b.Changes) > 0 || b.All:
		return b, 0, nil, nil
	case l.closed:
		return b, 0, nil, s.store.errClosed()
	case young > 0:
		return b, young, nil, nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return b, 0, l.changed, nil
}

// Position implements driver.Stream.
func (s *stream) Position() driver.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return binary.BigEndian.AppendUint64(s.store.log.id[:len(s.store.log.id):len(s.store.log.id)], s.next)
}

// Handled implements driver.Stream.
func (s *stream) Handled(ctx context.Context, _ driver.Position) error { return ctx.Err() }

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.end.Do(func() { close(s.ended) })
	return nil
}
