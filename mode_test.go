package aside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// eachTier runs a test in a cache with L2 and in one without.
func eachTier(t *testing.T, f func(t *testing.T, s *asidetest.Server)) {
	t.Run("L1", func(t *testing.T) { f(t, nil) })
	t.Run("L1+L2", func(t *testing.T) { f(t, &asidetest.Server{}) })
}

// Refresh loads whatever the tiers have, and what it loads takes the place of that, on all
// nodes.
// Caught: an L2 that kept the old value; an L1 that did.
func TestRefresh(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		nodes := []*node{n}
		if s != nil {
			nodes = append(nodes, newNode(t, p, s))
		}
		for _, m := range nodes {
			m.wantStrong("k", 1)
			m.settled("k")
		}
		for i := range 3 {
			p.put("k") // past the cache
			if v, info := n.read("k", aside.Refresh); v != i+2 || info.Source != aside.SourceLoad || info.Miss != aside.MissRefresh {
				t.Errorf("version %d, %+v; want %d", v, info, i+2)
			}
			n.settled("k")
			// The notice of its own lease may keep the record out of its L1 for the moment.
			if v, info := n.read("k", aside.Default); v != i+2 || info.Source == aside.SourceLoad {
				t.Errorf("version %d from %v, want %d without a load", v, info.Source, i+2)
			}
			n.want("k", i+2, aside.SourceL1)
			for _, m := range nodes {
				testsync.Eventually(t, "the notice", func() bool { v, _ := m.read("k", aside.Default); return v == i+2 })
			}
		}
		if got := p.reads.Load(); got > 5 {
			t.Errorf("%d loads", got)
		}
		// An absence is replaced too, and replaces.
		p.del("k")
		if _, err := n.Read(t.Context(), "k", p, aside.Refresh); !errors.Is(err, aside.ErrNotFound) {
			t.Errorf("gone: %v", err)
		}
		n.settled("k")
		p.put("k")
		if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
			t.Errorf("the absence is not kept: %v", err)
		}
		if v, _ := n.read("k", aside.Refresh); v != 1 {
			t.Errorf("version %d", v)
		}
	})
}

// A Refresh that fails leaves what the tiers have, and is told so.
// Caught: the value of before, as stale, to a caller who wanted it anew.
func TestModeRefreshThatFails(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.StaleFor = time.Hour })
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		down := errors.New("down")
		p.fail(down)
		if r, err := n.Read(t.Context(), "k", p, aside.Refresh); !errors.Is(err, down) || r.Value.Version != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		n.settled("k")
		if r, err := n.Read(t.Context(), "k", p, aside.Default); err != nil || r.Value.Version != 1 || r.Stale {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A Refresh takes no load that began before it came: one that comes later shares one that
// begins after it.
// Caught: a follower of a load that had read already.
func TestRefreshTakesNoEarlierLoad(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		for _, first := range []aside.Mode{aside.Default, aside.Refresh} {
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.Name = "m" + string('0'+rune(first)) })
			g := testsync.NewGate(t)
			p.afterRead = func(string) { g.Pass("k") }
			one := testsync.Async(func() int { v, _ := n.read("k", first); return v })
			testsync.Await(t, "the load", g.Arrived)
			p.put("k")
			var later []<-chan int
			for range 3 {
				later = append(later, testsync.Async(func() int { v, _ := n.read("k", aside.Refresh); return v }))
			}
			if first == aside.Refresh {
				testsync.Eventually(t, "the followers", func() bool { return aside.Followers(n.Cache, "k") == 3 })
			}
			g.Open()
			if v := testsync.Await(t, "the first", one); v != 1 && first == aside.Refresh {
				t.Errorf("the first has version %d", v)
			}
			for _, l := range later {
				if v := testsync.Await(t, "a later one", l); v != 2 {
					t.Errorf("after %v: version %d, want 2", first, v)
				}
			}
			n.settled("k")
			if v, _ := n.read("k", aside.Default); v != 2 {
				t.Errorf("after %v: the cache has version %d", first, v)
			}
		}
	})
}

// A NoStore read stores nothing, in any tier, and gives its lease back.
// Caught: an L1 that was filled from L2.
func TestNoStore(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k", "l")
		n := newNode(t, p, s)
		for range 2 {
			if v, i := n.read("k", aside.NoStore); v != 1 || i.Source != aside.SourceLoad || i.Left != 0 {
				t.Errorf("version %d, %+v", v, i)
			}
			n.settled("k")
		}
		rs, err := n.ReadMany(t.Context(), []string{"k", "l", "gone"}, p, aside.NoStore)
		if err != nil || rs["k"].Value.Version != 1 || rs["l"].Value.Version != 1 || !rs["gone"].Negative {
			t.Errorf("%+v, %v", rs, err)
		}
		n.settled("k")
		if l := n.Stats().L1Entries; l != 0 {
			t.Errorf("%d entries in L1", l)
		}
		for _, k := range []string{"k", "l", "gone"} {
			if s != nil && s.Entry(testPrefix+k) != nil {
				t.Errorf("%s in L2: %q", k, s.Entry(testPrefix+k))
			}
		}
		if s == nil {
			return
		}
		newNode(t, p, s).want("k", 1, aside.SourceLoad)
		testsync.Eventually(t, "the fill", func() bool { b := s.Entry(testPrefix + "k"); return len(b) > 0 && b[0] == 'V' })
		for range 2 {
			if v, i := n.read("k", aside.NoStore); v != 1 || i.Source != aside.SourceL2 {
				t.Errorf("version %d from %v", v, i.Source)
			}
			n.settled("k")
		}
	})
}

