package aside_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

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

// Without L2 a record lives for as long as its loader says, also for longer than TTL.
// Caught: an L1TTL that is TTL by default.
func TestLoadedTTLWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, nil, func(o *options) { o.TTL = time.Minute })
		defer closeAll(n)
		loader := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
			r, err := p.Load(ctx, k)
			return aside.Loaded[rec]{Value: r, TTL: time.Hour}, err
		})
		want(t, "first", get(n, loader, "k", aside.Default), got{version: 1, from: aside.SourceLoad})
		time.Sleep(59 * time.Minute)
		want(t, "before its end", get(n, loader, "k", aside.Default), got{version: 1, from: aside.SourceL1})
		time.Sleep(2 * time.Minute)
		want(t, "after it", get(n, loader, "k", aside.Default), got{version: 1, from: aside.SourceLoad})
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
	testsync.Eventually(t, "evictions", func() bool {
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
		testsync.Eventually(t, name, func() bool { return n.Stats().L1Cost == tt.want })
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
