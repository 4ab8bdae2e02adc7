package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A pause ends with its time or with its context, whichever is first. Seen to fail
// with a For that ignores the context.
func TestFor(t *testing.T) {
	for _, tt := range []struct {
		timeout, pause, took time.Duration
		whole                bool
	}{
		{time.Hour, time.Second, time.Second, true},
		{time.Second, time.Hour, time.Second, false},
		{time.Hour, 0, 0, true},
		{0, 0, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			begun := time.Now()
			if whole, took := For(ctx, tt.pause), time.Since(begun); whole != tt.whole || took != tt.took {
				t.Errorf("%+v: %v after %v", tt, whole, took)
			}
		})
	}
}
