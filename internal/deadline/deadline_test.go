package deadline

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type key struct{}

var errLate = errors.New("late")

// It ends at its moment, for those who look and for those who wait.
// Caught: an Err that knows only of the timer.
func TestEnds(t *testing.T) {
	for _, waited := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := With(context.WithValue(t.Context(), key{}, 7), time.Now().Add(time.Second), errLate)
			defer c.Stop()
			if d, ok := c.Deadline(); !ok || time.Until(d) != time.Second {
				t.Errorf("deadline %v, %v", d, ok)
			}
			if waited {
				c.Done()
			}
			if err := c.Err(); err != nil || c.Value(key{}) != 7 {
				t.Errorf("at first: %v, value %v", err, c.Value(key{}))
			}
			time.Sleep(time.Second)
			synctest.Wait() // the timer's goroutine wakes at the same moment
			if err := c.Err(); err != context.DeadlineExceeded {
				t.Errorf("waited %v, at the end: %v", waited, err)
			}
			<-c.Done()
			if err := context.Cause(c); !errors.Is(err, errLate) || c.Value(key{}) != 7 {
				t.Errorf("waited %v, cause: %v, value %v", waited, err, c.Value(key{}))
			}
		})
	}
}

// It ends with its parent, and not later than that would.
// Caught: an Err and a Deadline that do not ask the parent.
func TestEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := time.Now().Add(time.Minute)
		parent, cancel := context.WithDeadline(t.Context(), first)
		c := With(parent, first.Add(time.Hour), errLate)
		defer c.Stop()
		if d, _ := c.Deadline(); !d.Equal(first) {
			t.Errorf("deadline %v, the parent's is %v", d, first)
		}
		cancel()
		if err := c.Err(); err != context.Canceled {
			t.Errorf("after the parent: %v", err)
		}
		<-c.Done()
	})
}

// A child ends with it, and Stop ends both. Neither takes a goroutine.
// Caught: a Value that asks the parent alone (a goroutine for each child).
func TestChildren(t *testing.T) {
	before := runtime.NumGoroutine()
	c := With(t.Context(), time.Now().Add(time.Hour), errLate)
	for range 100 {
		child, cancel := context.WithCancel(c)
		defer cancel()
		defer func() {
			if <-child.Done(); child.Err() != context.Canceled {
				t.Errorf("child: %v", child.Err())
			}
		}()
	}
	if n := runtime.NumGoroutine() - before; n > 50 {
		t.Errorf("%d goroutines for 100 children", n)
	}
	c.Stop()
	if err := c.Err(); err != context.Canceled {
		t.Errorf("stopped: %v", err)
	}
}

// Whoever comes to a context that was stopped finds it ended, though nobody had
// waited for it before. Caught: a Stop that only ends the timer.
func TestStopped(t *testing.T) {
	c := With(t.Context(), time.Now().Add(time.Hour), errLate)
	c.Stop()
	if err := c.Err(); err != context.Canceled {
		t.Fatalf("stopped: %v", err)
	}
	<-c.Done()
	if err := context.Cause(c); err != context.Canceled {
		t.Errorf("stopped, cause: %v", err)
	}
}