// A read that wants to store does not lose that by the NoStore read whose load it shares.
// Caught: a load for each reader of a key that a NoStore read had led.
func TestNoStoreLeaderStoresForItsFollower(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		p.afterRead = func(string) { g.Pass("k") }
		leads := testsync.Async(func() int { v, _ := n.read("k", aside.NoStore); return v })
		testsync.Await(t, "the load", g.Arrived)
		follows := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		testsync.Eventually(t, "the follower", func() bool { return aside.Followers(n.Cache, "k") == 1 })
		g.Open()
		testsync.Await(t, "the leader", leads)
		if v := testsync.Await(t, "the follower", follows); v != 1 {
			t.Errorf("version %d", v)
		}
		n.settled("k")
		n.want("k", 1, aside.SourceL1)
		if got := p.reads.Load(); got != 1 {
			t.Errorf("%d loads", got)
		}
	})
}

// With Refresh, a NoStore read drops what it knows to be old.
func TestRefreshNoStore(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		p.put("k")
		if v, _ := n.read("k", aside.Refresh|aside.NoStore); v != 2 {
			t.Errorf("version %d", v)
		}
		n.settled("k")
		n.want("k", 2, aside.SourceLoad) // neither version 1 again, nor 2 without a load
	})
}

// SkipL2 asks the primary where L1 has nothing, also while L2 hangs, and L1 keeps the
// answer for as long as it would without L2.
// Caught: a read that waited for the lookups of others.
func TestSkipL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.DegradedL1TTL = 2 * time.Second })
		other := newNode(t, p, s)
		other.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		p.put("k") // past the cache: L2 has version 1
		n.conn.Intercept(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		start := time.Now()
		if v, i := n.read("k", aside.SkipL2); v != 2 || i.Source != aside.SourceLoad || i.Miss != aside.MissSkipped {
			t.Errorf("version %d, %+v", v, i)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		n.conn.Intercept(nil)
		if v, i := n.read("k", aside.SkipL2); v != 2 || i.Source != aside.SourceL1 {
			t.Errorf("version %d from %v", v, i.Source)
		}
		p.put("k")
		if v, i := n.read("k", aside.SkipL2|aside.Strong); v != 3 || i.Source != aside.SourceLoad {
			t.Errorf("strong: version %d from %v", v, i.Source)
		}
		time.Sleep(3 * time.Second)
		if v, i := n.read("k", aside.Default); v != 1 || i.Source != aside.SourceL2 {
			t.Errorf("after DegradedL1TTL: version %d from %v", v, i.Source)
		}
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// A SkipL2 read does not wait for a read that waits for L2; that does not come back with
// what it finds there.
// Caught: an L1 that went back, when L2 answered the slow one.
func TestSkipL2BesideASlowLookup(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	n := newNode(t, p, s)
	newNode(t, p, s).want("k", 1, aside.SourceLoad)
	testsync.Eventually(t, "the fill", func() bool { b := s.Entry(testPrefix + "k"); return len(b) > 0 && b[0] == 'V' })
	g := testsync.NewGate(t)
	n.conn.Answer(func(op, _ string) error {
		if op == "Acquire" {
			g.Pass("k")
		}
		return nil
	})
	slow := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Await(t, "the load", g.Arrived)
	p.put("k") // past the cache
	if v, _ := n.read("k", aside.SkipL2); v != 2 {
		t.Errorf("version %d", v)
	}
	g.Open()
	testsync.Await(t, "the slow one", slow)
	n.settled("k")
	if v, i := n.read("k", aside.SkipL2); v != 2 {
		t.Errorf("version %d from %v: older than before", v, i.Source)
	}
}

// SkipL2 has no effect in a cache without L2. Caught: a second load beside the one that runs.
func TestSkipL2WithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGated("k")
		n := newNode(t, p.primary, nil)
		defer closeAll(n)
		open := p.shut()
		one := testsync.Async(func() got { return get(n, p, "k", aside.Default) })
		synctest.Wait()
		two := testsync.Async(func() got { return get(n, p, "k", aside.SkipL2) })
		synctest.Wait()
		open()
		<-one
		<-two
		n.want("k", 1, aside.SourceL1)
		if s := n.Stats(); s.Loads != 1 {
			t.Errorf("%d loads", s.Loads)
		}
	})
}
