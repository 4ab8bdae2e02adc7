package aside_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// gated is a loader that waits at a gate while that is shut.
type gated struct {
	*primary
	gate atomic.Pointer[chan struct{}]
}

func newGated(keys ...string) *gated { return &gated{primary: newPrimary(keys...)} }

func (g *gated) shut() (open func()) {
	ch := make(chan struct{})
	g.gate.Store(&ch)
	return func() { g.gate.Store(nil); close(ch) }
}

func (g *gated) Load(ctx context.Context, k string) (rec, error) {
	if ch := g.gate.Load(); ch != nil {
		<-*ch
	}
	return g.primary.Load(ctx, k)
}

func (g *gated) LoadMany(ctx context.Context, ks []string) (map[string]rec, error) {
	if ch := g.gate.Load(); ch != nil {
		<-*ch
	}
	return g.primary.LoadMany(ctx, ks)
}

// got is what a read returned, in short.
type got struct {
	version int
	from    aside.Source
	stale   bool
	err     error
}

func get(n *node, l aside.Loader[string, rec], k string, m aside.Mode) got {
	n.t.Helper()
	r, err := n.Read(n.t.Context(), k, l, m)
	return got{r.Value.Version, r.Source, r.Stale, err}
}

func want(t *testing.T, what string, g, w got) {
	t.Helper()
	if g.version != w.version || w.err == nil && g.from != w.from || g.stale != w.stale || !errors.Is(g.err, w.err) {
		t.Errorf("%s: got %+v, want %+v", what, g, w)
	}
}

// Without L2, a read in the last part of an entry's life is answered at once and begins
// one load in the background, whose answer takes the entry's place.
// Caught: a read that waits for the load; a load for each read; a refresh that is not
// stored; an entry that nobody reads and is loaded.
func TestRefreshAheadWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGated("k", "idle")
		n := newNode(t, p.primary, nil, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
		defer n.Close(t.Context())
		get(n, p, "k", aside.Default)
		get(n, p, "idle", aside.Default)
		synctest.Wait()
		p.put("k")
		time.Sleep(79 * time.Second)
		want(t, "before its last part", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1})
		synctest.Wait()
		if p.reads.Load() != 2 {
			t.Errorf("%d loads, want 2", p.reads.Load())
		}
		time.Sleep(8 * time.Second)
		open := p.shut()
		for range 10 {
			want(t, "due", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1})
		}
		if v, err := n.Get(t.Context(), "k", p); v.Version != 1 || err != nil {
			t.Errorf("%+v, %v", v, err)
		}
		open()
		synctest.Wait()
		want(t, "refreshed", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
		time.Sleep(70 * time.Second)
		want(t, "later", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
		if s := n.Stats(); s.Loads != 3 || s.Refreshes != 1 || s.RefreshFailures != 0 || s.Stale != 0 {
			t.Errorf("%d loads, want 3; %d refreshes, want 1; %d failed; %d stale", s.Loads, s.Refreshes, s.RefreshFailures, s.Stale)
		}
	})
}

// What a refresh loads is not stored after a write or an invalidation that came while
// it ran. Caught: an insertion that does not look at the generation.
func TestRefreshIsNotStoredAfterAWrite(t *testing.T) {
	for name, change := range map[string]func(*node){
		"a write":         func(n *node) { n.update("k") },
		"an invalidation": func(n *node) { n.p.put("k"); _ = n.Invalidate(n.t.Context(), "k") },
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, nil, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
			defer n.Close(t.Context())
			n.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			time.Sleep(90 * time.Second)
			gate := make(chan struct{})
			p.afterRead = func(string) { <-gate }
			n.want("k", 1, aside.SourceL1)
			synctest.Wait() // the refresh has read version 1
			p.afterRead = nil
			change(n)
			close(gate)
			synctest.Wait()
			if v, _ := n.read("k", aside.Default); v != 2 {
				t.Errorf("after %s: version %d", name, v)
			}
		})
	}
}

