package aside_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// slowL2 is a node whose lookups take 50 ms, before the server carries them out, or
// after, and which hedges them after 10 ms; and another that has filled the keys given. A
// load of the slow one takes what load says.
func slowL2(t *testing.T, before bool, keys []string, f func(t *testing.T, n, other *node, load *atomic.Int64), change ...func(*options)) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary(numbered(0, 100)...)
		other := newNode(t, p, s)
		for _, k := range keys {
			other.want(k, 1, aside.SourceLoad)
		}
		synctest.Wait()
		var load atomic.Int64
		load.Store(int64(5 * time.Millisecond))
		n := newNode(t, newPrimary(), s, append([]func(*options){func(o *options) {
			o.L2SoftTimeout = 10 * time.Millisecond
			o.Loader = aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
				defer time.Sleep(time.Duration(load.Load()))
				return p.Load(ctx, k)
			})
		}}, change...)...)
		slow := func(op string) {
			if op == "Acquire" {
				time.Sleep(50 * time.Millisecond)
			}
		}
		if before {
			n.conn.Intercept(func(_ context.Context, op, _ string) error { slow(op); return nil })
		} else {
			n.conn.Answer(func(op, _ string) error { slow(op); return nil })
		}
		n.p = p
		f(t, n, other, &load)
		synctest.Wait()
		if err := n.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// took checks a read's answer, and how long it took.
func (n *node) took(k string, mode aside.Mode, want time.Duration, version int, from aside.Source) aside.Info {
	n.t.Helper()
	start := time.Now()
	r, err := n.Read(context.Background(), k, nil, mode)
	if d := time.Since(start); err != nil || r.Value.Version != version || r.Source != from || d != want {
		n.t.Errorf("read %s: version %d from %v after %v, %v; want %d from %v after %v", k, r.Value.Version, r.Source, d, err, version, from, want)
	}
	return r.Info
}

func (n *node) hedged(hedges, won uint64) {
	n.t.Helper()
	if s := n.Stats(); s.Hedges != hedges || s.HedgesWon != won {
		n.t.Errorf("%d hedges, %d won; want %d and %d", s.Hedges, s.HedgesWon, hedges, won)
	}
}

// A lookup that is slow is hedged by a load, and the load answers. Its value is kept in
// L1 for DegradedL1TTL. Caught: reads that wait for L2Timeout.
func TestSlowLookupIsHedged(t *testing.T) {
	for _, mode := range []aside.Mode{aside.Default, aside.Strong} {
		for _, before := range []bool{true, false} {
			slowL2(t, before, numbered(0, 1), func(t *testing.T, n, other *node, _ *atomic.Int64) {
				if i := n.took("k0", mode, 15*time.Millisecond, 1, aside.SourceLoad); i.Miss != aside.MissSlowL2 {
					t.Errorf("%v", i.Miss)
				}
				n.hedged(1, 1)
				n.took("k0", aside.Default, 0, 1, aside.SourceL1)
				time.Sleep(100 * time.Millisecond) // the lookup has ended
				n.took("k0", aside.Default, 0, 1, aside.SourceL1)
				other.update("k0") // the lookup has watched the key
				synctest.Wait()
				n.took("k0", aside.Default, 15*time.Millisecond, 2, aside.SourceLoad)
				time.Sleep(1100 * time.Millisecond)
				n.took("k0", aside.Default, 15*time.Millisecond, 2, aside.SourceLoad)
			})
		}
	}
}

// The lookup may be first after all; then what the load brings, which may be older,
// counts for nothing. Caught: a load that goes over what the lookup has found.
func TestLookupThatIsFasterThanItsHedge(t *testing.T) {
	slowL2(t, true, numbered(0, 1), func(t *testing.T, n, other *node, load *atomic.Int64) {
		load.Store(int64(100 * time.Millisecond)) // after its read
		go func() {
			time.Sleep(30 * time.Millisecond)
			other.update("k0") // the load has read version 1; the lookup finds 2
		}()
		n.took("k0", aside.Default, 50*time.Millisecond, 2, aside.SourceL2)
		n.took("k0", aside.Default, 0, 2, aside.SourceL1)
		time.Sleep(200 * time.Millisecond)
		n.took("k0", aside.Default, 0, 2, aside.SourceL1)
		n.hedged(1, 0)
	})
}

