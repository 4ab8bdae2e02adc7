package aside_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/asidetest"
)

// An L2 that answers, but too late for operations, must stay left alone. Found
// with a delayed connection to a real Redis. Caught: a probe with more time than
// operations have, after which the breaker closes for the next five to time out.
func TestSlowL2IsNotTakenForARecoveredOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		var log bytes.Buffer
		n := newNode(t, p, &asidetest.Server{}, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		n.conn.Intercept(func(ctx context.Context, _, _ string) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for range 5 {
			n.wantStrong("k", 1)
		}
		time.Sleep(20 * time.Second) // of fake time, in which nobody reads
		synctest.Wait()
		if s := n.Stats(); !s.Degraded || strings.Contains(log.String(), "in use again") {
			t.Errorf("degraded %v: %s", s.Degraded, log.String())
		}
		n.conn.Intercept(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := n.Stats(); s.Degraded || !strings.Contains(log.String(), "in use again") {
			t.Errorf("degraded %v: %s", s.Degraded, log.String())
		}
		_ = n.Close(t.Context())
	})
}
