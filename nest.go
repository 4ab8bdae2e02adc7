package aside

import (
	"context"
	"fmt"

	"github.com/asidecache/aside/internal/flight"
)

// nest is what the context of a loader tells of its load. A loader that reads through
// the cache may begin a second load, and wait for it. The second load must not queue
// for a slot behind loads that wait for it: so each level of nesting has slots of its
// own. A loader that would wait for its own key, directly or through other loads, gets
// ErrNestedLoad at once.
type nest struct {
	cache any
	load  interface {
		ended() bool
		holds(key any) bool // whether it is for this key
	}
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

// admit returns the level of nesting of a read by outer's loader, or says why it
// cannot be.
func (c *Cache[K, V]) admit(outer *nest, key K) (level int, err error) {
	for n := outer; n != nil; n = n.outer {
		if n.load.ended() {
			continue
		}
		if n.cache == any(c) && n.load.holds(key) {
			return 0, fmt.Errorf("%w: the loader of key %v reads that key", ErrNestedLoad, key)
		}
		level++ // also for a load of another cache: those may wait for each other
	}
	if level > maxNesting {
		return 0, fmt.Errorf("%w: %d loads wait for each other", ErrNestedLoad, level)
	}
	return level, nil
}

func (r *running[K, V]) ended() bool { return r.stage.Load() == loadEnded }

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
