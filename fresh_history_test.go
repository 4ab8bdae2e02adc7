package aside_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/asidecache/aside"
)

// Random histories in which nearly every entry is due or past its TTL: the promises of
// TestRandomHistories hold with refreshes and stale answers too, since all writes go through
// the cache.
// Caught: a refresh that L1 takes in over a newer value; a lease over an entry that leaves
// L1 as it is; a stale answer after a write.
func TestRandomHistoriesOfFreshness(t *testing.T) {
	short := func(o *options) {
		o.TTL, o.L1TTL, o.Jitter, o.RefreshAhead = 4*time.Millisecond, 2*time.Millisecond, 0.5, 1
	}
	for name, change := range map[string]func(*options){
		"refresh ahead": func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = time.Hour, time.Minute, 1 },
		"short lives":   short,
		"all of them": func(o *options) {
			short(o)
			o.StaleWhileRevalidate, o.StaleFor, o.SoftTimeout, o.FailedFor = 2*time.Millisecond, time.Minute, time.Millisecond, time.Millisecond
		},
		"no L1": func(o *options) {
			short(o)
			o.L1Size, o.StaleWhileRevalidate = -1, time.Minute
		},
	} {
		t.Run(name, func(t *testing.T) { randomHistory(t, 3, change, nil) })
		t.Run(name+", L1 only", func(t *testing.T) {
			randomHistory(t, 1, func(o *options) { change(o); o.L2 = nil; o.Name = "" }, nil)
		})
		t.Run(name+", lossy L2", func(t *testing.T) {
			randomHistory(t, 3, func(o *options) {
				change(o)
				o.OnL2Down, o.BreakerFailures, o.BreakerDelay = aside.FailClosed, 3, time.Millisecond
				o.FenceTTL, o.WriteTimeout = 300*time.Millisecond, 200*time.Millisecond
			}, func(op string) bool { return rand.N(20) == 0 })
		})
	}
}
