package aside

import (
	"context"
	"fmt"

	"github.com/asidecache/aside/internal/flight"
)

// nest is what the context of a loader tells of the load. A loader that reads
// through the cache makes a load that another load waits for: it must not queue
// behind loads that wait for it in turn. So each level of nesting has slots of its
// own, and a loader that waits for its own key is told so at once, be it by itself or
// by loads that others have begun.
type nest struct {
	cache any
	load  interface{ holds(key any) bool } // whether it is for this key
	wait  flight.Load
	outer *nest
}

type nestKey struct{}

// maxNesting is how many loads may wait for each other in a chain.
const maxNesting = 16

func nestOf(ctx context.Context) *nest {
	n, _ := ctx.Value(nestKey{}).(*nest)
	return n
}

// await waits for a flight like its Wait. n is the load whose loader waits, nil for
// all others.
func (c *Cache[K, V]) await(ctx context.Context, n *nest, j *job[K, V], key K, call *flight.Call[answer[V]], ticket flight.Ticket, level Level) (answer[V], bool, error) {
	if n != nil {
		if !flight.Await(&n.wait, call) {
			return answer[V]{}, false, fmt.Errorf("%w: a loader reads key %v, whose load waits for it", ErrNestedLoad, key)
		}
		defer flight.Awaited(&n.wait, call)
	}
	if j != nil {
		c.lead(ctx, j)
	}
	return call.Wait(ctx, ticket, need(level))
}

// admit returns the level of nesting of a read by outer's loader, or says why it
// cannot be.
func (c *Cache[K, V]) admit(outer *nest, key K) (level int, err error) {
	for n := outer; n != nil; n = n.outer {
		if n.cache == any(c) {
			if n.load.holds(key) {
				return 0, fmt.Errorf("%w: the loader of key %v reads that key", ErrNestedLoad, key)
			}
			level++
		}
	}
	if level > maxNesting {
		return 0, fmt.Errorf("%w: %d loads wait for each other", ErrNestedLoad, level)
	}
	return level, nil
}

func (r *running[K, V]) holds(key any) bool {
	for _, j := range r.jobs {
		if any(j.key) == key {
			return true
		}
	}
	return false
}

// levelOf returns the level at which a load takes its slot: the highest of those
// who wait for it.
func (c *Cache[K, V]) levelOf(r *running[K, V]) int {
	level := 0
	for _, j := range r.jobs {
		level = max(level, j.call.Level())
	}
	return level
}

func (c *Cache[K, V]) limiterOf(level int) *loadLimiter { return &c.limiters[min(level, maxNesting)] }
