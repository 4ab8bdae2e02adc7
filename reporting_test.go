package aside_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// reporter is an L2 that says how it is.
type reporter struct {
	driver.Tier
	state atomic.Pointer[error]
}

func (r *reporter) State() error {
	if err := r.state.Load(); err != nil {
		return *err
	}
	return nil
}

// What an L2 says of itself is the cache's state, with nobody reading.
// Caught: a state that only failed operations change.
func TestL2ReportsItsState(t *testing.T) {
	var l2 *reporter
	n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) {
		l2 = &reporter{Tier: o.L2}
		why := errors.New("not connected")
		l2.state.Store(&why)
		o.L2 = l2
	})
	if s := n.Stats(); !s.Degraded || s.DegradedReason != "not connected" {
		t.Errorf("degraded %v: %q", s.Degraded, s.DegradedReason)
	}
	l2.state.Store(nil)
	if s := n.Stats(); s.Degraded {
		t.Errorf("degraded: %q", s.DegradedReason)
	}
}

// An outage is logged when it begins, and from then on once a minute, and a failure
// that nothing has followed is no outage for ever.
// Caught: a line for each probe, twice a second; and "degraded" until the next read.
func TestOutageIsLoggedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		n.down()
		n.wantStrong("k", 1)
		if s := n.Stats(); !s.Degraded {
			t.Error("one failure is not shown")
		}
		n.up()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := n.Stats(); s.Degraded {
			t.Errorf("10 s after one failure: %s", s.DegradedReason)
		}

		n.down()
		for range 10 {
			n.wantStrong("k", 1)
		}
		time.Sleep(3*time.Minute + 30*time.Second)
		synctest.Wait()
		if c := strings.Count(log.String(), "unavailable"); c != 4 {
			t.Errorf("%d lines in three and a half minutes, want 4:\n%s", c, log.String())
		}
		if s := n.Stats(); !s.Degraded {
			t.Error("the outage is not shown")
		}
		n.up()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := n.Stats(); s.Degraded || !strings.Contains(log.String(), "in use again") {
			t.Errorf("degraded %v: %s", s.Degraded, s.DegradedReason)
		}
		_ = n.Close(t.Context())
	})
}

// Degraded tells since when: since the first failure of those that followed each other, or
// since L2 says it, or since the first key waits that L2 is to be told of; of these the
// earliest. Caught: since the last failure; since the breaker opened; since L2 said it,
// although operations failed before.
func TestDegradedSince(t *testing.T) {
	since := func(t *testing.T, n *node, when string, cause aside.DegradedCause, want time.Time) {
		t.Helper()
		if s := n.Stats(); s.DegradedCause != cause || !s.DegradedSince.Equal(want) {
			t.Errorf("%s: %q since %v, want %q since %v", when, s.DegradedCause, s.DegradedSince, cause, want)
		}
	}
	wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
	t.Run("failing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, newPrimary("k"), &asidetest.Server{})
			since(t, n, "well", "", time.Time{})
			n.down()
			wait(time.Minute)
			since(t, n, "nobody has asked", "", time.Time{})
			began := time.Now()
			for range 3 {
				n.wantStrong("k", 1)
				wait(time.Second)
			}
			since(t, n, "three failures", aside.DegradedFailing, began)
			for range 10 {
				n.wantStrong("k", 1)
			}
			wait(5 * time.Minute)
			since(t, n, "the breaker is open", aside.DegradedFailing, began)
			n.up()
			wait(5 * time.Second)
			since(t, n, "well again", "", time.Time{})
			n.down()
			n.wantStrong("k", 1)
			since(t, n, "the next time", aside.DegradedFailing, time.Now())
			_ = n.Close(t.Context())
		})
	})
	t.Run("reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var l2 *reporter
			n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) { l2 = &reporter{Tier: o.L2}; o.L2 = l2 })
			says := func(err error) { l2.state.Store(&err) }
			began := time.Now()
			wait(time.Minute)
			says(&driver.Outage{Err: errors.New("not connected"), Since: began})
			since(t, n, "it says when", aside.DegradedReported, began)
			if reason := n.Stats().DegradedReason; reason != "not connected" {
				t.Errorf("the reason is %q", reason)
			}
			says(errors.New("not connected"))
			since(t, n, "it does not", aside.DegradedReported, time.Time{})
			n.down()
			failed := time.Now()
			n.wantStrong("k", 1)
			wait(time.Second)
			says(&driver.Outage{Err: errors.New("not connected"), Since: time.Now()})
			since(t, n, "operations failed before", aside.DegradedReported, failed)
			_ = n.Close(t.Context())
		})
	})
	t.Run("refused", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) { o.L1Size = -1 })
			n.conn.Intercept(func(context.Context, string, string) error { return aside.ErrL2Refused })
			for range 2 {
				began := time.Now()
				for range 10 {
					n.want("k", 1, aside.SourceLoad)
					wait(time.Second)
				}
				since(t, n, "ten refusals", aside.DegradedRefused, began)
				wait(10 * time.Second)
				since(t, n, "none for ten seconds", "", time.Time{})
			}
			n.up()
			_ = n.Close(t.Context())
		})
	})
	t.Run("pending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, newPrimary("a", "b", "c"), &asidetest.Server{}, func(o *options) { o.MaxPending = 2 })
			for range 2 {
				n.conn.Intercept(func(_ context.Context, op, _ string) error {
					if op == "Ping" {
						return nil // so that the failures do not follow each other
					}
					return errDown
				})
				began := time.Now()
				for _, k := range []string{"a", "b"} {
					n.update(k)
					wait(time.Minute)
				}
				if s := n.Stats(); s.Pending != 2 || !s.DegradedSince.Equal(began) {
					t.Errorf("%d pending: %q since %v, want since %v", s.Pending, s.DegradedCause, s.DegradedSince, began)
				}
				n.update("c")
				wait(time.Minute)
				since(t, n, "too many", aside.DegradedOverflow, began)
				n.up()
				wait(time.Minute)
				since(t, n, "told", "", time.Time{})
			}
			_ = n.Close(t.Context())
		})
	})
	t.Run("tags", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t, newPrimary("k"), &asidetest.Server{})
			for range 2 {
				n.conn.Intercept(func(_ context.Context, op, _ string) error {
					if op == "Tags" {
						return errDown
					}
					return nil
				})
				began := time.Now()
				for _, tag := range []string{"x", "y"} {
					if err := n.InvalidateTag(t.Context(), tag); err != nil {
						t.Fatal(err)
					}
					wait(time.Minute)
				}
				if s := n.Stats(); s.Pending != 2 || !s.DegradedSince.Equal(began) {
					t.Errorf("%d pending: %q since %v, want since %v", s.Pending, s.DegradedCause, s.DegradedSince, began)
				}
				n.up()
				wait(time.Minute)
				since(t, n, "told", "", time.Time{})
			}
			_ = n.Close(t.Context())
		})
	})
}
