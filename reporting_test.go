package aside_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
