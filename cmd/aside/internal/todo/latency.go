package todo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/driver"
)

// Slow returns store with the latency of a database behind a network: each call takes
// longer by latency, give or take a fifth, half of it before the store is asked and half
// after. Any number of calls wait at the same time. If store is a Feeder, the result is one
// too, whose feed is as late. With a latency of 0 or less it is store itself.
//
// The answer of a write is never given up for the end of its context: it is known.
func Slow(store Store, latency time.Duration) Store {
	if latency <= 0 {
		return store
	}
	s := &slow{store, latency}
	if feeder, ok := store.(Feeder); ok {
		return &slowFeeder{s, feeder}
	}
	return s
}

type slow struct {
	Store
	latency time.Duration
}

// half waits for half of the latency, or until ctx ends.
func (s *slow) half(ctx context.Context) error { return sleepHalf(ctx, s.latency) }

func sleepHalf(ctx context.Context, latency time.Duration) error {
	if !pause.For(ctx, time.Duration(float64(latency)*(0.4+0.2*rand.Float64()))) {
		return ctx.Err()
	}
	return nil
}

// read is half, f, half.
func read[T any](ctx context.Context, s *slow, f func() (T, error)) (T, error) {
	var none T
	if err := s.half(ctx); err != nil {
		return none, err
	}
	v, err := f()
	if late := s.half(ctx); late != nil {
		return none, late
	}
	return v, err
}

func write[T any](ctx context.Context, s *slow, f func() (T, error)) (T, error) {
	if err := s.half(ctx); err != nil {
		var none T
		return none, fmt.Errorf("%w: the write did not start: %w", ErrUnavailable, err)
	}
	v, err := f()
	_ = s.half(ctx)
	return v, err
}

func (s *slow) Get(ctx context.Context, id string) (Todo, error) {
	return read(ctx, s, func() (Todo, error) { return s.Store.Get(ctx, id) })
}

func (s *slow) GetMany(ctx context.Context, ids []string) (map[string]Todo, error) {
	return read(ctx, s, func() (map[string]Todo, error) { return s.Store.GetMany(ctx, ids) })
}

func (s *slow) List(ctx context.Context, after string, limit int) (Page, error) {
	return read(ctx, s, func() (Page, error) { return s.Store.List(ctx, after, limit) })
}

func (s *slow) Count(ctx context.Context) (int64, error) {
	return read(ctx, s, func() (int64, error) { return s.Store.Count(ctx) })
}

func (s *slow) Ping(ctx context.Context) error {
	_, err := read(ctx, s, func() (struct{}, error) { return struct{}{}, s.Store.Ping(ctx) })
	return err
}

func (s *slow) Insert(ctx context.Context, t Todo) error {
	_, err := write(ctx, s, func() (struct{}, error) { return struct{}{}, s.Store.Insert(ctx, t) })
	return err
}

func (s *slow) Update(ctx context.Context, id string, change func(Todo) (Todo, error)) (Todo, error) {
	return write(ctx, s, func() (Todo, error) { return s.Store.Update(ctx, id, change) })
}

func (s *slow) Delete(ctx context.Context, id string, check func(Todo) error) error {
	_, err := write(ctx, s, func() (struct{}, error) { return struct{}{}, s.Store.Delete(ctx, id, check) })
	return err
}

func (s *slow) InsertMany(ctx context.Context, records []Record) (InsertResult, error) {
	return write(ctx, s, func() (InsertResult, error) { return s.Store.InsertMany(ctx, records) })
}

type slowFeeder struct {
	*slow
	feeder Feeder
}

func (s *slowFeeder) Feed(o FeedOptions) (aside.Feed, error) {
	f, err := s.feeder.Feed(o)
	if err != nil {
		return nil, err
	}
	return slowFeed{f, s.latency}, nil
}

type slowFeed struct {
	driver.Feed
	latency time.Duration
}

func (f slowFeed) Open(ctx context.Context, from driver.Position) (driver.Stream, error) {
	if err := sleepHalf(ctx, f.latency); err != nil {
		return nil, err
	}
	st, err := f.Feed.Open(ctx, from)
	if err != nil {
		return nil, err
	}
	return slowStream{st, f.latency}, nil
}

// Check is that of the feed behind it, if it has one.
func (f slowFeed) Check(ctx context.Context) error {
	if c, ok := f.Feed.(FeedChecker); ok {
		return c.Check(ctx)
	}
	return nil
}

type slowStream struct {
	driver.Stream
	latency time.Duration
}

// Next is as late as a reply. So the answer of a write, which is as late too, is there
// before the feed tells of it.
func (s slowStream) Next(ctx context.Context) (driver.Batch, error) {
	b, err := s.Stream.Next(ctx)
	if len(b.Changes) > 0 || b.All {
		_ = sleepHalf(ctx, s.latency) // the batch is out of the stream: it must be returned
	}
	return b, err
}