// What nobody has is loaded once: the lookup leaves it to the load, whichever ends first,
// and gives its lease back. Caught: a second load; a lease that stays.
func TestHedgeOfWhatNobodyHas(t *testing.T) {
	for _, first := range []bool{true, false} {
		slowL2(t, true, nil, func(t *testing.T, n, other *node, load *atomic.Int64) {
			want := 15 * time.Millisecond
			if !first {
				load.Store(int64(100 * time.Millisecond))
				want = 110 * time.Millisecond
			}
			n.took("k0", aside.Default, want, 1, aside.SourceLoad)
			time.Sleep(100 * time.Millisecond)
			n.hedged(1, 1)
			if loads := n.p.reads.Load(); loads != 1 {
				t.Errorf("%d loads", loads)
			}
			start := time.Now()
			other.want("k0", 1, aside.SourceLoad)
			if d := time.Since(start); d > time.Millisecond {
				t.Errorf("another node waited %v for the lease", d)
			}
		})
	}
}

// A load that fails leaves the read to the lookup.
// Caught: reads that fail because the primary is down, of what L2 has.
func TestHedgeThatFails(t *testing.T) {
	slowL2(t, true, numbered(0, 1), func(t *testing.T, n, _ *node, load *atomic.Int64) {
		n.p.fail(errors.New("down"))
		n.took("k0", aside.Default, 50*time.Millisecond, 1, aside.SourceL2)
		n.hedged(1, 0)
		if _, err := n.Get(t.Context(), "k1"); err == nil || err.Error() != "down" {
			t.Errorf("k1: %v", err)
		}
		load.Store(int64(100 * time.Millisecond)) // the lookup has left it to the load
		start := time.Now()
		if _, err := n.Get(t.Context(), "k2"); err == nil || err.Error() != "down" || time.Since(start) != 110*time.Millisecond {
			t.Errorf("k2: %v after %v", err, time.Since(start))
		}
		time.Sleep(100 * time.Millisecond)
		n.p.fail(nil)
		load.Store(0)
		n.took("k2", aside.Default, 10*time.Millisecond, 1, aside.SourceLoad)
	})
	// The stale value that the lease was granted over stands in for a load that fails,
	// and stays in L2.
	stale := func(o *options) { o.StaleFor = time.Hour }
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k0")
		var slow atomic.Bool
		n := newNode(t, p, s, stale, func(o *options) {
			o.L2SoftTimeout = 10 * time.Millisecond
			o.Loader = aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
				if slow.Load() {
					time.Sleep(100 * time.Millisecond)
				}
				return p.Load(ctx, k)
			})
		})
		n.took("k0", aside.Default, 0, 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(6 * time.Minute)
		n.conn.Answer(func(op, _ string) error {
			if op == "Acquire" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
		p.fail(errors.New("down"))
		slow.Store(true)
		for range 2 {
			r, err := n.Read(t.Context(), "k0", nil, aside.Default)
			if err != nil || !r.Stale || r.Value.Version != 1 {
				t.Errorf("%+v, %v", r, err)
			}
			time.Sleep(time.Second)
		}
		n.hedged(2, 0)
	})
}

// A write that is under way when the late lookup arrives: L1 does not keep what was
// loaded before it. Caught: a second of old values after a write of another node.
func TestHedgeAndAWriteUnderWay(t *testing.T) {
	for _, lookupFirst := range []bool{false, true} {
		slowL2(t, false, nil, func(t *testing.T, n, other *node, load *atomic.Int64) {
			want := 15 * time.Millisecond
			if lookupFirst {
				want = 110 * time.Millisecond
				load.Store(int64(100 * time.Millisecond))
			}
			committed, released := make(chan struct{}), make(chan struct{})
			fenced := make(chan struct{})
			go func() {
				defer close(released)
				_ = other.Write(t.Context(), "k0", func(context.Context, *aside.WriteTx[string, rec]) error {
					close(fenced)
					time.Sleep(200 * time.Millisecond)
					other.p.put("k0")
					close(committed)
					return nil
				})
			}()
			<-fenced
			n.took("k0", aside.Default, want, 1, aside.SourceLoad)
			<-released
			synctest.Wait()
			load.Store(0)
			n.took("k0", aside.Default, 10*time.Millisecond, 2, aside.SourceLoad)
		})
	}
}

