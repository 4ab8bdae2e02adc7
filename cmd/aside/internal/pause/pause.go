// Package pause waits between attempts.
package pause

import (
	"context"
	"math/rand/v2"
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

// BeforeRetry waits after the n-th failure of a call, or until ctx ends: about 100 ms, then
// 400 ms. It reports whether there is time for another attempt.
func BeforeRetry(ctx context.Context, n int) bool {
	limit := 25 * time.Millisecond << (2 * min(n, 4))
	return For(ctx, limit/2+rand.N(limit/2))
}

// BehindOthers waits before another attempt of a write whose record another write has
// changed, or until ctx ends. The first one is immediate, since the other write has
// finished. Later pauses are longer and random. It reports whether there is time for
// another attempt.
func BehindOthers(ctx context.Context, try int) bool {
	if try == 0 {
		return true
	}
	return For(ctx, rand.N(time.Millisecond<<min(try, 6)))
}
