package aside_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/history"
)

// Random histories in which every entry has tags, and half of the writes go past the cache
// and are followed by InvalidateTag: the promises of TestRandomHistories hold, with such a
// change acknowledged when InvalidateTag returns.
// Caught: a stamp taken after the load; a strong read that is content with what its node knows.
func TestRandomHistoriesOfTags(t *testing.T) {
	for name, change := range map[string]func(*options){
		"default":       func(*options) {},
		"no L1":         func(o *options) { o.L1Size = -1 },
		"tiny L1":       func(o *options) { o.L1Size = 2 },
		"a tiny table":  func(o *options) { o.MaxTags = 2 },
		"stale allowed": func(o *options) { o.StaleFor = time.Minute },
		"small calls":   func(o *options) { o.Bulk = aside.BulkLimits{MaxKeys: 2, Wait: 100 * time.Microsecond} },
		"slow L2":       func(o *options) { o.L2SoftTimeout = time.Millisecond },
		"fresh": func(o *options) {
			o.TTL, o.L1TTL, o.Jitter, o.RefreshAhead = 4*time.Millisecond, 2*time.Millisecond, 0.5, 1
			o.StaleWhileRevalidate, o.StaleFor, o.SoftTimeout = 2*time.Millisecond, time.Minute, time.Millisecond
		},
	} {
		t.Run(name, func(t *testing.T) { historyOf(t, 3, true, change, nil) })
		if name == "slow L2" {
			continue
		}
		t.Run(name+", L1 only", func(t *testing.T) {
			historyOf(t, 1, true, func(o *options) { change(o); o.L2 = nil; o.Name = "" }, nil)
		})
	}
	t.Run("lossy L2", func(t *testing.T) {
		historyOf(t, 3, true, func(o *options) {
			o.OnL2Down, o.BreakerFailures, o.BreakerDelay = aside.FailClosed, 3, time.Millisecond
			o.FenceTTL, o.WriteTimeout = 300*time.Millisecond, 200*time.Millisecond
		}, func(string) bool { return rand.N(20) == 0 })
	})
}

// changeByTag changes k, or all keys, in the primary, and invalidates them by a tag. The
// change is acknowledged at the time that it returns. From then on the node itself has
// nothing older, for default reads too.
func (n *node) changeByTag(k string, lossy bool) (changed map[string]rec, at time.Time) {
	keys, tag := []string{k}, "of "+k
	if rand.N(2) == 0 {
		keys, tag = []string{"k0", "k1", "k2", "k3"}, "all"
	}
	changed = map[string]rec{}
	for _, k := range keys {
		jitter()
		changed[k] = n.p.put(k)
	}
	jitter()
	err := n.InvalidateTag(context.Background(), tag)
	for lossy && errors.Is(err, aside.ErrL2Unavailable) {
		jitter()
		err = n.InvalidateTag(context.Background(), tag)
	}
	if err != nil {
		n.t.Errorf("InvalidateTag: %v", err)
	}
	at = time.Now()
	r, err := n.Read(context.Background(), k, nil, aside.Default)
	if err != nil && !lossy || r.Value.Version < changed[k].Version && err == nil {
		n.t.Errorf("%s, right after its tag was invalidated: version %d from %v, want at least %d; %v", k, r.Value.Version, r.Source, changed[k].Version, err)
	}
	return changed, at
}

// checkTagged checks a history with changes past the cache that InvalidateTag has told of.
// A default read on another node may show such a change and then not, until the notice
// arrives: what a read beside the cache has shown is not kept from L1 by anything.
func checkTagged(r *history.Result, h *history.Key) {
	atOnce := slices.DeleteFunc(history.Promises(), func(p history.Promise) bool { return p == history.Monotonic })
	r.Add(history.Check(h, history.Options{MaxStale: -1, Promises: atOnce}))
	back := history.Check(h, history.Options{MaxStale: -1, MaxOutside: -1, Promises: []history.Promise{history.Monotonic}})
	r.Add(history.Result{Broken: back.Broken, Violations: back.Violations})
}
