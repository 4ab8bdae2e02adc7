package aside_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/gate"
)

func TestZeroOptionsWork(t *testing.T) {
	c, err := aside.New(aside.Options[int, string]{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	loads := 0
	ld := aside.LoaderFunc[int, string](func(_ context.Context, k int) (string, error) { loads++; return strings.Repeat("x", k), nil })
	for range 3 {
		if v, err := c.Get(t.Context(), 3, ld); err != nil || v != "xxx" {
			t.Fatalf("got %q, %v", v, err)
		}
	}
	if loads != 1 {
		t.Errorf("%d loads", loads)
	}
}

func TestWhereAnswersComeFrom(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	a.want("k", 1, aside.SourceLoad)
	a.settled("k")
	a.want("k", 1, aside.SourceL1)
	b.want("k", 1, aside.SourceL2)
	b.want("k", 1, aside.SourceL1)
	if r, err := b.Read(t.Context(), "k", p, aside.Strong); err != nil || r.Source != aside.SourceL2 {
		t.Errorf("strong: %+v, %v; want it from L2", r, err)
	}
	for _, want := range []aside.Source{aside.SourceLoad, aside.SourceL1} {
		r, err := a.Read(t.Context(), "absent", p, aside.Default)
		if !errors.Is(err, aside.ErrNotFound) || !r.Negative || r.Source != want {
			t.Errorf("absent: %+v, %v; want from %v", r, err, want)
		}
		a.settled("absent")
	}
	st, bt := a.Stats(), b.Stats()
	if st.HitsL1 != 2 || st.Misses != 2 || st.Negatives != 2 || st.Loads != 2 || bt.HitsL2 != 2 || bt.HitsL1 != 1 {
		t.Errorf("a: %+v\nb: %+v", st, bt)
	}
}

// P4 in one process. Caught: reads that never join.
func TestOneLoadForManyCallers(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := gate.New(t)
		defer g.Open()
		p.beforeRead = g.Pass
		const callers = 100
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() { n.read("k", aside.Default) })
		}
		gate.Await(t, "the load", g.Arrived)
		gate.Eventually(t, "all have joined", func() bool { return aside.Followers(n.Cache, "k") == callers-1 })
		g.Open()
		wg.Wait()
		if st := n.Stats(); st.Loads != 1 || st.Coalesced != callers-1 || p.reads.Load() != 1 {
			t.Errorf("%d loads, %d coalesced", st.Loads, st.Coalesced)
		}
	})
}

// The instant between a miss in L1 and joining a flight: the flight before may
// have inserted its value and ended in it. Caught: leading a new flight without
// looking into L1 again loads about one key in a few thousand twice.
func TestOneLoadWhenAFlightEndsInBetween(t *testing.T) {
	p := newPrimary()
	n := newNode(t, p, nil, func(o *options) { o.L1Size = 100_000 })
	const keys = 20_000
	for i := range keys {
		k := fmt.Sprint("k", i)
		p.put(k)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { n.read(k, aside.Default) })
		}
		wg.Wait()
	}
	if got := p.reads.Load(); got != keys {
		t.Errorf("%d loads of %d keys", got, keys)
	}
}

// P4 over four nodes: three wait for the lease of the first, and read what it
// filled. Caught: taking a key leased by another for an absent one.
func TestOneLoadForManyNodes(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	g := gate.New(t)
	defer g.Open()
	p.beforeRead = g.Pass
	nodes := []*node{newNode(t, p, s), newNode(t, p, s), newNode(t, p, s), newNode(t, p, s)}
	var wg sync.WaitGroup
	for _, n := range nodes {
		for range 25 {
			wg.Go(func() { n.read("k", aside.Default) })
		}
	}
	gate.Await(t, "the load", g.Arrived)
	gate.Eventually(t, "three nodes wait", func() bool {
		waiting := 0
		for _, n := range nodes {
			waiting += aside.Waiters(n.Cache)
		}
		return waiting == 3
	})
	g.Open()
	wg.Wait()
	if n := p.reads.Load(); n != 1 {
		t.Errorf("%d loads over four nodes", n)
	}
}

