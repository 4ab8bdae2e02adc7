package aside_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// What other libraries test, and nothing here did.

// A bulk loader may return records that nobody asked for. They have no lease, so nothing
// proves that no write came after they were read: they are neither answered nor stored.
// Caught: an answer made of the loader's map instead of the keys.
func TestRecordsThatNobodyAskedFor(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a", "b")
		n := newNode(t, p, s)
		whole := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, _ []string) (map[string]rec, error) {
			return p.LoadMany(ctx, []string{"a", "b"})
		})
		m, err := n.GetMany(t.Context(), []string{"a"}, whole)
		if err != nil || len(m) != 1 || m["a"].Version != 1 {
			t.Errorf("%v, %v", m, err)
		}
		n.settled("a")
		if s != nil && s.Entry(testPrefix+"b") != nil {
			t.Errorf("L2 has %q", s.Entry(testPrefix+"b"))
		}
		n.want("a", 1, aside.SourceL1)
		n.want("b", 1, aside.SourceLoad)
	})
}

// A value beside an error is no value: the caller gets the zero value, and nothing is
// stored. Caught: the loader's value handed out with its error.
func TestValueBesideAnError(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k", "l")
		n := newNode(t, p, s)
		partly := rec{"k", 99}
		for _, e := range []error{errDown, fmt.Errorf("partly: %w", aside.ErrNotFound)} {
			single := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return partly, e })
			if v, err := n.Get(t.Context(), "k", single); v != (rec{}) || !errors.Is(err, e) && !errors.Is(err, aside.ErrNotFound) {
				t.Errorf("%v: %+v, %v", e, v, err)
			}
			n.settled("k")
			if err := n.Invalidate(t.Context(), "k"); err != nil { // what it has of an absence
				t.Fatal(err)
			}
			many := aside.BulkLoaderFunc[string, rec](func(context.Context, []string) (map[string]rec, error) {
				return map[string]rec{"k": partly, "l": {"l", 1}}, aside.KeyErrors[string]{"k": e}
			})
			m, _ := n.ReadMany(t.Context(), []string{"k", "l"}, many, aside.Default)
			if m["k"].Value != (rec{}) || m["k"].Err == nil || m["l"].Value.Version != 1 || m["l"].Err != nil {
				t.Errorf("%v, of many: %+v", e, m)
			}
			n.settled("k")
			if err := n.Invalidate(t.Context(), "k", "l"); err != nil {
				t.Fatal(err)
			}
		}
		n.want("k", 1, aside.SourceLoad)
	})
}

// A bulk load that failed says nothing of the keys it did not return. Caught: each of
// them taken for a record that does not exist, and remembered for NegativeTTL.
func TestFailedBulkLoadIsNoAbsence(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a", "b")
		n := newNode(t, p, s)
		half := aside.BulkLoaderFunc[string, rec](func(context.Context, []string) (map[string]rec, error) {
			return map[string]rec{"a": {"a", 1}}, errDown
		})
		m, err := n.ReadMany(t.Context(), []string{"a", "b"}, half, aside.Default)
		if !errors.Is(err, errDown) || m["a"].Value.Version != 1 || m["b"].Negative || !errors.Is(m["b"].Err, errDown) {
			t.Errorf("%+v, %v", m, err)
		}
		n.settled("b")
		n.want("b", 1, aside.SourceLoad)
	})
}

// A load that began before a Clear is not stored after it, and reads and clears together
// lose no answer. Caught: a flight from before the Clear that later reads joined.
func TestClearDuringLoads(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		defer g.Open()
		p.afterRead = g.First()
		early := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		testsync.Await(t, "the load has read", g.Arrived)
		p.put("k") // past the cache
		if err := n.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		late := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		if v := testsync.Await(t, "a read that begins after Clear", late); v != 2 {
			t.Errorf("it got version %d", v)
		}
		g.Open()
		if v := testsync.Await(t, "the early read", early); v != 1 && v != 2 {
			t.Errorf("the early read got version %d", v)
		}
		n.settled("k")
		if v, _ := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d once the early load has ended", v)
		}
		n.wantStrong("k", 2)

		var wg sync.WaitGroup
		wg.Go(func() {
			for range 200 {
				if err := n.Clear(context.Background()); err != nil {
					t.Errorf("Clear: %v", err)
				}
			}
		})
		for range 4 {
			wg.Go(func() {
				for range 500 {
					if v, _ := n.read("k", aside.Default); v != 2 {
						t.Errorf("version %d", v)
					}
				}
			})
		}
		wg.Wait()
	})
}

