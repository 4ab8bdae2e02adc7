// Package pause waits between attempts.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends. It reports whether it waited for all of d.
func For(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
