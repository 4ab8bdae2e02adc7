package aside_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

func TestGetManyLoadsAllMissesAtOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a", "b", "c", "d")
		n := newNode(t, p, s)
		n.want("a", 1, aside.SourceLoad)
		n.settled("a")
		if s != nil {
			m := newNode(t, p, s)
			m.read("b", aside.Default)
			m.settled("b")
		} else {
			n.read("b", aside.Default)
			n.settled("b")
		}
		before := p.reads.Load()
		var asked []string
		ld := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, keys []string) (map[string]rec, error) {
			asked = slices.Clone(keys)
			return p.LoadMany(ctx, keys)
		})
		keys := []string{"a", "b", "c", "d", "absent", "c", "a"}
		m, err := n.GetMany(t.Context(), keys, ld)
		if err != nil || len(m) != 4 || m["d"].Version != 1 {
			t.Errorf("%v, %v", m, err)
		}
		if p.reads.Load() != before+1 || strings.Join(asked, " ") != "c d absent" {
			t.Errorf("%d loads, of %q", p.reads.Load()-before, asked)
		}
		testsync.Eventually(t, "fills", func() bool { return aside.Flights(n.Cache) == 0 })
		r, err := n.ReadMany(t.Context(), keys, ld, aside.Default)
		if err != nil || len(r) != 5 || r["c"].Source != aside.SourceL1 || !r["absent"].Negative || !errors.Is(r["absent"].Err, aside.ErrNotFound) {
			t.Errorf("%+v, %v", r, err)
		}
		if m, err := n.GetMany(t.Context(), nil, ld); err != nil || len(m) != 0 {
			t.Errorf("no keys: %v, %v", m, err)
		}
	})
}

// Bulk and single reads of a key share one load. Caught: a bulk read with a
// flight table of its own.
func TestGetManyJoinsSingleReads(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a", "b")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		defer g.Open()
		p.beforeRead = g.Pass
		single := testsync.Async(func() int { v, _ := n.read("a", aside.Default); return v })
		if k := testsync.Await(t, "the single load", g.Arrived); k != "a" {
			t.Fatal(k)
		}
		bulk := testsync.Async(func() map[string]rec {
			m, err := n.GetMany(context.Background(), []string{"a", "b"}, p)
			if err != nil {
				t.Error(err)
			}
			return m
		})
		if k := testsync.Await(t, "the bulk load", g.Arrived); k != "b" {
			t.Errorf("the bulk load asks for %q, want only b", k)
		}
		other := testsync.Async(func() int { v, _ := n.read("b", aside.Default); return v })
		testsync.Eventually(t, "a single read joins the bulk load", func() bool { return aside.Followers(n.Cache, "b") == 1 })
		g.Open()
		if m := testsync.Await(t, "bulk", bulk); len(m) != 2 {
			t.Errorf("%v", m)
		}
		if v := testsync.Await(t, "single", single) + testsync.Await(t, "other", other); v != 2 {
			t.Errorf("versions add up to %d", v)
		}
	})
}

// Another node holds the lease of one key: the others do not wait for it.
func TestGetManyAcrossNodes(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("a", "b", "c")
	n, m := newNode(t, p, s), newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	p.beforeRead = g.First()
	leader := testsync.Async(func() int { v, _ := n.read("b", aside.Default); return v })
	testsync.Await(t, "n's load of b", g.Arrived)
	bulk := testsync.Async(func() map[string]rec {
		r, err := m.GetMany(context.Background(), []string{"a", "b", "c"}, p)
		if err != nil {
			t.Error(err)
		}
		return r
	})
	testsync.Eventually(t, "m waits for b", func() bool { return aside.Waiters(m.Cache) == 1 })
	testsync.Eventually(t, "m has a and c", func() bool { return len(s.Entry(testPrefix+"a")) > 40 && len(s.Entry(testPrefix+"c")) > 40 })
	g.Open()
	if r := testsync.Await(t, "the bulk read", bulk); len(r) != 3 {
		t.Errorf("%v", r)
	}
	testsync.Await(t, "the leader", leader)
	if p.reads.Load() != 2 {
		t.Errorf("%d loads, want n's and m's", p.reads.Load())
	}
}

func TestGetManyStrongSeesOtherNodesWrites(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("a", "b")
	n, m := newNode(t, p, s), newNode(t, p, s)
	n.conn.Intercept(nil)
	if _, err := n.GetMany(t.Context(), []string{"a", "b"}, p); err != nil {
		t.Fatal(err)
	}
	m.update("a")
	r, err := n.ReadMany(t.Context(), []string{"a", "b"}, p, aside.Strong)
	if err != nil || r["a"].Value.Version != 2 || r["b"].Value.Version != 1 || r["b"].Source != aside.SourceL2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestGetManyFailures(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("a")
		n := newNode(t, p, s)
		n.want("a", 1, aside.SourceLoad)
		n.settled("a")
		p.fail(errDown)
		m, err := n.GetMany(t.Context(), []string{"a", "b", "c"}, p)
		var ke aside.KeyErrors[string]
		if !errors.Is(err, errDown) || !errors.As(err, &ke) || len(ke) != 2 || m["a"].Version != 1 {
			t.Errorf("%v, %v", m, err)
		}
		if !strings.Contains(err.Error(), "2 keys failed") {
			t.Errorf("error text: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if m, err = n.GetMany(ctx, []string{"a", "d"}, p); !errors.Is(err, context.Canceled) || len(m) != 1 {
			t.Errorf("cancelled: %v, %v", m, err)
		}
		panics := aside.BulkLoaderFunc[string, rec](func(context.Context, []string) (map[string]rec, error) { panic("boom") })
		if _, err = n.GetMany(t.Context(), []string{"x", "y"}, panics); !errors.Is(err, aside.ErrLoadPanicked) {
			t.Errorf("panic: %v", err)
		}
		exits := aside.BulkLoaderFunc[string, rec](func(_ context.Context, keys []string) (map[string]rec, error) { return nil, nil })
		if m, err = n.GetMany(t.Context(), []string{"x", "y"}, exits); err != nil || len(m) != 0 {
			t.Errorf("a loader that finds nothing: %v, %v", m, err)
		}
	})
}

// Many overlapping bulk reads end, whatever the order of the keys: flights are
// never waited for while others depend on one's own.
func TestOverlappingBulkReadsDoNotDeadlock(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary()
	keys := make([]string, 40)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
		p.put(keys[i])
	}
	nodes := []*node{newNode(t, p, s), newNode(t, p, s)}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			mine := slices.Clone(keys[i%8 : 20+i%20])
			if i%2 == 0 {
				slices.Reverse(mine)
			}
			m, err := nodes[i%2].GetMany(context.Background(), mine, p)
			if err != nil || len(m) != len(mine) {
				t.Errorf("%d of %d, %v", len(m), len(mine), err)
			}
		})
	}
	testsync.Await(t, "all bulk reads", testsync.Async(func() bool { wg.Wait(); return true }))
	if n := p.reads.Load(); n > 32 {
		t.Errorf("%d loads by 32 calls", n)
	}
}
