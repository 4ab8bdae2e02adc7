package redisl2_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Caught: flights that are not shared (more than 400 look-ups); acquire.lua that
// grants over another's lease (one load for each node).
func TestStampedeLoadsOnce(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	g := testsync.NewGate(t)
	p.afterRead = g.Pass
	var nodes []*node
	for range 4 {
		nodes = append(nodes, newNode(t, p, srv.URL()))
	}
	var callers sync.WaitGroup
	for _, n := range nodes {
		for range 100 {
			callers.Go(func() {
				if v, _ := n.read("k", aside.Default); v != 1 {
					t.Errorf("version %d", v)
				}
			})
		}
	}
	testsync.Await(t, "the load", g.Arrived)
	for _, n := range nodes {
		testsync.Eventually(t, "the node has asked L2, more than once if it waits", func() bool {
			return n.tried.Load() > 1 || n.Stats().Loads == 1
		})
	}
	g.Open()
	callers.Wait()
	if n := p.loads.Load(); n != 1 {
		t.Errorf("%d loads for 400 callers on 4 nodes", n)
	}
	pushed, coalesced, tried := 0, uint64(0), int64(0)
	for _, n := range nodes {
		s := n.Stats()
		tried += n.tried.Load()
		coalesced += s.Coalesced
		if s.Loads == 0 && s.Invalidations > 0 {
			pushed++
		}
	}
	if pushed != 3 {
		t.Errorf("the fill was pushed to %d of the 3 nodes that waited", pushed)
	}
	if tried > 200 {
		t.Errorf("%d operations on L2: the callers of one node do not share their look-ups", tried)
	}
	t.Logf("%d of 400 reads coalesced, %d operations on L2", coalesced, tried)
}

// Polling finds the fill where the push cannot come.
// Caught: await without its poll never returns where tracking is off.
func TestWaiterFindsTheFillWithoutThePush(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		mute func(srv *testserver.RedisServer, tap *tap)
	}{
		{"tracking off", nil},
		{"connection killed", func(srv *testserver.RedisServer, _ *tap) { srv.KillClients("aside") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := testserver.Redis(t)
			p := newPrimary("k")
			g := testsync.NewGate(t)
			p.afterRead = g.Pass
			a := newNode(t, p, srv.URL())
			tap := newTap(t, srv)
			if c.mute == nil {
				tap.replace(func(cmd []string) []string {
					if cmd[0] == "CLIENT" && cmd[1] == "TRACKING" {
						return []string{"PING"}
					}
					return cmd
				})
			}
			b := newNode(t, p, tap.url())
			av := testsync.Async(func() int { v, _ := a.read("k", aside.Default); return v })
			testsync.Await(t, "the load", g.Arrived)
			bv := testsync.Async(func() int { v, _ := b.read("k", aside.Default); return v })
			testsync.Eventually(t, "b waits", func() bool { return b.tried.Load() > 1 })
			if c.mute != nil {
				c.mute(srv, tap)
			}
			g.Open()
			testsync.Await(t, "a's value", av)
			if v := testsync.Await(t, "b's value", bv); v != 1 {
				t.Errorf("version %d", v)
			}
			if s := b.Stats(); c.mute == nil && s.Invalidations != 0 {
				t.Error("the push came after all")
			}
		})
	}
}

// Caught: a lease without PX stands for ever.
func TestLeaseOfADeadNodeEnds(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	t.Run("process gone", func(t *testing.T) {
		t.Parallel()
		p := newPrimary("k", "other")
		b := newNode(t, p, srv.URL(), func(o *options) { o.Name = "gone" })
		b.wantStrong("other", 1) // the server is in use
		b.tried.Store(0)
		srv.Do("SET", "aside:gone:0:k", "L"+strings.Repeat("x", 16), "PX", "1000")
		within(t, time.Second+slack, "reading a key that a dead node leased", func() { b.wantStrong("k", 1) })
		if n := b.tried.Load(); n < 3 {
			t.Errorf("%d look-ups: b did not wait for the lease", n)
		}
		b.warm("k")
	})
	t.Run("store closed in mid-load", func(t *testing.T) {
		t.Parallel()
		p, q := newPrimary("k"), newPrimary("k")
		g := testsync.NewGate(t)
		defer g.Open()
		p.afterRead = g.Pass
		short := func(o *options) { impatient(o); o.Name = "closed"; o.LoadTimeout = 300 * time.Millisecond }
		s := open(t, redisl2.Options{URL: srv.URL()})
		a := newNodeOn(t, p, s, &testsync.Buffer{}, short)
		b := newNode(t, q, srv.URL(), short)
		testsync.Async(func() error { _, err := a.Get(context.Background(), "k", p); return err })
		testsync.Await(t, "a's load", g.Arrived)
		s.Close()
		within(t, 2*time.Second+slack, "reading a key that a closed node leased", func() { b.wantStrong("k", 1) })
		if n := b.tried.Load(); n < 3 {
			t.Errorf("%d look-ups: b did not wait for the lease", n)
		}
	})
}

