package aside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// gatedNodes are two nodes of one cache, with a loader whose gate can be shut.
func gatedNodes(t *testing.T, change func(*options)) (p *gated, a, b *node, s *asidetest.Server) {
	s = &asidetest.Server{}
	p = newGated("k")
	a, b = newNode(t, p.primary, s, change), newNode(t, p.primary, s, change)
	return p, a, b, s
}

func closeAll(nodes ...*node) {
	for _, n := range nodes {
		_ = n.Close(context.Background())
	}
}

// An entry in the last part of its life is refreshed by one load over all nodes, however
// many read it meanwhile; they are answered at once, by what the lease carries.
// Caught: a load on each node; a read that waits for the lease; a refreshed value that
// does not get into L1; a carried entry that L1 keeps past its TTL.
func TestRefreshAheadOverAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = 100*time.Second, 10*time.Second, 0.2 })
		defer closeAll(a, b)
		want(t, "first", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceLoad})
		synctest.Wait()
		p.put("k")
		time.Sleep(70 * time.Second)
		for _, n := range []*node{a, b} {
			want(t, "before its last part", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
		}
		time.Sleep(15 * time.Second)
		open := p.shut()
		for i := range 5 {
			for _, n := range []*node{a, b} {
				for _, m := range []aside.Mode{aside.Default, aside.Strong} {
					if g := get(n, p, "k", m); g.version != 1 || g.stale || g.err != nil || g.from == aside.SourceLoad {
						t.Errorf("round %d, mode %d: %+v", i, m, g)
					}
					synctest.Wait()
				}
			}
		}
		open()
		synctest.Wait()
		for _, n := range []*node{a, b} {
			if g := get(n, p, "k", aside.Default); g.version != 2 || g.from == aside.SourceLoad {
				t.Errorf("refreshed: %+v", g)
			}
			synctest.Wait()
			want(t, "again", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
		}
		if n := p.reads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		if s, u := a.Stats(), b.Stats(); s.Refreshes+u.Refreshes != 1 || s.Stale+u.Stale != 0 {
			t.Errorf("%d and %d refreshes, want 1; %d and %d stale", s.Refreshes, u.Refreshes, s.Stale, u.Stale)
		}
	})
}

// A hit in L1 that is due takes the entry from L2 anew, without a load.
func TestL1IsRefreshedFromL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = time.Hour, 10*time.Second, 0.2 })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		get(b, p, "k", aside.Default)
		for range 10 {
			time.Sleep(9500 * time.Millisecond)
			want(t, "due", get(b, p, "k", aside.Default), got{version: 1, from: aside.SourceL1})
			synctest.Wait()
		}
		if n := p.reads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
	})
}

// A write, an invalidation and a change that a feed has told of end the lease of a refresh: what it
// loads is stored nowhere.
func TestRefreshDoesNotSurviveAWriteOfAnotherNode(t *testing.T) {
	for name, change := range map[string]func(*node){
		"a write":         func(n *node) { n.update("k") },
		"an invalidation": func(n *node) { n.p.put("k"); _ = n.Invalidate(n.t.Context(), "k") },
		"a clear":         func(n *node) { n.p.put("k"); _ = n.Clear(n.t.Context()) },
	} {
		synctest.Test(t, func(t *testing.T) {
			p, a, b, _ := gatedNodes(t, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = 100*time.Second, 10*time.Second, 0.2 })
			defer closeAll(a, b)
			get(a, p, "k", aside.Default)
			synctest.Wait()
			time.Sleep(90 * time.Second)
			gate := make(chan struct{})
			p.afterRead = func(string) { <-gate }
			want(t, "due", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
			synctest.Wait() // the refresh has read version 1
			p.afterRead = nil
			change(b)
			for _, n := range []*node{a, b} {
				synctest.Wait()
				if g := get(n, p, "k", aside.Default); g.version != 2 {
					t.Errorf("%s, while the refresh runs: %+v", name, g)
				}
			}
			close(gate)
			synctest.Wait()
			for _, n := range []*node{a, b} {
				for _, m := range []aside.Mode{aside.Default, aside.Strong} {
					if g := get(n, p, "k", m); g.version != 2 {
						t.Errorf("%s, mode %d: %+v", name, m, g)
					}
				}
			}
		})
	}
}

