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

	mu     sync.Mutex
	timed  context.Context // once somebody has asked for Done
	cancel context.CancelFunc
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
	}
	return c.timed.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	if t := c.made(); t != nil {
		return t.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.at) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. Package context finds by it what Done
// returned, and then needs no goroutine to pass that on to a child.
func (c *Context) Value(key any) any {
	if t := c.made(); t != nil {
		return t.Value(key)
	}
	return c.Context.Value(key)
}

func (c *Context) made() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timed
}

// Stop ends the timer, if there is one, and then whoever waits for it.
func (c *Context) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}
