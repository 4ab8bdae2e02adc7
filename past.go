package aside

import (
	"context"
	"errors"
	"time"

	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/flight"
)

// readPast reads the primary as if there were no cache, in the caller's own
// goroutine: another one, with a stack of its own that a driver makes grow, costs
// more than the rest of a bypassed read. Loads that take a while are shared with
// those who come meanwhile.
func (c *Cache[K, V]) readPast(ctx context.Context, key K, loader Loader[K, V], level Level) Result[V] {
	if !c.life.enter() {
		return c.failed(ErrClosed)
	}
	defer c.life.leave(1)
	if !c.worth.slow.Load() {
		var ans answer[V]
		c.loadPast(ctx, key, loader, func(l loaded[V], took time.Duration) {
			// Before the answer is known, as in overtake: what another read of the
			// key is about to put into L1 may be older.
			c.l1.Invalidate(key)
			ans = answerOf(l, took)
		})
		return c.answered(ans, level, false)
	}
	ticket := c.flights.Now()
	for {
		gen := c.l1.Generation(key)
		call, leader := c.flights.Join(key, gen)
		if !leader {
			ans, ok, err := call.Wait(ctx, ticket, need(level))
			if err != nil {
				return c.failed(err)
			}
			if ok {
				return c.answered(ans, level, true)
			}
			continue
		}
		j := &job[K, V]{key: key, call: call, strong: level == Strong, how: fillNothing, gen: gen, asOf: c.flights.Now()}
		// Others may wait for this load, so it does not end with the caller's
		// interest. With the caller's deadline it does: then they try again.
		shared := context.WithoutCancel(ctx)
		end, hurried := ctx.Deadline()
		if hurried {
			own := deadline.With(shared, end, errLoadTimeout)
			defer own.Stop()
			shared = own
		}
		c.loadPast(shared, key, loader, func(l loaded[V], took time.Duration) {
			if l.err != nil && hurried && !time.Now().Before(end) {
				j.ans.Result = Result[V]{Err: l.err}
				c.flights.Settle(call, j.ans, false, 0)
				c.finish(j, flight.TrustNone)
				return
			}
			c.loaded([]*job[K, V]{j}, []loaded[V]{l}, took)
		})
		return c.answered(j.ans, level, false)
	}
}

func answerOf[V any](l loaded[V], took time.Duration) (ans answer[V]) {
	ans.Source, ans.LoadTime, ans.Value, ans.Err = SourceLoad, took, l.v, l.err
	if errors.Is(l.err, ErrNotFound) {
		var none V
		ans.Value, ans.Negative, ans.Err = none, true, ErrNotFound
	}
	return ans
}

// loadPast calls the loader, in its turn and within LoadTimeout, and hands its
// answer to done, even if the loader ends the goroutine.
func (c *Cache[K, V]) loadPast(ctx context.Context, key K, loader Loader[K, V], done func(l loaded[V], took time.Duration)) {
	start := time.Now()
	limit := start.Add(c.opts.LoadTimeout)
	if d, ok := ctx.Deadline(); !ok || d.After(limit) {
		within := deadline.With(ctx, limit, errLoadTimeout)
		defer within.Stop()
		ctx = within
	}
	if err := c.takePlace(ctx); err != nil {
		done(loaded[V]{err: err}, time.Since(start))
		return
	}
	c.n.loads.Add(1)
	var out []loaded[V]
	defer func() {
		c.places.leave()
		took := time.Since(start)
		if failure(out) != nil {
			c.n.loadFailures.Add(1)
		} else {
			c.worth.loadedPast(took)
		}
		done(out[0], took)
	}()
	c.call(1, &out, func() []loaded[V] {
		v, err := loader.Load(ctx, key)
		return []loaded[V]{{v, err}}
	})
}