// A refresh that fails leaves the entry as it is, and is not tried again for a while;
// one that finds the record gone stores that.
// Caught: an entry that is lost with the lease; a load for each read while the primary is
// down; a record that was deleted and comes back with the lease.
func TestRefreshAheadThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) {
			o.TTL, o.L1Size, o.RefreshAhead, o.NegativeTTL = 100*time.Second, -1, 0.2, -1
		})
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(90 * time.Second)
		p.fail(errors.New("down"))
		for range 10 {
			want(t, "down", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
			synctest.Wait()
		}
		if s := a.Stats(); s.RefreshFailures != 1 || s.LoadFailures != 1 {
			t.Errorf("%d refreshes failed, %d loads; want 1", s.RefreshFailures, s.LoadFailures)
		}
		p.fail(nil)
		p.del("k")
		time.Sleep(2 * time.Second)
		want(t, "deleted", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
		synctest.Wait()
		for _, n := range []*node{a, b} {
			want(t, "refreshed", get(n, p, "k", aside.Default), got{err: aside.ErrNotFound})
		}
	})
}

// Past its TTL a value in L2 answers at once for StaleWhileRevalidate, on all nodes, while one
// node loads. Strong reads wait for that load. L1 does not keep the value.
// Caught: the node that loads has its readers wait; another node waits for the lease; a
// strong reader that has joined is answered with the stale value, or for ever reads again.
func TestStaleWhileRevalidateOverAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) {
			o.TTL, o.L1TTL, o.StaleWhileRevalidate = 10*time.Second, time.Second, 10*time.Second
		})
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		strong := make(chan got, 2)
		for i := range 3 {
			for _, n := range []*node{a, b} {
				want(t, "past its TTL", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
				if i == 1 {
					go func() { strong <- get(n, p, "k", aside.Strong) }()
					synctest.Wait()
				}
			}
		}
		if n := a.Stats().L1Entries + b.Stats().L1Entries; n != 0 {
			t.Errorf("%d entries in L1", n)
		}
		many, err := b.ReadMany(t.Context(), []string{"k"}, p, aside.Default)
		if r := many["k"]; err != nil || r.Value.Version != 1 || !r.Stale {
			t.Errorf("many: %+v, %v", r, err)
		}
		time.Sleep(time.Second)
		open()
		for range 2 {
			if g := <-strong; g.version != 2 || g.stale || g.err != nil {
				t.Errorf("strong: %+v", g)
			}
		}
		synctest.Wait()
		for _, n := range []*node{a, b} {
			if g := get(n, p, "k", aside.Default); g.version != 2 || g.stale || g.from == aside.SourceLoad {
				t.Errorf("revalidated: %+v", g)
			}
		}
		if n := p.reads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		if s := a.Stats(); s.Stale != 3 || s.Refreshes != 1 {
			t.Errorf("%d stale, want 3; %d refreshes, want 1", s.Stale, s.Refreshes)
		}
	})
}

// A strong read that leads, and a default one that joins it: the second is answered with the
// stale value, the first with the load. Caught: the leader takes what was meant for the others.
func TestStrongReadLeadsWhileRevalidating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) { o.TTL, o.StaleWhileRevalidate = 10*time.Second, 10*time.Second })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		for _, n := range []*node{a, b} {
			strong, other := make(chan got, 1), make(chan got, 1)
			go func() { strong <- get(n, p, "k", aside.Strong) }()
			synctest.Wait()
			go func() { other <- get(n, p, "k", aside.Default) }()
			want(t, "default", <-other, got{version: 1, from: aside.SourceL2, stale: true})
			synctest.Wait()
			if len(strong) > 0 {
				t.Errorf("strong: %+v", <-strong)
			}
			if n == b {
				open()
			}
			defer func() {
				if g := <-strong; g.version != 2 || g.stale {
					t.Errorf("strong: %+v", g)
				}
			}()
		}
	})
}