// Readers under a write share loads too: nothing is stored, but whoever came
// before a load began may have its result. Caught: followers that each load
// for themselves make 50 loads of this.
func TestLoadsUnderAFenceAreShared(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	writing, g := gate.New(t), gate.New(t)
	defer writing.Open()
	defer g.Open()
	done := gate.Async(func() error {
		return a.Write(context.Background(), func(context.Context, *aside.Writing[string, rec]) error { writing.Pass("k"); p.put("k"); return nil }, "k")
	})
	gate.Await(t, "the write", writing.Arrived)
	var wg sync.WaitGroup
	const callers = 50
	var loads atomic.Int64
	p.beforeRead = func(k string) {
		switch loads.Add(1) {
		case 1:
			g.Pass(k)
		case 2:
			gate.Eventually(t, "all others have joined", func() bool { return aside.Followers(b.Cache, "k") == callers-2 })
		}
	}
	wg.Go(func() { b.read("k", aside.Default) })
	gate.Await(t, "the first load", g.Arrived)
	for range callers - 1 {
		wg.Go(func() { b.read("k", aside.Default) })
	}
	gate.Eventually(t, "all have joined", func() bool { return aside.Followers(b.Cache, "k") == callers-1 })
	g.Open()
	wg.Wait()
	if n := p.reads.Load(); n != 2 {
		t.Errorf("%d loads, want 2: one that the followers came too late for, one for all of them", n)
	}
	writing.Open()
	if err := gate.Await(t, "the write", done); err != nil {
		t.Fatal(err)
	}
}

func TestWaitersLeaveOnTheirOwnContext(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	g := gate.New(t)
	defer g.Open()
	p.beforeRead = g.Pass
	leader := gate.Async(func() int { v, _ := a.read("k", aside.Default); return v })
	gate.Await(t, "a's load", g.Arrived)
	for name, n := range map[string]*node{"same node": a, "other node": b} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Millisecond, errors.New("impatient"))
		if _, err := n.Get(ctx, "k", p); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := a.conn.Calls("Acquire")
	if _, err := a.Get(ctx, "other", p); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended before: %v", err)
	}
	if a.conn.Calls("Acquire") != before {
		t.Error("a read on an ended context went to L2")
	}
	g.Open()
	if v := gate.Await(t, "the leader", leader); v != 1 {
		t.Errorf("leader got %d", v)
	}
}

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
		g := gate.New(t)
		defer g.Open()
		p.beforeRead = g.Pass
		var wg sync.WaitGroup
		for _, k := range []string{"a", "b"} {
			wg.Go(func() { n.read(k, aside.Default) })
			gate.Await(t, "load of "+k, g.Arrived)
		}
		for i, k := range []string{"c", "d"} {
			wg.Go(func() { n.read(k, aside.Default) })
			gate.Eventually(t, k+" queues", func() bool { return n.Stats().LoadsQueued == i+1 })
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

func TestTTLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		change := func(o *options) {
			o.TTL, o.L1TTL, o.NegativeTTL = time.Minute, 10*time.Second, 5*time.Second
		}
		a, b := newNode(t, p, s, change), newNode(t, p, s, change)
		a.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		p.put("k") // behind the cache's back
		time.Sleep(9 * time.Second)
		a.want("k", 1, aside.SourceL1)
		time.Sleep(2 * time.Second) // 11s: gone from L1
		a.want("k", 1, aside.SourceL2)
		time.Sleep(45 * time.Second) // 56s
		b.want("k", 1, aside.SourceL2)
		time.Sleep(3 * time.Second) // 59s: b's L1 entry ends with the L2 entry, not 10s after it began
		b.want("k", 1, aside.SourceL1)
		time.Sleep(2 * time.Second) // 61s
		b.want("k", 2, aside.SourceLoad)

		_, _ = a.Get(t.Context(), "n", p)
		synctest.Wait()
		p.put("n")
		time.Sleep(4 * time.Second)
		if _, err := a.Get(t.Context(), "n", p); !errors.Is(err, aside.ErrNotFound) {
			t.Errorf("negative entry gone early: %v", err)
		}
		time.Sleep(2 * time.Second)
		a.want("n", 1, aside.SourceLoad)
		_, _ = a.Close(t.Context()), b.Close(t.Context())
	})
}