// A load goes on when all who asked for it have left, and the next read finds its value.
// Caught: a load on its first caller's context.
func TestLoadOutlivesItsCallers(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		defer g.Open()
		p.beforeRead = g.First()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		heeds := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			r, err := p.Load(ctx, k)
			return r, errors.Join(err, ctx.Err())
		})
		get := func() error { _, err := n.Get(ctx, "k", heeds); return err }
		first := testsync.Async(get)
		testsync.Await(t, "the load", g.Arrived)
		second := testsync.Async(get)
		testsync.Eventually(t, "a second caller", func() bool { return aside.Followers(n.Cache, "k") == 1 })
		cancel()
		for _, left := range []<-chan error{first, second} {
			if err := testsync.Await(t, "a caller leaves", left); !errors.Is(err, context.Canceled) {
				t.Errorf("a caller: %v", err)
			}
		}
		g.Open()
		n.settled("k")
		n.want("k", 1, aside.SourceL1)
		if loads := p.reads.Load(); loads != 1 {
			t.Errorf("%d loads", loads)
		}
	})
}

// A context that has ended starts no load; what L1 has is answered all the same.
// Caught: a miss that loads for a caller who is gone.
func TestEndedContextLoadsNothing(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k", "l")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := n.Get(ctx, "k", p); err != nil || v.Version != 1 {
			t.Errorf("what L1 has: %+v, %v", v, err)
		}
		if _, err := n.Get(ctx, "l", p); !errors.Is(err, context.Canceled) {
			t.Errorf("a miss: %v", err)
		}
		if _, err := n.Read(ctx, "k", p, aside.Strong); s != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a strong read: %v", err)
		}
		if _, err := n.GetMany(ctx, []string{"l"}, p); !errors.Is(err, context.Canceled) {
			t.Errorf("a miss of many: %v", err)
		}
		n.settled("l")
		if loads := p.reads.Load(); loads != 1 {
			t.Errorf("%d loads", loads)
		}
	})
}

// A loader that finds no record ends the stale value: "not found" is an answer, no failure.
// An absence past its own life is never a stale answer. Caught: StaleFor that takes any
// error for a failure.
func TestAbsenceEndsAStaleValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) {
			o.TTL, o.L1TTL, o.NegativeTTL, o.StaleFor = 10*time.Second, time.Second, 5*time.Second, time.Hour
		})
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(20 * time.Second)
		p.del("k") // past the cache
		for range 2 {
			if r, err := n.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, aside.ErrNotFound) || r.Stale {
				t.Errorf("the record is gone: %+v, %v", r, err)
			}
			synctest.Wait()
		}
		p.fail(errDown)
		time.Sleep(20 * time.Second) // past NegativeTTL
		if r, err := n.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, errDown) || r.Stale {
			t.Errorf("a load fails after an absence: %+v, %v", r, err)
		}
		_ = n.Close(t.Context())
	})
}

// A bulk read gives the stale value of each key whose load fails, marked, and the fresh one
// of the others. Caught: a stale value for reads of one key only.
func TestStaleValuesOfABulkRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("a", "b")
		n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.StaleFor = 10*time.Second, time.Second, time.Hour })
		keys := []string{"a", "b", "never"}
		if _, err := n.GetMany(t.Context(), keys[:2], p); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(20 * time.Second)
		p.put("b")
		half := aside.BulkLoaderFunc[string, rec](func(context.Context, []string) (map[string]rec, error) {
			return map[string]rec{"b": {"b", 2}}, errDown
		})
		m, err := n.ReadMany(t.Context(), keys, half, aside.Default)
		if a := m["a"]; a.Err != nil || !a.Stale || a.Value.Version != 1 {
			t.Errorf("a: %+v", a)
		}
		if b := m["b"]; b.Err != nil || b.Stale || b.Value.Version != 2 {
			t.Errorf("b: %+v", b)
		}
		if c := m["never"]; !errors.Is(err, errDown) || !errors.Is(c.Err, errDown) {
			t.Errorf("a key that was never read: %+v, %v", c, err)
		}
		synctest.Wait()
		_ = n.Close(t.Context())
	})
}

// L2 goes away while a load runs: the reader gets the record all the same.
// When L2 is back, nothing of the load is left there that could be
// older than a write. Caught: a fill that failed and took the answer with it.
func TestL2FailsDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		var once atomic.Bool
		p.beforeRead = func(string) {
			if once.CompareAndSwap(false, true) {
				n.down()
			}
		}
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		if e := s.Entry(testPrefix + "k"); len(e) > 0 && e[0] == 'V' {
			t.Errorf("L2 has the record: %q", e)
		}
		m.update("k")
		n.up()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		n.wantStrong("k", 2)
		if v, _ := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d after L2 is back", v)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}