// A lease is one fill's, not one client's. The first load of this node is
// still under way when a write ends and the second load gets a lease of its
// own; the first must not fill under it.
// Caught: one token for each Cache instead of each fill stores version 1.
func TestLeaseIsTheFillsOwn(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	a, b := newNode(t, p, srv.URL()), newNode(t, p, srv.URL())
	first, second := testsync.NewGate(t), testsync.NewGate(t)
	gates := make(chan *testsync.Gate, 2)
	gates <- first
	gates <- second
	p.afterRead = func(k string) {
		select {
		case g := <-gates:
			g.Pass(k)
		default:
		}
	}
	one := testsync.Async(func() int { v, _ := a.read("k", aside.Default); return v })
	testsync.Await(t, "the first load", first.Arrived)
	err := a.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { p.put("k"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	two := testsync.Async(func() int { v, _ := a.read("k", aside.Default); return v })
	testsync.Await(t, "the second load", second.Arrived)
	first.Open()
	if v := testsync.Await(t, "the first value", one); v != 1 {
		t.Errorf("the first read, begun before the write, got version %d", v)
	}
	testsync.Eventually(t, "the first fill is refused", func() bool { return a.Stats().FillsRefused == 1 })
	second.Open()
	if v := testsync.Await(t, "the second value", two); v != 2 {
		t.Errorf("the second read got version %d", v)
	}
	a.warm("k")
	b.wantStrong("k", 2)
	a.want("k", 2, aside.SourceL1)
	if n := p.loads.Load(); n != 2 {
		t.Errorf("%d loads: the second fill was not stored", n)
	}
}

// Leases that the server granted to a node which did not live to hear of it are
// given back as soon as the two talk again; nobody waits for their end.
// Caught: lookUp without orphan makes b wait for a minute.
func TestOrphanedLeasesAreAbandoned(t *testing.T) {
	t.Parallel()
	long := func(o *options) { impatient(o); o.LoadTimeout = minute }
	for _, c := range []struct {
		name         string
		stop, resume func(*testserver.RedisServer, *testserver.Proxy)
	}{
		{"server stopped",
			func(s *testserver.RedisServer, _ *testserver.Proxy) { s.Pause() },
			func(s *testserver.RedisServer, _ *testserver.Proxy) { s.Resume() }},
		{"answers lost",
			func(_ *testserver.RedisServer, p *testserver.Proxy) { p.SilenceReplies() },
			func(_ *testserver.RedisServer, p *testserver.Proxy) { p.Restore() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := testserver.Redis(t)
			proxy := testserver.Toxiproxy(t, srv.Addr())
			keys := numbered("k", 4)
			p := newPrimary(keys...)
			a := newNode(t, p, via(srv, proxy.Addr()), long)
			a.warm("other") // the connection stands and the script is known
			c.stop(srv, proxy)
			for _, k := range keys {
				if v, i := a.read(k, aside.Default); v != 1 || i.Source != aside.SourceLoad {
					t.Errorf("%s: version %d from %v", k, v, i.Source)
				}
			}
			c.resume(srv, proxy)
			b := newNode(t, p, srv.URL(), long)
			within(t, slack, "reading what the other node's lost look-ups leased", func() {
				for _, k := range keys {
					b.wantStrong(k, 1)
				}
			})
		})
	}
}
