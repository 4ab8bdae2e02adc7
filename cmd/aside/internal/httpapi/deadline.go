package httpapi

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lateDeadline is context.WithDeadline that starts its timer when somebody waits for
// it. A hit in memory waits for nothing; a timer would cost it three allocations.
// Call stop when the request has ended.
type lateDeadline struct {
	context.Context // the parent
	at              time.Time

	once   sync.Once
	made   atomic.Bool // once is done
	timed  context.Context
	cancel context.CancelFunc
}

func withLateDeadline(parent context.Context, at time.Time) *lateDeadline {
	return &lateDeadline{Context: parent, at: at}
}

// timer returns the context that ends in time.
func (c *lateDeadline) timer() context.Context {
	c.once.Do(func() {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.at)
		c.made.Store(true)
	})
	return c.timed
}

var ended, endNow = context.WithCancel(context.Background())

func init() { endNow() }

// stop ends the context, and its timer if there is one.
func (c *lateDeadline) stop() {
	c.once.Do(func() {
		c.timed, c.cancel = ended, endNow
		c.made.Store(true)
	})
	c.cancel()
}

// Deadline implements context.Context.
func (c *lateDeadline) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.at) {
		return d, true
	}
	return c.at, true
}

// Done implements context.Context.
func (c *lateDeadline) Done() <-chan struct{} { return c.timer().Done() }

// Err implements context.Context.
func (c *lateDeadline) Err() error {
	if c.made.Load() {
		return c.timed.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.at) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. With the timer's values package context needs no
// goroutine to end a child.
func (c *lateDeadline) Value(key any) any {
	if c.made.Load() && c.timed != ended {
		return c.timed.Value(key)
	}
	return c.Context.Value(key)
}