// A value that a lease carries goes with the lease: after a write no node is answered with
// it. And a strong read is not answered with one past its TTL.
func TestStaleValueDoesNotSurviveAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) { o.TTL, o.StaleWhileRevalidate = 10*time.Second, time.Minute })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(15 * time.Second)
		gate := make(chan struct{})
		p.afterRead = func(string) { <-gate }
		want(t, "stale", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
		synctest.Wait()
		p.afterRead = nil
		b.update("k")
		for _, n := range []*node{a, b} {
			for _, m := range []aside.Mode{aside.Default, aside.Strong} {
				if g := get(n, p, "k", m); g.version != 2 || g.stale {
					t.Errorf("after the write: %+v", g)
				}
			}
		}
		close(gate)
		synctest.Wait()
		for _, n := range []*node{a, b} {
			if g := get(n, p, "k", aside.Default); g.version != 2 || g.stale {
				t.Errorf("after the load: %+v", g)
			}
		}
	})
}

// While the primary hangs, reads with a stale value take SoftTimeout, on all nodes, and
// the later ones on a node nothing; one load goes on and is stored.
// Caught: LoadTimeout on the node that loads, LeaseWait on the others.
func TestSoftTimeoutOverAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) {
			o.TTL, o.L1TTL, o.StaleFor, o.SoftTimeout = 10*time.Second, time.Second, time.Minute, 100*time.Millisecond
		})
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		for _, n := range []*node{a, b} {
			for i, took := range []time.Duration{100 * time.Millisecond, 0} {
				start := time.Now()
				want(t, "hangs", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
				if d := time.Since(start); d != took {
					t.Errorf("read %d took %v, want %v", i, d, took)
				}
			}
		}
		start := time.Now()
		if r, err := b.ReadMany(t.Context(), []string{"k"}, p, aside.Default); err != nil || !r["k"].Stale || time.Since(start) > 0 {
			t.Errorf("many: %+v, %v after %v", r, err, time.Since(start))
		}
		open()
		synctest.Wait()
		for _, n := range []*node{a, b} {
			if g := get(n, p, "k", aside.Default); g.version != 2 || g.stale || g.from == aside.SourceLoad {
				t.Errorf("loaded: %+v", g)
			}
		}
		if n := p.reads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
	})
}

// A primary that hangs for ever: the load ends at LoadTimeout, the stale value stays, and
// with FailedFor it answers at once after that.
func TestSoftTimeoutWhileThePrimaryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) {
			o.TTL, o.StaleFor, o.SoftTimeout = 10*time.Second, time.Hour, 100*time.Millisecond
			o.FailedFor, o.LoadTimeout = time.Minute, time.Second
		})
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(15 * time.Second)
		defer p.shut()()
		for i := range 50 {
			start := time.Now()
			want(t, "hangs", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
			if d := time.Since(start); d > 100*time.Millisecond || i > 0 && d > 0 {
				t.Errorf("read %d took %v", i, d)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if s := a.Stats(); s.Loads != 2 || s.Refreshes != 1 || s.RefreshFailures != 1 {
			t.Errorf("%d loads, want 2; %d refreshes, %d failed; want 1", s.Loads, s.Refreshes, s.RefreshFailures)
		}
		// Another node has not seen the failure, and tries.
		want(t, "another node", get(b, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
	})
}

// After a failed load the stale value answers for FailedFor, and the lease is given back.
func TestFailedForOverL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, s := gatedNodes(t, func(o *options) { o.TTL, o.StaleFor, o.FailedFor = 10*time.Second, time.Hour, 10*time.Second })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(15 * time.Second)
		p.fail(errors.New("down"))
		for range 5 {
			want(t, "down", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
			synctest.Wait()
			if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'V' {
				t.Errorf("in L2: %.20q", e)
			}
		}
		if n := a.Stats().Loads; n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		p.fail(nil)
		p.put("k")
		want(t, "strong", get(a, p, "k", aside.Strong), got{version: 2, from: aside.SourceLoad})
		synctest.Wait()
		if g := get(b, p, "k", aside.Default); g.version != 2 || g.stale {
			t.Errorf("another node: %+v", g)
		}
	})
}

