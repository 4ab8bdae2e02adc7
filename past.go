package aside

import (
	"context"
	"errors"
	"sync"
	"time"
)

// readPast reads the primary as if there were no cache, in the caller's own
// goroutine and with its own context: nobody else waits for it.
func (c *Cache[K, V]) readPast(ctx context.Context, key K, loader Loader[K, V]) (r Result[V]) {
	if !c.enter() {
		return c.failed(ErrClosed)
	}
	defer c.life.running.Done()
	start := time.Now()
	limit := start.Add(c.opts.LoadTimeout)
	if d, ok := ctx.Deadline(); !ok || d.After(limit) {
		within := &lazyDeadline{Context: ctx, deadline: limit}
		defer within.stop()
		ctx = within
	}
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
		c.worth.loaded(r.LoadTime)
		r.Negative, r.Err = true, ErrNotFound
		c.n.negatives.Add(1)
		c.n.misses.Add(1)
	case r.Err != nil:
		c.n.loadFailures.Add(1)
		c.n.failures.Add(1)
	default:
		c.worth.loaded(r.LoadTime)
		r.Value = out[0].v
		c.n.misses.Add(1)
	}
	return r
}

// lazyDeadline is context.WithDeadlineCause with a timer only for those who wait
// for it: a loader that takes microseconds just looks whether it has ended.
type lazyDeadline struct {
	context.Context
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context // once somebody has asked for Done
	cancel context.CancelFunc
}

func (l *lazyDeadline) Deadline() (time.Time, bool) { return l.deadline, true }

func (l *lazyDeadline) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timed == nil {
		l.timed, l.cancel = context.WithDeadlineCause(l.Context, l.deadline, errLoadTimeout)
	}
	return l.timed.Done()
}

func (l *lazyDeadline) Err() error {
	l.mu.Lock()
	timed := l.timed
	l.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	if err := l.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(l.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

func (l *lazyDeadline) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}
