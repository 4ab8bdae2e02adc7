// Package deadline is context.WithDeadlineCause with a timer only for those who
// wait for it. Work that takes microseconds just looks whether its time is over,
// and would pay more for the timer than for the rest of its context.
package deadline

import (
	"context"
	"sync"
	"time"
)

// Context is its parent until a moment. Stop it when done with it.
type Context struct {
	context.Context // the parent
	at              time.Time
	cause           error

	mu      sync.Mutex
	timed   context.Context // once somebody has asked for Done
	cancel  context.CancelFunc
	stopped bool
}

// With returns a context that ends with its parent, or at a moment; then its
// cause is the given one.
func With(parent context.Context, at time.Time, cause error) *Context {
	return &Context{Context: parent, at: at, cause: cause}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.at) {
		return d, true
	}
	return c.at, true
}

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadlineCause(c.Context, c.at, c.cause)
		if c.stopped {
			c.cancel()
		}
	}
	return c.timed.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	timed, stopped := c.timed, c.stopped
	c.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.at) {
		return context.DeadlineExceeded
	}
	if stopped {
		return context.Canceled
	}
	return nil
}

// Value implements context.Context. Package context finds by it what Done
// returned, and then needs no goroutine to pass that on to a child.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// Apart returns the moment of a context that With has made, and its parent: who waits for
// both with a timer that it has already needs no other. ok is false for other contexts,
// and if ctx has a timer.
func Apart(ctx context.Context) (parent context.Context, at time.Time, ok bool) {
	c, ok := ctx.(*Context)
	if !ok {
		return ctx, at, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Context, c.at, c.timed == nil && !c.stopped
}

// Stop cancels the context, and with it the timer, if there is one.
func (c *Context) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.cancel != nil {
		c.cancel()
	}
}