func TestNegativeEntriesCanBeOff(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary()
		n := newNode(t, p, s, func(o *options) { o.NegativeTTL = -1 })
		for i := range 2 {
			if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
				t.Error(err)
			}
			n.settled("k")
			if got := p.reads.Load(); got != int64(i+1) {
				t.Errorf("%d loads after %d reads", got, i+1)
			}
		}
	})
}

// Jitter spreads the ends of entries that were filled together, never past TTL.
func TestJitterShortensTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary()
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.Jitter = 100*time.Second, 0.5 })
		const keys = 200
		name := func(i int) string { return strings.Repeat("k", i+1) }
		for i := range keys {
			p.put(name(i))
			n.read(name(i), aside.Default)
		}
		synctest.Wait()
		alive := func() (a int) {
			before := p.reads.Load()
			for i := range keys {
				n.read(name(i), aside.Default)
			}
			return keys - int(p.reads.Load()-before)
		}
		time.Sleep(49 * time.Second)
		if a := alive(); a != keys {
			t.Errorf("%d of %d left before TTL*(1-Jitter)", a, keys)
		}
		time.Sleep(26 * time.Second)
		if a := alive(); a < keys/4 || a > keys*3/4 {
			t.Errorf("%d of %d left halfway through the spread", a, keys)
		}
		_ = n.Close(t.Context())
	})
}

// While loads fail, a value past its TTL is served and marked, but not to
// strong reads; once they succeed, it is replaced.
func TestStaleIfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.StaleFor = 10*time.Second, time.Second, time.Minute })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(20 * time.Second)
		down := errors.New("primary down")
		p.fail(down)
		for range 2 { // the value is put back each time
			r, err := n.Read(t.Context(), "k", p, aside.Default)
			if err != nil || r.Value.Version != 1 || !r.Stale || r.Source != aside.SourceL2 {
				t.Errorf("%+v, %v; want the stale value", r, err)
			}
			synctest.Wait()
		}
		if _, err := n.Read(t.Context(), "k", p, aside.Strong); !errors.Is(err, down) {
			t.Errorf("strong read: %v", err)
		}
		synctest.Wait()
		p.fail(nil)
		p.put("k")
		n.want("k", 2, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(75 * time.Second)
		p.fail(down)
		if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, down) {
			t.Errorf("past TTL + StaleFor: %v", err)
		}
		if st := n.Stats(); st.Stale != 2 {
			t.Errorf("%d stale answers counted, want 2", st.Stale)
		}
		_ = n.Close(t.Context())
	})
}

func TestCostBoundsL1(t *testing.T) {
	p := newPrimary()
	n := newNode(t, p, nil, func(o *options) {
		o.L1MaxCost, o.L1Cost = 1000, func(string, rec) uint32 { return 100 }
	})
	for i := range 100 {
		k := strings.Repeat("k", i+1)
		p.put(k)
		n.read(k, aside.Default)
	}
	gate.Eventually(t, "evictions", func() bool {
		st := n.Stats()
		return st.L1Cost <= 1000 && st.L1Entries <= 10 && st.L1Evictions >= 90
	})
}

// An absence costs what L1Cost says of its key, or 1 where that cannot do with the
// zero value. Caught: absences of cost 1 whatever their key, of which anybody can ask
// for as many as there are units.
func TestAbsencesCost(t *testing.T) {
	for name, tt := range map[string]struct {
		cost func(string, rec) uint32
		want uint64
	}{
		"by its key": {func(k string, _ rec) uint32 { return uint32(len(k)) }, 300},
		"a panic":    {func(string, rec) uint32 { panic("no value") }, 3},
	} {
		n := newNode(t, newPrimary(), nil, func(o *options) { o.L1MaxCost, o.L1Cost = 1000, tt.cost })
		for _, k := range []string{"a", "b", "c"} {
			if _, err := n.Get(t.Context(), strings.Repeat(k, 100), n.p); !errors.Is(err, aside.ErrNotFound) {
				t.Fatal(err)
			}
		}
		gate.Eventually(t, name, func() bool { return n.Stats().L1Cost == tt.want })
		if s := n.Stats(); s.Panics != 0 || s.L1Entries != 3 {
			t.Errorf("%s: %d panics, %d entries", name, s.Panics, s.L1Entries)
		}
	}
}

