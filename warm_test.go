package aside_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// Refresh has the present record take the place of what the tiers have, on all nodes.
func TestRefreshCall(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.Loader = p })
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		p.put("k")
		if err := n.Refresh(t.Context(), "k"); err != nil {
			t.Error(err)
		}
		n.settled("k")
		if v, i := n.read("k", aside.Default); v != 2 || i.Source == aside.SourceLoad {
			t.Errorf("version %d from %v", v, i.Source)
		}
		p.del("k")
		if err := n.Refresh(t.Context(), "k"); err != nil {
			t.Errorf("of a record that is gone: %v", err)
		}
		down := errors.New("down")
		p.fail(down)
		if err := n.Refresh(t.Context(), "k"); !errors.Is(err, down) {
			t.Error(err)
		}
	})
	if err := newNode(t, newPrimary(), nil).Refresh(t.Context(), "k"); !errors.Is(err, aside.ErrNoLoader) {
		t.Error(err)
	}
}

// Warm loads what is missing, with as many calls at once as it may, and tells how far it
// is. Caught: more calls than Parallel; keys that L2 has and are loaded; a last batch that
// is left out; the absence of a record that counts as a failure.
func TestWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 25 {
			keys = append(keys, fmt.Sprint("k", i))
		}
		s := &asidetest.Server{}
		p := newPrimary(keys[:24]...)
		_, err := newNode(t, p, s).GetMany(t.Context(), keys[:10], p)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var running, most, loaded atomic.Int64
		n := newNode(t, p, s, func(o *options) {
			o.Loader = aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
				loaded.Add(1)
				for now := running.Add(1); ; {
					if m := most.Load(); now <= m || most.CompareAndSwap(m, now) {
						break
					}
				}
				defer running.Add(-1)
				time.Sleep(time.Second)
				return p.Load(ctx, k)
			})
		})
		done := 0
		err = n.Warm(t.Context(), slices.Values(keys), aside.WarmOptions{Parallel: 3, Progress: func(d, failed int) {
			if d <= done || failed > 0 {
				t.Errorf("%d done after %d, %d failed", d, done, failed)
			}
			done = d
		}})
		if err != nil || done != 25 || loaded.Load() != 15 || most.Load() != 3 {
			t.Errorf("%d done, want 25; %d loaded, want 15; %d at once, want 3: %v", done, loaded.Load(), most.Load(), err)
		}
		synctest.Wait()
		if e := n.Stats().L1Entries; e != 25 {
			t.Errorf("%d entries in L1", e)
		}
	})
}

// With a bulk loader, the keys come in batches. Keys that fail are counted, and the rest
// is loaded.
func TestWarmInBatches(t *testing.T) {
	bad := errors.New("bad")
	calls := 0
	n := newNode(t, newPrimary(), nil, func(o *options) {
		o.BulkLoader = aside.BulkLoaderFunc[string, rec](func(_ context.Context, ks []string) (map[string]rec, error) {
			calls++
			out := map[string]rec{}
			for _, k := range ks {
				out[k] = rec{k, 1}
			}
			if slices.Contains(ks, "k0") {
				return nil, bad
			}
			return out, nil
		})
	})
	keys := func(yield func(string) bool) {
		for i := range 250 {
			if !yield(fmt.Sprint("k", i)) {
				return
			}
		}
	}
	done, failed := 0, 0
	err := n.Warm(t.Context(), keys, aside.WarmOptions{Parallel: 1, Progress: func(d, f int) { done, failed = d, f }})
	if !errors.Is(err, bad) || done != 150 || failed != 100 || calls != 3 {
		t.Errorf("%d done, %d failed, %d calls: %v", done, failed, calls, err)
	}
}

// Warm ends with its context, though keys never end, and takes no loader that is not there.
func TestWarmEnds(t *testing.T) {
	p := newPrimary()
	n := newNode(t, p, nil, func(o *options) { o.Loader = p })
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(yield func(string) bool) {
		for i := 0; yield(fmt.Sprint(i)); i++ {
		}
	}
	err := n.Warm(ctx, endless, aside.WarmOptions{Progress: func(done, _ int) {
		if done == 10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := n.Warm(t.Context(), endless, aside.WarmOptions{Parallel: -1}); err == nil {
		t.Error("a negative number was taken")
	}
	if err := newNode(t, p, nil).Warm(t.Context(), endless, aside.WarmOptions{}); !errors.Is(err, aside.ErrNoLoader) {
		t.Error(err)
	}
}

// A key that cannot be hashed is a fault of the caller, who can recover from it.
// Caught: a panic in a goroutine of the cache, which ended the process.
func TestWarmUnhashableKeys(t *testing.T) {
	c, err := aside.New(aside.Options[any, int]{Name: "any", Loader: aside.LoaderFunc[any, int](func(context.Context, any) (int, error) { return 1, nil })})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_ = c.Warm(t.Context(), slices.Values([]any{1, []int{1}}), aside.WarmOptions{})
}