// What a lease carries and this node cannot decode is no answer: the read waits, and
// loads at LeaseWait. Caught: a circle of lookups.
func TestCarriedEntryOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newGated("k")
		ahead := func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 }
		a := newNode(t, p.primary, s, ahead)
		b := newNode(t, p.primary, s, ahead, func(o *options) { o.SchemaVersion = 7 })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(90 * time.Second)
		open := p.shut()
		want(t, "due", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
		synctest.Wait()
		start := time.Now()
		want(t, "another schema", get(b, p.primary, "k", aside.Default), got{version: 1, from: aside.SourceLoad})
		if d := time.Since(start); d != 2500*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if n := b.conn.Calls("Acquire"); n > 200 {
			t.Errorf("%d lookups", n)
		}
		open()
	})
}

// A refresh whose answer from L2 is lost may have been granted: nothing that L1 has by
// then stays, and the lease is given back.
func TestRefreshWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, s := gatedNodes(t, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
		defer closeAll(a, b)
		get(a, p, "k", aside.Default)
		synctest.Wait()
		time.Sleep(90 * time.Second)
		a.conn.Answer(func(op, key string) error {
			if e := s.Entry(testPrefix + "k"); op == "Acquire" && len(e) > 0 && e[0] == 'L' {
				return errors.New("the answer was lost")
			}
			return nil
		})
		want(t, "due", get(a, p, "k", aside.Default), got{version: 1, from: aside.SourceL2})
		synctest.Wait()
		a.conn.Answer(nil)
		time.Sleep(time.Second)
		if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'V' || a.Stats().L1Entries != 0 {
			t.Errorf("in L2: %.20q; %d in L1", e, a.Stats().L1Entries)
		}
		b.update("k")
		a.want("k", 2, aside.SourceL2)
	})
}

// Two keys that another node loads: one is filled before SoftTimeout is over, and the other
// is answered at that moment. Caught: the first is looked up again then, and ended twice.
func TestSoftTimeoutOfSomeKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b, _ := gatedNodes(t, func(o *options) {
			o.TTL, o.StaleFor, o.SoftTimeout = 10*time.Second, time.Minute, 100*time.Millisecond
		})
		defer closeAll(a, b)
		p.put("l")
		keys := []string{"k", "l"}
		_, _ = a.GetMany(t.Context(), keys, p)
		synctest.Wait()
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		quick := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			time.Sleep(99500 * time.Microsecond) // so that both come together
			return p.primary.Load(ctx, k)
		})
		for k, l := range map[string]aside.Loader[string, rec]{"k": quick, "l": p} {
			go func() { _, _ = a.Get(context.Background(), k, l) }()
		}
		synctest.Wait()
		strong := make(chan got, 1)
		go func() {
			time.Sleep(time.Millisecond)
			strong <- get(b, p, "l", aside.Strong) // joins, and waits on
		}()
		start := time.Now()
		r, err := b.ReadMany(t.Context(), keys, p, aside.Default)
		if k, l := r["k"], r["l"]; err != nil || k.Value.Version != 2 || k.Stale || !l.Stale || time.Since(start) > 101*time.Millisecond {
			t.Errorf("%+v, %v after %v", r, err, time.Since(start))
		}
		open()
		if g := <-strong; g.version != 1 || g.stale || g.err != nil {
			t.Errorf("strong: %+v", g)
		}
		synctest.Wait()
	})
}

// A stale value answers at once, also where loads wait for others to be put together with.
// Caught: a read that takes Bulk.Wait.
func TestStaleValueDoesNotWaitForABulkLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, &asidetest.Server{}, func(o *options) {
			o.TTL, o.StaleWhileRevalidate = 10*time.Second, time.Minute
			o.BulkLoader, o.Bulk.Wait = p, 200*time.Millisecond
		})
		defer n.Close(t.Context())
		get(n, nil, "k", aside.Default)
		synctest.Wait()
		time.Sleep(15 * time.Second)
		p.put("k")
		start := time.Now()
		want(t, "stale", get(n, nil, "k", aside.Default), got{version: 1, from: aside.SourceL2, stale: true})
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		time.Sleep(time.Second)
		if g := get(n, nil, "k", aside.Default); g.version != 2 || g.from == aside.SourceLoad {
			t.Errorf("loaded: %+v", g)
		}
		synctest.Wait()
	})
}
