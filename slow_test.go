package aside_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
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

// A bulk read of large values has the time that they take: the timeout grows with what
// is expected, by what was found or stored before. Caught: 64 values of 1 MiB that had
// to come within one L2Timeout, so that each such read cost the breaker a failure, and
// the primary all keys.
func TestBoundsTimeOfLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 16
		large := strings.Repeat("v", 1<<20-100)
		s := &asidetest.Server{}
		loads := 0
		bulk := aside.BulkLoaderFunc[string, string](func(_ context.Context, keys []string) (map[string]string, error) {
			loads++
			out := map[string]string{}
			for _, k := range keys {
				out[k] = large
			}
			return out, nil
		})
		open := func() (*aside.Cache[string, string], *asidetest.Client) {
			conn := s.NewClient()
			c, err := aside.New(aside.Options[string, string]{Name: "large", L2: conn, L1Size: -1, CompressAbove: -1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return c, conn
		}
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprint(i))
		}
		a, _ := open()
		if _, err := a.GetMany(t.Context(), keys, bulk); err != nil || loads != 1 {
			t.Fatal(loads, err)
		}
		synctest.Wait()
		b, conn := open()
		conn.Intercept(func(ctx context.Context, op, _ string) error {
			if op != "Acquire" {
				return nil
			}
			select { // so long does each of them take
			case <-time.After(60 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for _, ask := range [][]string{keys[:1], keys} {
			if got, err := b.GetMany(t.Context(), ask, bulk); err != nil || len(got) != len(ask) {
				t.Fatalf("%d of %d, %v", len(got), len(ask), err)
			}
		}
		if st := b.Stats(); st.L2Errors != 0 || loads != 1 {
			t.Errorf("%d errors of L2, %d loads; want 0 and 1", st.L2Errors, loads)
		}
		for _, c := range []*aside.Cache[string, string]{a, b} {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