// A refresh that finds an older version, as a replica that lags has it, is not stored.
func TestRefreshDoesNotStoreAnOlderVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		p.put("k")
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
		defer n.Close(t.Context())
		n.want("k", 2, aside.SourceLoad)
		time.Sleep(90 * time.Second)
		lags := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return rec{"k", 1}, nil })
		for range 2 {
			want(t, "due", get(n, lags, "k", aside.Default), got{version: 2, from: aside.SourceL1})
			synctest.Wait()
		}
		if s := n.Stats(); s.OlderLoads != 1 {
			t.Errorf("%d older loads", s.OlderLoads)
		}
	})
}

// Without L2, a value past its TTL answers at once for StaleWhileRevalidate, marked, while
// one load brings the new one; not to strong reads, and not after that.
// Caught: a strong read that is answered with it; a load for each read; a value that is
// given for longer since StaleFor keeps it.
func TestStaleWhileRevalidateWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGated("k")
		n := newNode(t, p.primary, nil, func(o *options) {
			o.TTL, o.StaleWhileRevalidate, o.StaleFor = 10*time.Second, 10*time.Second, time.Minute
		})
		defer n.Close(t.Context())
		get(n, p, "k", aside.Default)
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		for range 10 {
			want(t, "past its TTL", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1, stale: true})
		}
		strong := make(chan got)
		go func() { strong <- get(n, p, "k", aside.Strong) }()
		synctest.Wait()
		open()
		want(t, "strong", <-strong, got{version: 2, from: aside.SourceLoad})
		synctest.Wait()
		want(t, "revalidated", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
		if s := n.Stats(); s.Stale != 10 || s.Loads > 3 || s.Refreshes != 1 {
			t.Errorf("%d stale, want 10; %d loads, want 3 at most; %d refreshes", s.Stale, s.Loads, s.Refreshes)
		}

		p.put("k")
		time.Sleep(30 * time.Second)
		want(t, "past the window", get(n, p, "k", aside.Default), got{version: 3, from: aside.SourceLoad})
		synctest.Wait()
		down := errors.New("down")
		p.fail(down)
		time.Sleep(30 * time.Second)
		want(t, "past the window, and the load fails", get(n, p, "k", aside.Default), got{version: 3, from: aside.SourceL1, stale: true})
		want(t, "the same, strong", get(n, p, "k", aside.Strong), got{err: down})
		time.Sleep(time.Minute)
		want(t, "past StaleFor", get(n, p, "k", aside.Default), got{err: down})
	})
}

// Without L2, reads with a stale value take SoftTimeout while the primary hangs, and the
// later ones nothing; one load goes on. Strong reads wait.
// Caught: reads that take LoadTimeout; a load after each SoftTimeout.
func TestSoftTimeoutWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGated("k")
		n := newNode(t, p.primary, nil, func(o *options) {
			o.TTL, o.StaleFor, o.SoftTimeout = 10*time.Second, time.Minute, 100*time.Millisecond
		})
		defer n.Close(t.Context())
		get(n, p, "k", aside.Default)
		p.put("k")
		time.Sleep(15 * time.Second)
		open := p.shut()
		for i, took := range []time.Duration{100 * time.Millisecond, 0, 0} {
			start := time.Now()
			want(t, "the primary hangs", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1, stale: true})
			if d := time.Since(start); d != took {
				t.Errorf("read %d took %v, want %v", i, d, took)
			}
		}
		open()
		synctest.Wait()
		want(t, "loaded", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
		if s := n.Stats(); s.Loads != 2 || s.SoftTimeouts != 1 || s.Refreshes != 1 {
			t.Errorf("%d loads, want 2; %d soft timeouts, want 1; %d refreshes, want 1", s.Loads, s.SoftTimeouts, s.Refreshes)
		}

		p.put("k")
		time.Sleep(15 * time.Second)
		open = p.shut()
		strong := make(chan got)
		go func() { strong <- get(n, p, "k", aside.Strong) }()
		synctest.Wait()
		want(t, "joins a strong read", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1, stale: true})
		open()
		want(t, "strong", <-strong, got{version: 3, from: aside.SourceLoad})
	})
}

