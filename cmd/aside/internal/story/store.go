package story

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

// Store is a todo.Store that counts reads, and whose feed can be switched off. The servers
// of a demo share one.
type Store struct {
	todo.Store

	reading atomic.Int64
	most    atomic.Int64
	reads   atomic.Uint64
	watched atomic.Pointer[watched]

	mu  sync.Mutex
	on  context.Context // of the feeds; over while they are switched off
	off context.CancelFunc
}

// watched counts the reads of one record.
type watched struct {
	id string
	n  atomic.Uint64
}

// NewStore makes a Store of store.
func NewStore(store todo.Store) *Store {
	s := &Store{Store: store}
	s.on, s.off = context.WithCancel(context.Background())
	return s
}

func (s *Store) begin() {
	s.reads.Add(1)
	atLeast(&s.most, s.reading.Add(1))
}

// atLeast raises a to v.
func atLeast(a *atomic.Int64, v int64) {
	for {
		was := a.Load()
		if v <= was || a.CompareAndSwap(was, v) {
			return
		}
	}
}

// Get implements todo.Store.
func (s *Store) Get(ctx context.Context, id string) (todo.Todo, error) {
	s.begin()
	defer s.reading.Add(-1)
	if w := s.watched.Load(); w != nil && w.id == id {
		w.n.Add(1)
	}
	return s.Store.Get(ctx, id)
}

// GetMany implements todo.Store.
func (s *Store) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	s.begin()
	defer s.reading.Add(-1)
	return s.Store.GetMany(ctx, ids)
}

// watch counts the reads of a record from now on.
func (s *Store) watch(id string) *watched {
	w := &watched{id: id}
	s.watched.Store(w)
	return w
}

// Close does nothing: whoever has opened the store closes it, after all servers have ended.
func (s *Store) Close() error { return nil }

// Feed implements todo.Feeder. It fails if the store behind it has no feed.
func (s *Store) Feed(o todo.FeedOptions) (aside.Feed, error) {
	feeder, ok := s.Store.(todo.Feeder)
	if !ok {
		return nil, errors.New("story: this store has no feed")
	}
	f, err := feeder.Feed(o)
	if err != nil {
		return nil, err
	}
	return switchedFeed{f, s}, nil
}

// feedOff ends all feeds and lets none begin, until feedOn is called.
func (s *Store) feedOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off()
}

func (s *Store) feedOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on.Err() != nil {
		s.on, s.off = context.WithCancel(context.Background())
	}
}

var errFeedOff = errors.New("the story has switched the feed off for a moment")

func (s *Store) feeds() (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on.Err() != nil {
		return nil, errFeedOff
	}
	return s.on, nil
}

type switchedFeed struct {
	driver.Feed
	s *Store
}

// Open implements driver.Feed.
func (f switchedFeed) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	on, err := f.s.feeds()
	if err != nil {
		return nil, err
	}
	st, err := f.Feed.Open(ctx, from)
	if err != nil {
		return nil, err
	}
	return switchedStream{st, on}, nil
}

type switchedStream struct {
	driver.Stream
	on context.Context
}

// Next implements driver.Stream.
func (s switchedStream) Next(ctx context.Context) (driver.Batch, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.on, cancel)()
	b, err := s.Stream.Next(ctx)
	if err != nil && s.on.Err() != nil {
		return driver.Batch{}, errFeedOff
	}
	return b, err
}
