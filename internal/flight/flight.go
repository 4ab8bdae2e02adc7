// Package flight coalesces reads of one key, like x/sync/singleflight, with the
// rules that a cache needs: who may share a result is decided by when the read
// behind it began, nobody waits longer than their own context, and a flight
// from before an invalidation is not joined.
package flight

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Trust says which followers a finished flight may answer: those that joined
// after its read began.
type Trust uint8

const (
	// TrustNone: nobody; they read again. A write may have been acknowledged
	// between the read and their own beginning.
	TrustNone Trust = iota
	// TrustLocal: those that are content with this process' own writes, which
	// the generation rule has seen to.
	TrustLocal
	// TrustAll: everybody who came before the read ended. It is proven that no
	// write came between; but before the proof gets here, others may come after
	// a write that was acknowledged after it.
	TrustAll
)

// Ticket is a moment in a Group's order of events.
type Ticket uint64

// Group holds the flights of one cache. Make one with NewGroup.
type Group[K comparable, R any] struct {
	clock  atomic.Uint64
	seed   maphash.Seed
	shards [shards]shard[K, R]
}

// shards keeps readers of different keys from waiting for one lock: a batch
// takes it for each of its keys while the readers of the next one come.
const shards = 64

type shard[K comparable, R any] struct {
	mu    sync.Mutex
	calls map[K]*Call[R]
	_     [48]byte // one cache line each
}

// NewGroup makes a Group.
func NewGroup[K comparable, R any]() *Group[K, R] {
	return &Group[K, R]{seed: maphash.MakeSeed()}
}

func (g *Group[K, R]) shard(key K) *shard[K, R] {
	return &g.shards[maphash.Comparable(g.seed, key)%shards]
}

// Call is one flight.
type Call[R any] struct {
	// guarded by its shard's mu
	gen       uint64 // before the read was requested
	followers int

	settled chan struct{} // the result is known
	done    chan struct{} // and so is who may share it

	once   sync.Once
	result R      // written before settled is closed
	failed bool   // likewise
	asOf   Ticket // likewise: when the read of result began
	ended  Ticket // likewise: when it ended
	trust  Trust  // written before done is closed
}

// Now returns a new latest moment.
func (g *Group[K, R]) Now() Ticket { return Ticket(g.clock.Add(1)) }

// Join returns the key's flight, or makes the caller the leader of a new one,
// which it must Finish. A flight with another generation than gen began before
// an invalidation that the caller has seen; it is left to those in it.
func (g *Group[K, R]) Join(key K, gen uint64) (c *Call[R], leader bool) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[key]; ok && c.gen == gen {
		c.followers++
		return c, false
	}
	c = &Call[R]{gen: gen, settled: make(chan struct{}), done: make(chan struct{})}
	if s.calls == nil {
		s.calls = make(map[K]*Call[R])
	}
	s.calls[key] = c
	return c, true
}

// Restart tells that the leader asks for the value anew, having seen gen. It
// reports whether c can still be joined: if not, another flight has taken its
// place, perhaps in this very generation.
func (g *Group[K, R]) Restart(key K, c *Call[R], gen uint64) (current bool) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.gen = gen
	return s.calls[key] == c
}

// Current reports whether c can still be joined.
func (g *Group[K, R]) Current(key K, c *Call[R]) bool {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[key] == c
}

// Settle makes the result known to those who asked before the read began, the
// leader first of all; the others learn of it with Finish. Only the first call
// counts; it reports whether this was it.
func (g *Group[K, R]) Settle(c *Call[R], r R, failed bool, asOf Ticket) (first bool) {
	c.once.Do(func() {
		c.result, c.failed, c.asOf, c.ended = r, failed, asOf, g.Now()
		close(c.settled)
		first = true
	})
	return first
}

// Finish ends a settled flight. It must be called once.
func (g *Group[K, R]) Finish(key K, c *Call[R], trust Trust) {
	s := g.shard(key)
	s.mu.Lock()
	if s.calls[key] == c {
		delete(s.calls, key)
	}
	s.mu.Unlock()
	c.trust = trust
	close(c.done)
}

// Wait returns the flight's result once it is fit for a caller that arrived at
// ticket and needs trust. ok is false if it turned out not to be: then read
// again. A failure is shared with those who came before it happened; later ones
// try for themselves.
func (c *Call[R]) Wait(ctx context.Context, ticket Ticket, need Trust) (r R, ok bool, err error) {
	select {
	case <-c.settled:
	case <-ctx.Done():
		return r, false, ctx.Err()
	}
	if c.asOf > ticket || c.failed && c.ended > ticket {
		return c.result, true, nil
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return r, false, ctx.Err()
	}
	trusted := c.trust >= need && (need < TrustAll || c.ended > ticket)
	return c.result, trusted && !c.failed, nil
}

// Followers returns how many have joined the key's flight, if there is one.
func (g *Group[K, R]) Followers(key K) int {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[key]; ok {
		return c.followers
	}
	return 0
}

// Len returns the number of flights that can be joined.
func (g *Group[K, R]) Len() int {
	n := 0
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		n += len(s.calls)
		s.mu.Unlock()
	}
	return n
}