// After a failed load, a key with a stale value is not loaded for FailedFor.
// Caught: a load for each read, which a primary that is down does not need.
func TestFailedForWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k", "fresh")
		n := newNode(t, p, nil, func(o *options) {
			o.TTL, o.StaleFor, o.FailedFor = 10*time.Second, time.Minute, 5*time.Second
		})
		defer n.Close(t.Context())
		n.want("k", 1, aside.SourceLoad)
		time.Sleep(15 * time.Second)
		down := errors.New("down")
		p.fail(down)
		before := p.reads.Load()
		for range 5 {
			want(t, "down", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1, stale: true})
			time.Sleep(time.Second / 2)
		}
		if loads := p.reads.Load() - before; loads != 1 {
			t.Errorf("%d loads in %v, want 1", loads, 5*time.Second/2)
		}
		want(t, "strong", get(n, p, "k", aside.Strong), got{err: down})
		want(t, "no value", get(n, p, "other", aside.Default), got{err: down})
		p.fail(nil)
		p.put("k")
		time.Sleep(6 * time.Second)
		want(t, "later", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceLoad})
	})
}

// A refresh that hangs holds up neither Close nor others. Caught: a Close that waits
// for a loader which does not heed its context.
func TestHangingRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGated("k", "other")
		n := newNode(t, p.primary, nil, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
		get(n, p, "k", aside.Default)
		time.Sleep(90 * time.Second)
		open := p.shut()
		want(t, "due", get(n, p, "k", aside.Default), got{version: 1, from: aside.SourceL1})
		synctest.Wait()
		want(t, "another", get(n, p.primary, "other", aside.Default), got{version: 1, from: aside.SourceLoad})
		start := time.Now()
		if err := n.Close(context.Background()); err != nil || time.Since(start) > 0 {
			t.Errorf("close took %v: %v", time.Since(start), err)
		}
		open()
		synctest.Wait()
		want(t, "closed", get(n, p, "k", aside.Default), got{err: aside.ErrClosed})
	})
}

// A refresh has the values of the read that began it, and neither its end nor its
// nesting. Caught: ErrNestedLoad for a refresh whose loader reads the key of the load that
// has found the entry due.
func TestContextOfARefresh(t *testing.T) {
	type ctxKey struct{}
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("inner", "outer")
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.RefreshAhead = 100*time.Second, 0.2 })
		defer n.Close(t.Context())
		var seen atomic.Value
		var refreshed atomic.Pointer[error]
		inner := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			if v, ok := ctx.Value(ctxKey{}).(string); ok {
				seen.Store(v)
				_, err := n.Get(ctx, "outer", p)
				if err == nil {
					err = ctx.Err()
				}
				refreshed.Store(&err)
			}
			return p.Load(ctx, k)
		})
		get(n, inner, "inner", aside.Default)
		time.Sleep(90 * time.Second)
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "of the read"))
		outer := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			if _, err := n.Get(ctx, "inner", inner); err != nil {
				t.Error(err)
			}
			return p.Load(ctx, k)
		})
		if _, err := n.Get(ctx, "outer", outer); err != nil {
			t.Error(err)
		}
		cancel()
		synctest.Wait()
		if err := refreshed.Load(); seen.Load() != "of the read" || err == nil || *err != nil {
			t.Errorf("value %v, error %v", seen.Load(), err)
		}
	})
}

