package aside

import (
	"context"
	"errors"
	"time"
)

// readPast reads the primary as if there were no cache, in the caller's own
// goroutine and with its own context: nobody else waits for it.
func (c *Cache[K, V]) readPast(ctx context.Context, key K, loader Loader[K, V]) (r Result[V]) {
	if !c.enter() {
		return c.failed(ErrClosed)
	}
	defer c.life.running.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.LoadTimeout, errLoadTimeout)
	defer cancel()
	start := time.Now()
	if err := c.place(ctx); err != nil {
		return c.failed(err)
	}
	c.n.loads.Add(1)
	c.n.loadsRunning.Add(1)
	var out []loaded[V]
	func() {
		defer func() { // a loader may end the goroutine
			c.n.loadsRunning.Add(-1)
			<-c.slots
		}()
		c.call(1, &out, func() []loaded[V] {
			v, err := loader.Load(ctx, key)
			return []loaded[V]{{v, err}}
		})
	}()
	// Before the answer is known, as in overtake: what another read of the key is
	// about to put into L1 may be older.
	c.l1.Invalidate(key)
	r.Source, r.LoadTime, r.Err = SourceLoad, time.Since(start), out[0].err
	switch {
	case errors.Is(r.Err, ErrNotFound):
		r.Negative, r.Err = true, ErrNotFound
		c.n.negatives.Add(1)
		c.n.misses.Add(1)
	case r.Err != nil:
		c.n.loadFailures.Add(1)
		c.n.failures.Add(1)
	default:
		r.Value = out[0].v
		c.n.misses.Add(1)
	}
	return r
}
