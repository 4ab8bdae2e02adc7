package aside_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// An outage with more writes than can be remembered: each change of state has one line,
// and L2 counts as in use when it has been cleared, not when it answers. Caught: "L2 is
// in use again" before the clear had ended, while all reads still went to the primary.
func TestLogOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		n := newNode(t, newPrimary(), &asidetest.Server{}, func(o *options) {
			o.MaxPending, o.Logger = 3, slog.New(slog.NewTextHandler(&log, nil))
		})
		const (
			down     = "L2 unavailable"
			overflow = "more than MaxPending keys"
			cleared  = "the whole cache was cleared"
			again    = "L2 is in use again"
		)
		logged := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			for _, line := range []string{down, overflow, cleared, again} {
				n := 0
				for _, w := range want {
					if w == line {
						n = 1
					}
				}
				if got := strings.Count(log.String(), line); got != n {
					t.Errorf("%s: %d lines %q, want %d:\n%s", when, got, line, n, log.String())
				}
			}
		}
		n.down()
		for i := range 8 {
			n.update(fmt.Sprint(i))
		}
		time.Sleep(2 * time.Second)
		logged("down", down, overflow)

		var clears atomic.Bool // L2 answers, but is not cleared yet
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if strings.EqualFold(op, "clear") && !clears.Load() {
				return fmt.Errorf("not yet: %w", aside.ErrL2Refused)
			}
			return nil
		})
		time.Sleep(5 * time.Second)
		logged("answering", down, overflow)
		if !n.Stats().Degraded {
			t.Error("it is not degraded any more")
		}
		clears.Store(true)
		time.Sleep(5 * time.Second)
		logged("cleared", down, overflow, cleared, again)
		_ = n.Close(t.Context())
	})
}

// The log has a hash of a key, and the key itself at the level debug only. Caught: mail
// addresses in the log.
func TestLogHasNoKeys(t *testing.T) {
	for level, wantKey := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		synctest.Test(t, func(t *testing.T) {
			const key = "ada@example.com"
			s := &asidetest.Server{}
			s.SetEntry(testPrefix+key, []byte("garbage"), time.Minute)
			var log bytes.Buffer
			n := newNode(t, newPrimary(key), s, func(o *options) {
				o.MaxEntrySize, o.Logger = 20, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))
			})
			n.want(key, 1, aside.SourceLoad)
			synctest.Wait()
			_ = n.Write(t.Context(), key, func(context.Context, *aside.WriteTx[string, rec]) error { return context.DeadlineExceeded })
			_ = n.Close(t.Context())
			sum := sha256.Sum256([]byte(testPrefix + key))
			if lines := strings.Count(log.String(), fmt.Sprintf("key_hash=%x", sum[:8])); lines < 2 {
				t.Errorf("%d lines have the hash, want those of an entry of no use and of an unknown outcome", lines)
			}
			if has := strings.Contains(log.String(), key); has != wantKey {
				t.Errorf("level %v, the key is in the log: %v\n%s", level, has, log.String())
			}
		})
	}
}
