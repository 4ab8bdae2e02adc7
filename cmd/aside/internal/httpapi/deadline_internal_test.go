package httpapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The context ends at its deadline, with its parent, and when it is stopped, whether
// somebody waits for it or only looks. Caught: a Done that never closes after stop; an
// Err that looks at the parent alone.
func TestLateDeadline(t *testing.T) {
	type key struct{}
	for _, waits := range []bool{false, true} {
		for _, tt := range []struct {
			name string
			end  func(cancelParent func(), c *lateDeadline)
			want error
		}{
			{"deadline", func(func(), *lateDeadline) { time.Sleep(time.Second) }, context.DeadlineExceeded},
			{"parent", func(cancel func(), _ *lateDeadline) { cancel() }, context.Canceled},
			{"stop", func(_ func(), c *lateDeadline) { c.stop() }, context.Canceled},
		} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
				defer cancel()
				at := time.Now().Add(time.Second)
				c := withLateDeadline(parent, at)
				defer c.stop()
				if waits {
					c.Done()
				}
				if d, ok := c.Deadline(); !ok || !d.Equal(at) || c.Err() != nil {
					t.Errorf("%s, waits %v: %v, %v before the end", tt.name, waits, d, c.Err())
				}
				tt.end(cancel, c)
				synctest.Wait()
				if err := c.Err(); !errors.Is(err, tt.want) {
					t.Errorf("%s, waits %v: %v, want %v", tt.name, waits, err, tt.want)
				}
				select {
				case <-c.Done():
				default:
					t.Errorf("%s, waits %v: Done is open", tt.name, waits)
				}
				if c.Value(key{}) != "value" {
					t.Errorf("%s, waits %v: the parent's value is gone", tt.name, waits)
				}
			})
		}
	}
}

// A child ends with the context, by package context's own means.
func TestLateDeadlineOfAChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := withLateDeadline(t.Context(), time.Now().Add(time.Second))
		defer c.stop()
		child, cancel := context.WithCancel(c)
		defer cancel()
		<-child.Done()
		if !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Error(child.Err())
		}
	})
}