// Without L1 every read goes to L2, still once per flight.
func TestWithoutL1(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s, func(o *options) { o.L1Size = -1 })
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	n.want("k", 1, aside.SourceL2)
	n.want("k", 1, aside.SourceL2)
	n.update("k")
	n.want("k", 2, aside.SourceL2)
}

// An entry that this release cannot read counts as a miss and is replaced.
// Caught: an undecodable entry answered as an error, for ever.
func TestUndecodableEntryIsReplaced(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	good := s.Entry(testPrefix + "k")
	for name, entry := range map[string][]byte{
		"other format": append([]byte{'V', 99}, good[2:]...),
		"other codec":  append([]byte{'V', 1, 0, 200}, good[4:]...),
		"not JSON":     append(good[:len(good)-1:len(good)-1], '!'),
		"cut off":      good[:10],
		"foreign":      []byte(`{"id":"1"}`),
	} {
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		m := newNode(t, p, s)
		m.want("k", 1, aside.SourceL2)
		if t.Failed() {
			t.Fatalf("after an entry with %s", name)
		}
	}
	if st := n.Stats(); st.Undecodable != 4 { // a foreign kind is replaced by L2 itself
		t.Errorf("%d undecodable entries counted, want 4", st.Undecodable)
	}
}

// Two caches of different names know nothing of each other.
func TestNamesAreApart(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	for _, name := range []string{"one", "two"} {
		n := newNode(t, p, s, func(o *options) { o.Name = name })
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
	}
}

// Two releases side by side whose values differ in shape do not read each
// other's values, and see each other's writes at once, at all levels.
// Caught: the version as a part of the keys, under which a strong read of the one
// release is stale after a write of the other, until the TTL.
func TestSchemaVersionsSideBySide(t *testing.T) {
	for _, policy := range []aside.Policy{aside.FailOpen, aside.FailClosed} {
		s := &asidetest.Server{}
		p := newPrimary("k")
		before := newNode(t, p, s, func(o *options) { o.SchemaVersion, o.OnL2Down = 1, policy })
		after := newNode(t, p, s, func(o *options) { o.SchemaVersion, o.OnL2Down = 2, policy })
		before.want("k", 1, aside.SourceLoad)
		before.settled("k")
		after.want("k", 1, aside.SourceLoad) // not the other's bytes
		after.settled("k")
		for version, n := range []*node{before, after, before, after} {
			n.update("k") // to version+2, and back and forth between the releases
			for _, m := range []*node{before, after} {
				m.wantStrong("k", version+2)
				if v, _ := m.read("k", aside.Default); v != version+2 {
					t.Errorf("a default read: version %d, want %d", v, version+2)
				}
				m.settled("k")
			}
		}
	}
}

