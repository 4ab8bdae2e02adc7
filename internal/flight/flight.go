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
	// TrustNever is what a caller needs who takes only what was read after it came. No
	// flight has it.
	TrustNever
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
	mu   *sync.Mutex // its shard's
	kind Kind

	// guarded by mu
	stale   bool // an invalidation came since the value was asked for: not joined
	dropped bool // given up, since nobody waited: not joined
	waiting int  // callers in it that have not left
	strict  int  // of these, those that wait and need TrustAll, or more
	own     int  // of these, those that are nobody: the cache itself wants the result
	joined  int  // callers that have joined its leader
	level   int  // the highest of its callers, see Join
	keep    bool // one of its callers wants the result to be kept
	notify  chan<- struct{}

	published event // the result is known
	done      event // and so is who may share it

	early  bool   // written before published: the result is that of Early
	result R      // likewise
	failed bool   // likewise, or after Early before done
	asOf   Ticket // likewise: when the read of result began
	ended  Ticket // likewise: when it ended
	trust  Trust  // written before done

	late *R // after Early: the result. Written before done

	by atomic.Pointer[Load] // see LoadedBy
}

// Now returns a new latest moment.
func (g *Group[K, R]) Now() Ticket { return Ticket(g.clock.Add(1)) }

// Join returns the key's flight, or makes the caller the leader of a new one,
// which it must Close. A flight that began before an invalidation of the key is
// left to those in it.
//
// level says how deeply the caller is nested in other loads: a flight that a
// nested caller waits for may not queue behind the loads that wait for that caller.
func (g *Group[K, R]) Join(key K, level int) (c *Call[R], leader bool) {
	return g.JoinAs(key, level, 0, true)
}

// Restart tells that the leader asks for the value anew, after all invalidations
// that it has seen. It reports whether c can still be joined: if not, another
// flight has taken its place.
func (g *Group[K, R]) Restart(key K, c *Call[R]) (current bool) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.stale = false
	return s.calls[key] == c
}

// Overtake tells that c knows of a value that flights before it may not know of:
// who comes from now on does not join another.
func (g *Group[K, R]) Overtake(key K, c *Call[R]) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.calls[key]; ok && other != c {
		other.stale = true
	}
}

// Forget tells of an invalidation: nobody joins the key's present flight.
func (g *Group[K, R]) Forget(key K) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[key]; ok {
		c.stale = true
	}
}

// ForgetAll does for every key what Forget does for one.
func (g *Group[K, R]) ForgetAll() {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		for _, c := range s.calls {
			c.stale = true
		}
		s.mu.Unlock()
	}
}

// Current reports whether c is the key's newest flight.
func (g *Group[K, R]) Current(key K, c *Call[R]) bool {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[key] == c
}

// Notify has ch receive, without blocking, whenever Level rises or the last
// caller leaves. It receives once at the start.
func (c *Call[R]) Notify(ch chan<- struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify = ch
	c.notifyLocked()
}

func (c *Call[R]) notifyLocked() {
	if c.notify != nil {
		select {
		case c.notify <- struct{}{}:
		default:
		}
	}
}

// Level returns the highest level of the callers so far.
func (c *Call[R]) Level() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.level
}

// Drop gives the flight up if all callers have left, and reports whether it did.
// Nobody joins it then.
func (c *Call[R]) Drop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = c.dropped || c.waiting == 0
	return c.dropped
}

// leave is for a caller that waits no longer.
func (c *Call[R]) leave(strict bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strict {
		c.strict--
	}
	if c.waiting--; c.waiting == 0 {
		c.notifyLocked()
	}
}

// Publish makes the result known to those who asked before the read began, the
// leader first of all; the others learn of it with Close. Only the first call
// counts; it reports whether this was it. asOf is when the read began, ended when it had
// ended: before its result was stored anywhere, even if it is published after that.
func (g *Group[K, R]) Publish(c *Call[R], r R, failed bool, asOf, ended Ticket) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.published.happened():
		c.result, c.failed, c.asOf, c.ended = r, failed, asOf, ended
		c.published.happensLocked()
		return true
	case c.early && c.late == nil:
		late := r // in a variable of its own, so that only here it takes memory
		c.late, c.failed, c.asOf, c.ended = &late, failed, asOf, ended
		return true
	}
	return false
}

// Close ends a published flight. It must be called once.
func (g *Group[K, R]) Close(key K, c *Call[R], trust Trust) {
	g.CloseWith(key, c, func() Trust { return trust })
}

// CloseWith is Close with a trust that is asked for when nobody can join any more.
func (g *Group[K, R]) CloseWith(key K, c *Call[R], trust func() Trust) {
	s := g.shard(key)
	s.mu.Lock()
	if s.calls[key] == c {
		delete(s.calls, key)
	}
	s.mu.Unlock()
	c.trust = trust()
	c.done.happens(c.mu)
}

// Published is closed when the result is known.
func (c *Call[R]) Published() <-chan struct{} { return c.published.channel(c.mu) }

// Wait returns the flight's result once it is fit for a caller that arrived at
// ticket and needs trust. When ctx ends the caller leaves the flight. ok is false if it
// turned out not to be: then read again. A failure is shared with those who came before
// it happened; later ones try for themselves.
func (c *Call[R]) Wait(ctx context.Context, ticket Ticket, need Trust) (r R, ok bool, err error) {
	strict := need >= TrustAll
	if strict {
		c.mu.Lock()
		c.strict++
		c.mu.Unlock()
	}
	if err := c.published.await(ctx, c.mu); err != nil {
		c.leave(strict)
		return r, false, err
	}
	switch {
	case c.early && !strict:
		return c.result, true, nil
	case !c.early && (c.asOf > ticket || c.failed && c.ended > ticket):
		return c.result, true, nil
	}
	if err := c.done.await(ctx, c.mu); err != nil {
		c.leave(strict)
		return r, false, err
	}
	if c.early {
		if c.late == nil {
			return r, false, nil
		}
		if c.asOf > ticket || c.failed && c.ended > ticket {
			return *c.late, true, nil
		}
		return *c.late, c.trust >= need && c.ended > ticket && !c.failed, nil
	}
	trusted := c.trust >= need && (need < TrustAll || c.ended > ticket)
	return c.result, trusted && !c.failed, nil
}

// Loading reports whether a load is to bring the result of the key's flight.
func (g *Group[K, R]) Loading(key K) bool {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.calls[key]
	return ok && c.pending() != nil
}

// Followers returns how many have joined the key's flight, if there is one.
func (g *Group[K, R]) Followers(key K) int {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[key]; ok {
		return c.joined
	}
	return 0
}

// Size returns the number of flights that can be joined, and of those who wait for
// their results.
func (g *Group[K, R]) Size() (flights, waiting int) {
	for i := range g.shards {
		s := &g.shards[i]
		s.mu.Lock()
		flights += len(s.calls)
		for _, c := range s.calls {
			if !c.published.happened() {
				waiting += c.waiting
			}
		}
		s.mu.Unlock()
	}
	return flights, waiting
}
