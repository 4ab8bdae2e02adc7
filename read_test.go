package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
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
		g := testsync.NewGate(t)
		defer g.Open()
		p.beforeRead = g.Pass
		const callers = 100
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() { n.read("k", aside.Default) })
		}
		testsync.Await(t, "the load", g.Arrived)
		testsync.Eventually(t, "all have joined", func() bool { return aside.Followers(n.Cache, "k") == callers-1 })
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
	g := testsync.NewGate(t)
	defer g.Open()
	p.beforeRead = g.Pass
	nodes := []*node{newNode(t, p, s), newNode(t, p, s), newNode(t, p, s), newNode(t, p, s)}
	var wg sync.WaitGroup
	for _, n := range nodes {
		for range 25 {
			wg.Go(func() { n.read("k", aside.Default) })
		}
	}
	testsync.Await(t, "the load", g.Arrived)
	testsync.Eventually(t, "three nodes wait", func() bool {
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
	writing, g := testsync.NewGate(t), testsync.NewGate(t)
	defer writing.Open()
	defer g.Open()
	done := testsync.Async(func() error {
		return a.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { writing.Pass("k"); p.put("k"); return nil })
	})
	testsync.Await(t, "the write", writing.Arrived)
	var wg sync.WaitGroup
	const callers = 50
	var loads atomic.Int64
	p.beforeRead = func(k string) {
		switch loads.Add(1) {
		case 1:
			g.Pass(k)
		case 2:
			testsync.Eventually(t, "all others have joined", func() bool { return aside.Followers(b.Cache, "k") == callers-2 })
		}
	}
	wg.Go(func() { b.read("k", aside.Default) })
	testsync.Await(t, "the first load", g.Arrived)
	for range callers - 1 {
		wg.Go(func() { b.read("k", aside.Default) })
	}
	testsync.Eventually(t, "all have joined", func() bool { return aside.Followers(b.Cache, "k") == callers-1 })
	g.Open()
	wg.Wait()
	if n := p.reads.Load(); n != 2 {
		t.Errorf("%d loads, want 2: one that the followers came too late for, one for all of them", n)
	}
	writing.Open()
	if err := testsync.Await(t, "the write", done); err != nil {
		t.Fatal(err)
	}
}

func TestWaitEndsWithTheCallersContext(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	p.beforeRead = g.Pass
	leader := testsync.Async(func() int { v, _ := a.read("k", aside.Default); return v })
	testsync.Await(t, "a's load", g.Arrived)
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
	if v := testsync.Await(t, "the leader", leader); v != 1 {
		t.Errorf("leader got %d", v)
	}
}

// A key that is not equal to itself is refused by all calls, and leaves nothing.
// Caught: a flight for each read.
func TestBoundsKeysNotEqualToThemselves(t *testing.T) {
	c, err := aside.New(aside.Options[any, int]{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	nan := any(math.NaN())
	one := aside.LoaderFunc[any, int](func(context.Context, any) (int, error) { return 1, nil })
	many := aside.BulkLoaderFunc[any, int](func(context.Context, []any) (map[any]int, error) { return nil, nil })
	_, get := c.Get(t.Context(), nan, one)
	_, getMany := c.GetMany(t.Context(), []any{1.0, nan}, many)
	write := c.Write(t.Context(), nan, func(context.Context, *aside.WriteTx[any, int]) error { t.Error("written"); return nil })
	for name, err := range map[string]error{"Get": get, "GetMany": getMany, "Write": write, "Invalidate": c.Invalidate(t.Context(), nan)} {
		if !errors.Is(err, aside.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := aside.Flights(c); n != 0 {
		t.Errorf("%d flights", n)
	}
}