// Caches of one name whose values have different types answer each other with
// nothing. Caught: an entry decoded into fields that it does not have.
func TestAnotherTypeIsAMiss(t *testing.T) {
	type product struct{ SKU string }
	s := &asidetest.Server{}
	n := newNode(t, newPrimary("k"), s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	_, _ = n.Read(t.Context(), "absent", n.p, aside.Default)
	c, err := aside.New(aside.Options[string, product]{Name: "test", L2: s.NewClient(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, k := range []string{"k", "absent"} {
		r, err := c.Read(t.Context(), k, aside.LoaderFunc[string, product](func(context.Context, string) (product, error) { return product{"x"}, nil }), aside.Default)
		if err != nil || r.Value.SKU != "x" || r.Source != aside.SourceLoad {
			t.Errorf("%s: %+v, %v", k, r, err)
		}
	}
}

// A ParseKey that is not Key's inverse would leave entries in L1 that no
// invalidation finds. Caught: inserting without the check keeps version 1.
func TestKeyFunctionsThatDoNotFit(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("K")
	bad := func(o *options) {
		o.Key = strings.ToLower
		o.ParseKey = func(s string) (string, error) { return s, nil }
	}
	a, b := newNode(t, p, s, bad), newNode(t, p, s, bad)
	for range 2 {
		a.read("K", aside.Default)
		a.settled("K")
	}
	b.update("K")
	if v, _ := a.read("K", aside.Default); v != 2 {
		t.Errorf("version %d after another node's write", v)
	}
}

func TestCompositeKeys(t *testing.T) {
	type key struct{ tenant, id string }
	s := &asidetest.Server{}
	mk := func() *aside.Cache[key, string] {
		c, err := aside.New(aside.Options[key, string]{
			Name: "composite", L2: s.NewClient(),
			Key: func(k key) string { return k.tenant + "/" + k.id },
			ParseKey: func(s string) (key, error) {
				tenant, id, ok := strings.Cut(s, "/")
				if !ok {
					return key{}, errors.New("no slash")
				}
				return key{tenant, id}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	a, b := mk(), mk()
	ld := aside.LoaderFunc[key, string](func(_ context.Context, k key) (string, error) { return k.tenant + k.id, nil })
	k := key{"acme", "1"}
	for _, c := range []*aside.Cache[key, string]{a, b} {
		if v, err := c.Get(t.Context(), k, ld); err != nil || v != "acme1" {
			t.Fatalf("%q, %v", v, err)
		}
		gate.Eventually(t, "fill", func() bool { return aside.Flights(c) == 0 })
	}
	if err := b.Write(t.Context(), func(context.Context, *aside.Writing[key, string]) error { return nil }, k); err != nil {
		t.Fatal(err)
	}
	if r, _ := a.Read(t.Context(), k, ld, aside.Default); r.Source == aside.SourceL1 {
		t.Error("a's L1 did not hear of b's write")
	}
}

func TestClosedCache(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
		_, get := n.Get(t.Context(), "k", p)
		_, many := n.GetMany(t.Context(), []string{"k"}, p)
		write := n.Write(t.Context(), func(context.Context, *aside.Writing[string, rec]) error { t.Error("ran"); return nil }, "k")
		for what, err := range map[string]error{"Get": get, "GetMany": many, "Write": write,
			"Invalidate": n.Invalidate(t.Context(), "k"), "Clear": n.Clear(t.Context())} {
			if !errors.Is(err, aside.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Close waits for loads, so that their leases are filled or given back, and
// says if it had to give up on one.
func TestCloseWaitsForLoads(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	g := gate.New(t)
	defer g.Open()
	p.beforeRead = g.Pass
	read := gate.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	gate.Await(t, "the load", g.Arrived)
	closed := gate.Async(func() error { return n.Close(context.Background()) })
	g.Open()
	if v := gate.Await(t, "the read", read); v != 1 {
		t.Errorf("version %d", v)
	}
	if err := gate.Await(t, "Close", closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'V' {
		t.Errorf("entry after Close is %q, want the filled value", e)
	}
}

func TestCloseGivesUpOnAHungLoad(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, nil, s)
	hang, started := make(chan struct{}), make(chan struct{})
	ld := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { close(started); <-hang; return rec{}, nil })
	read := gate.Async(func() error { _, err := n.Get(context.Background(), "k", ld); return err })
	gate.Await(t, "the load", started)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if err := gate.Await(t, "the read is answered though the loader hangs", read); err == nil {
		t.Error("the read succeeded")
	}
	gate.Eventually(t, "the lease is given back", func() bool { return s.Entry(testPrefix+"k") == nil })
	close(hang)
	gate.Eventually(t, "the load ends", func() bool { return n.Stats().LoadsRunning == 0 })
}