// Due keys of a bulk read are refreshed by one call of its loader; and a read without a
// loader refreshes with Options.Loader.
func TestRefreshOfABulkRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("a", "b", "c")
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.RefreshAhead, o.Loader = 100*time.Second, 0.2, p })
		defer n.Close(t.Context())
		keys := []string{"a", "b", "c"}
		_, _ = n.GetMany(t.Context(), keys, p)
		time.Sleep(90 * time.Second)
		_, _ = n.GetMany(t.Context(), keys, p)
		synctest.Wait()
		if s := n.Stats(); s.Loads != 2 || s.Refreshes != 3 {
			t.Errorf("%d loads, want 2; %d refreshes, want 3", s.Loads, s.Refreshes)
		}
		time.Sleep(90 * time.Second)
		_, _ = n.Get(t.Context(), "a")
		synctest.Wait()
		if s := n.Stats(); s.Loads != 3 {
			t.Errorf("%d loads, want 3", s.Loads)
		}
	})
}

// What a write has published is refreshed ahead too.
// Caught: a miss at the end of its life, for all that read it from L1.
func TestPublishedRecordIsRefreshedAhead(t *testing.T) {
	for name, s := range map[string]*asidetest.Server{"L2": {}, "L1 only": nil} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = 100*time.Second, 100*time.Second, 0.2 })
			defer n.Close(t.Context())
			n.update("k")
			p.put("k")
			time.Sleep(90 * time.Second)
			want(t, name+": due", get(n, p, "k", aside.Default), got{version: 2, from: aside.SourceL1})
			synctest.Wait()
			if g := get(n, p, "k", aside.Default); g.version != 3 || g.from == aside.SourceLoad {
				t.Errorf("%s: refreshed: %+v", name, g)
			}
			synctest.Wait()
		})
	}
}

// Once a load has told that the record is gone, or that it is not to be stored, what L1
// keeps past its TTL does not stand in for a load that fails.
// Caught: a record that comes back after it was gone.
func TestKeptValueOfWhatIsGone(t *testing.T) {
	for name, s := range map[string]*asidetest.Server{"L2": {}, "L1 only": nil} {
		synctest.Test(t, func(t *testing.T) {
			p, down := newPrimary("gone", "unstored"), errors.New("down")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleFor, o.NegativeTTL = 10*time.Second, time.Minute, -1 })
			defer n.Close(t.Context())
			get(n, p, "gone", aside.Default)
			get(n, p, "unstored", aside.Default)
			synctest.Wait()
			time.Sleep(15 * time.Second)
			p.del("gone")
			want(t, name+": gone", get(n, p, "gone", aside.Default), got{err: aside.ErrNotFound})
			unstored := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
				return aside.Loaded[rec]{Value: p.put(k), NoStore: true}, nil
			})
			want(t, name+": not stored", get(n, unstored, "unstored", aside.Default), got{version: 2, from: aside.SourceLoad})
			synctest.Wait()
			p.fail(down)
			want(t, name+": gone, and the load fails", get(n, p, "gone", aside.Default), got{err: down})
			want(t, name+": not stored, and the load fails", get(n, p, "unstored", aside.Default), got{err: down})
			synctest.Wait()
		})
	}
}

// A NoStore read leaves what is kept past its TTL.
// Caught: a pass over many records that took the stale values away.
func TestNoStoreLeavesStaleValues(t *testing.T) {
	for name, s := range map[string]*asidetest.Server{"L2": {}, "L1 only": nil} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleFor = 10*time.Second, time.Minute })
			defer n.Close(t.Context())
			get(n, p, "k", aside.Default)
			synctest.Wait()
			time.Sleep(15 * time.Second)
			want(t, name+": NoStore", get(n, p, "k", aside.NoStore), got{version: 1, from: aside.SourceLoad})
			synctest.Wait()
			p.fail(errors.New("down"))
			if g := get(n, p, "k", aside.Default); g.version != 1 || !g.stale || g.err != nil {
				t.Errorf("%s: %+v", name, g)
			}
			synctest.Wait()
		})
	}
}
