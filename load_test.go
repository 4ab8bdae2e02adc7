package aside_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/internal/envelope"
)

func TestLoaderPanicReachesCallers(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		n := newNode(t, nil, s)
		boom := errors.New("boom")
		ld := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { panic(boom) })
		_, err := n.Get(t.Context(), "k", ld)
		var pe *aside.PanicError
		if !errors.As(err, &pe) || !errors.Is(err, aside.ErrLoadPanicked) || !errors.Is(err, boom) {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(string(pe.Stack), "TestLoaderPanicReachesCallers") || !strings.Contains(err.Error(), "boom") {
			t.Errorf("the stack does not name the loader:\n%s", pe.Stack)
		}
		exits := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { runtime.Goexit(); panic("unreachable") })
		if _, err := n.Get(t.Context(), "g", exits); !errors.Is(err, aside.ErrLoadPanicked) {
			t.Errorf("loader that ends its goroutine: %v", err)
		}
		// The lease was given back, so the next read loads at once.
		p := newPrimary("k")
		if v, err := n.Get(t.Context(), "k", p); err != nil || v.Version != 1 {
			t.Errorf("after the panic: %+v, %v", v, err)
		}
	})
}

func TestLoadErrorsAreNotCached(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		down := errors.New("primary down")
		p.fail(down)
		for range 2 {
			if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, down) {
				t.Errorf("got %v", err)
			}
			n.settled("k")
		}
		p.fail(nil)
		n.want("k", 1, aside.SourceLoad)
		if st := n.Stats(); st.LoadFailures != 2 || st.Failures != 2 {
			t.Errorf("%d load failures, %d failures", st.LoadFailures, st.Failures)
		}
	})
}

// A hung loader does not hold the key for ever: its callers are answered at the
// load's deadline, the lease is given back, and the next read loads anew while
// the first loader still hangs. Caught: waiting for the loader to return.
func TestHungLoaderDoesNotHoldTheKey(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.LoadTimeout = time.Second })
			hang := make(chan struct{})
			hung := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { <-hang; return rec{"k", -1}, nil })
			start := time.Now()
			_, err := n.Get(t.Context(), "k", hung)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
			synctest.Wait()
			n.want("k", 1, aside.SourceLoad)
			close(hang)
			synctest.Wait()
			n.want("k", 1, aside.SourceL1)
			if st := n.Stats(); st.LoadsRunning != 0 || st.Loads != 2 || st.LoadFailures != 1 {
				t.Errorf("%+v", st)
			}
			_ = n.Close(t.Context())
		})
	}
}

// The loader's context carries values, not the caller's deadline.
func TestLoadContext(t *testing.T) {
	type ctxKey struct{}
	n := newNode(t, nil, nil, func(o *options) { o.LoadTimeout = time.Hour })
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "trace"), time.Minute)
	defer cancel()
	_, err := n.Get(ctx, "k", aside.LoaderFunc[string, rec](func(ctx context.Context, _ string) (rec, error) {
		if ctx.Value(ctxKey{}) != "trace" {
			t.Error("values of the caller's context are gone")
		}
		if d, ok := ctx.Deadline(); !ok || time.Until(d) < 50*time.Minute {
			t.Errorf("deadline %v, want LoadTimeout from now", d)
		}
		return rec{}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// No more loads run at once than MaxLoads, no more wait than MaxQueuedLoads.
// Caught: a place given back before the loader returned.
func TestLoadsAreCapped(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a", "b", "c", "d", "e")
		n := newNode(t, p, s, func(o *options) { o.MaxLoads, o.MaxQueuedLoads = 2, 2 })
		g := testsync.NewGate(t)
		defer g.Open()
		p.beforeRead = g.Pass
		var wg sync.WaitGroup
		for _, k := range []string{"a", "b"} {
			wg.Go(func() { n.read(k, aside.Default) })
			testsync.Await(t, "load of "+k, g.Arrived)
		}
		for i, k := range []string{"c", "d"} {
			wg.Go(func() { n.read(k, aside.Default) })
			testsync.Eventually(t, k+" queues", func() bool { return n.Stats().LoadsQueued == i+1 })
		}
		if _, err := n.Get(t.Context(), "e", p); !errors.Is(err, aside.ErrOverloaded) {
			t.Errorf("fifth load: %v", err)
		}
		st := n.Stats()
		if st.LoadsRunning != 2 || st.LoadsQueued != 2 || st.Overloads != 1 || p.reads.Load() != 2 {
			t.Errorf("%+v", st)
		}
		g.Open()
		wg.Wait()
		p.beforeRead = nil
		n.settled("e")
		n.want("e", 1, aside.SourceLoad)
	})
}

// A load that waits for a slot until LoadTimeout counts as one that was refused.
// Caught: reads that failed with ErrOverloaded while Overloads stayed 0, so no alert.
func TestLoadsWithoutASlotInTimeAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary(), nil, func(o *options) { o.MaxLoads, o.LoadTimeout = 1, time.Second })
		slow := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) {
			time.Sleep(2 * time.Second) // it ignores its deadline, and keeps its slot
			return rec{}, nil
		})
		go func() { _, _ = n.Get(t.Context(), "a", slow) }()
		synctest.Wait()
		if _, err := n.Get(t.Context(), "b", slow); !errors.Is(err, aside.ErrOverloaded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if st := n.Stats(); st.Overloads != 1 || st.LoadsQueued != 0 {
			t.Errorf("%d refused, %d queued", st.Overloads, st.LoadsQueued)
		}
		time.Sleep(2 * time.Second)
	})
}

// Loads that nobody waits for any more leave the queue, and give their leases back.
// Caught: they are run, in front of those that somebody waits for.
func TestBoundsAbandonedLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary(), s, func(o *options) { o.MaxLoads = 1 })
		var loads atomic.Int64
		slow := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) {
			loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			return rec{}, nil
		})
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				_, _ = n.Get(ctx, fmt.Sprint("k", i), slow)
			})
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			_, _ = n.GetMany(ctx, []string{"m1", "m2"}, n.p)
		})
		wg.Wait()
		start := time.Now()
		if _, err := n.Get(t.Context(), "new", slow); err != nil || time.Since(start) > 200*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if st := n.Stats(); loads.Load() > 4 || st.LoadsDropped < 38 || st.LoadsQueued != 0 {
			t.Errorf("%d loads, %d dropped, %d queued", loads.Load(), st.LoadsDropped, st.LoadsQueued)
		}
		leases := 0
		for i := range 40 {
			if e := s.Entry(testPrefix + fmt.Sprint("k", i)); len(e) > 0 && e[0] == envelope.KindLease {
				leases++
			}
		}
		if leases > 0 {
			t.Errorf("%d leases are left", leases)
		}
	})
}

// In a cache without L2 a write of another key, whatever L1 knows it by, starts no
// second load. Caught: flights that were joined by the generation of their stripe.
func TestOtherKeysStartNoSecondLoad(t *testing.T) {
	n := newNode(t, newPrimary("k"), nil)
	release := make(chan struct{})
	n.p.afterRead = func(string) { <-release }
	var wg sync.WaitGroup
	get := func() { wg.Go(func() { n.read("k", aside.Default) }) }
	get()
	testsync.Eventually(t, "the load", func() bool { return n.p.reads.Load() == 1 })
	for i := range 20_000 { // five for each stripe
		_ = n.Invalidate(t.Context(), fmt.Sprint("other", i))
	}
	get()
	testsync.Eventually(t, "a second reader", func() bool { return aside.Followers(n.Cache, "k") == 1 })
	close(release)
	wg.Wait()
	if loads := n.p.reads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
}