// A read that stores nothing is hedged by a load that is not stored, and one that is to
// replace what L2 has is not hedged. Caught: the mode of the read lost on the way.
func TestHedgesKeepTheModeOfTheRead(t *testing.T) {
	slowL2(t, true, numbered(0, 2), func(t *testing.T, n, other *node, _ *atomic.Int64) {
		n.took("k0", aside.NoStore, 15*time.Millisecond, 1, aside.SourceLoad)
		n.took("k0", aside.NoStore, 15*time.Millisecond, 1, aside.SourceLoad)
		n.hedged(2, 2)
		r, err := n.Read(t.Context(), "k1", nil, aside.Refresh)
		if err != nil || r.Source != aside.SourceLoad || r.Miss != aside.MissRefresh {
			t.Errorf("%+v, %v", r.Info, err)
		}
		n.hedged(2, 2)
	})
}

// Where L2 is slow for all, a share of the lookups is hedged, and none that would
// have to queue. Caught: all reads at the primary at once.
func TestHedgesHaveABudget(t *testing.T) {
	slowL2(t, true, nil, func(t *testing.T, n, _ *node, _ *atomic.Int64) {
		for i := range 1000 {
			if _, err := n.Get(t.Context(), fmt.Sprint("none", i)); !errors.Is(err, aside.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if s := n.Stats(); s.Hedges < 50 || s.Hedges > 32+1000/20 {
			t.Errorf("%d hedges", s.Hedges)
		}
	}, func(o *options) { o.NegativeTTL = -1 })
	slowL2(t, true, nil, func(t *testing.T, n, _ *node, _ *atomic.Int64) {
		hang := make(chan struct{})
		go func() {
			_, _ = n.Get(context.Background(), "hangs", aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { <-hang; return rec{}, nil }))
		}()
		time.Sleep(20 * time.Millisecond)
		n.hedged(1, 0)
		go func() { _, _ = n.Get(context.Background(), "k1") }()
		time.Sleep(20 * time.Millisecond)
		n.hedged(1, 0)
		close(hang)
	}, func(o *options) { o.MaxLoads = 1 })
}

// Reads of several keys are hedged by a bulk load; so are single reads that came together.
func TestHedgeOfSeveralKeys(t *testing.T) {
	b := &bulkCalls{}
	slowL2(t, true, numbered(0, 20), func(t *testing.T, n, _ *node, load *atomic.Int64) {
		b.p = n.p
		load.Store(0) // of a read that no other came with
		start := time.Now()
		m, err := n.ReadMany(t.Context(), numbered(0, 10), nil, aside.Default)
		if err != nil || len(m) != 10 || m["k3"].Source != aside.SourceLoad || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%v, %v after %v", m, err, time.Since(start))
		}
		start = time.Now()
		_, errs := getAll(n, t.Context(), numbered(10, 10)...)
		if err := errors.Join(errs...); err != nil || time.Since(start) != 10*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		n.hedged(20, 20)
		if calls := len(b.list()); calls > 6 {
			t.Errorf("%d calls of the loader", calls)
		}
	}, func(o *options) { o.BulkLoader = b })
}

func TestSoftTimeoutOfL2IsChecked(t *testing.T) {
	_, err := aside.New(aside.Options[string, rec]{L2SoftTimeout: 100 * time.Millisecond})
	if err == nil || !errors.Is(err, aside.ErrOptions) {
		t.Errorf("%v", err)
	}
}

// A flight that began before an invalidation may be hedged after it. Another flight has
// taken its place by then, and what that has found may be newer.
// Caught: a hedge that goes over it in L1, so that reads go back.
func TestHedgeOfAFlightFromBeforeAnInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k0")
		other := newNode(t, p, s)
		n := newNode(t, p, s, func(o *options) {
			o.L2SoftTimeout = 10 * time.Millisecond
			o.Loader = aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
				defer time.Sleep(60 * time.Millisecond)
				return p.Load(ctx, k)
			})
		})
		var lookups atomic.Int64
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Acquire" && lookups.Add(1) == 1 {
				time.Sleep(90 * time.Millisecond)
			}
			return nil
		})
		go func() { _, _ = n.Get(context.Background(), "k0") }()
		time.Sleep(5 * time.Millisecond)
		if err := n.Invalidate(t.Context(), "k0"); err != nil {
			t.Error(err)
		}
		time.Sleep(15 * time.Millisecond) // the hedge has read version 1
		other.update("k0")
		time.Sleep(10 * time.Millisecond)
		n.took("k0", aside.Default, 0, 2, aside.SourceL2)
		time.Sleep(50 * time.Millisecond)
		n.hedged(1, 1)
		if v, _ := n.read("k0", aside.Default); v != 2 {
			t.Errorf("version %d after version 2", v)
		}
		time.Sleep(time.Second)
		synctest.Wait()
	})
}
