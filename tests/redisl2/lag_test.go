package redisl2_test

import (
	"context"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// lagging is a master with a replica that will take its place, and that can be
// made to miss what the master acknowledges.
type lagging struct {
	url      string
	takes    time.Duration // a failover, at most
	inStep   func()
	lag      func()
	failOver func()
}

var laggings = map[string]func(t *testing.T) lagging{
	"Sentinel": func(t *testing.T) lagging {
		g := testserver.Sentinel(t, 1, 1)
		master, replica := g.Nodes[0], g.Nodes[1]
		proxy := g.Lag(replica)
		return lagging{
			url:      g.URL(),
			takes:    10 * time.Second,
			inStep:   func() { replica.InStep(master) },
			lag:      proxy.Silence,
			failOver: func() { g.FailOver() },
		}
	},
	"Cluster": func(t *testing.T) lagging {
		c := testserver.ClusterWithReplicas(t, 3, 1)
		master := c.Owner(c.Slot("k"))
		replica := c.Replicas(master)[0]
		return lagging{
			url:      c.URL(),
			takes:    15 * time.Second,
			inStep:   func() { replica.InStep(master) },
			lag:      replica.Detach,
			failOver: func() { c.FailOver(master) },
		}
	},
}

// lagSite is two nodes in front of it.
type lagSite struct {
	lagging
	p    *primary
	a, b *node
}

// recovered waits until both nodes use the new master.
func (s lagSite) recovered() {
	s.a.t.Helper()
	for _, n := range []*node{s.a, s.b} {
		n.healthy()
		testsync.Eventually(n.t, "the node reaches the new master", func() bool {
			_, i := n.read(lagKey+"probe", aside.Strong)
			return i.Source == aside.SourceL2
		})
	}
}

const lagKey = "{k}" // of the slot of k

// A failover to a replica that lags loses acknowledged commands. What comes back
// with that, and for how long, is in docs/reference/guarantees.md.
func TestFailoverToALaggingReplica(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "without INFO the new master is cleared, and nothing old comes back")
	const k = lagKey
	for _, c := range []struct {
		name  string
		where []string
		run   func(t *testing.T, s lagSite)
	}{
		// Caught: fill.lua that stores without a TTL.
		{"an old record comes back, for its TTL", []string{"Sentinel", "Cluster"}, func(t *testing.T, s lagSite) {
			s.a.warm(k)
			s.b.warm(k)
			s.inStep()
			s.lag()
			s.a.update(k)
			s.b.wantStrong(k, 2)
			s.failOver()
			s.recovered()
			if v, i := s.b.read(k, aside.Strong); v != 1 {
				t.Errorf("version %d from %v: nothing was lost, so this is no test of it", v, i.Source)
			}
		}},
		// The lease is older than the write, and the fence that ended it is lost.
		{"a lease comes back, and its load is stored for the TTL", []string{"Sentinel"}, func(t *testing.T, s lagSite) {
			g := testsync.NewGate(t)
			s.p.afterRead = g.First()
			read := testsync.Async(func() error {
				_, err := s.a.Get(context.Background(), k, s.p)
				return err
			})
			testsync.Await(t, "the load", g.Arrived)
			s.inStep()
			s.lag()
			s.b.update(k)
			s.failOver()
			s.recovered()
			g.Open()
			if err := testsync.Await(t, "the read", read); err != nil {
				t.Error(err)
			}
			testsync.Eventually(t, "the old record is stored: the lease was there", func() bool {
				v, i := s.b.read(k, aside.Strong)
				return v == 1 && i.Source == aside.SourceL2
			})
		}},
		// Caught: fence.lua that stores without a TTL.
		{"a fence comes back, and costs time alone", []string{"Sentinel"}, func(t *testing.T, s lagSite) {
			s.a.warm(k)
			s.b.warm(k)
			err := s.a.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				s.inStep()
				s.lag()
				w.Publish(k, s.p.put(k))
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			s.failOver()
			s.recovered()
			if r, err := s.b.Read(context.Background(), k, s.p, aside.Strong); r.Source != aside.SourceLoad || r.Value.Version != 2 {
				t.Errorf("version %d from %v, %v: want the primary's, for the fence", r.Value.Version, r.Source, err)
			}
		}},
		// Caught: release.lua that leaves alone what it finds in a fence's place.
		{"a fence is lost, and its write acknowledged all the same", []string{"Sentinel"}, func(t *testing.T, s lagSite) {
			s.inStep()
			s.lag()
			err := s.a.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				s.failOver()
				s.recovered()
				s.b.warm(k)
				w.Publish(k, s.p.put(k))
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			s.b.wantStrong(k, 2)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range c.where {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					s := lagSite{lagging: laggings[name](t), p: newPrimary(k, k+"probe")}
					o := func(o *options) {
						o.TTL, o.LoadTimeout, o.WriteTimeout = s.takes, s.takes, s.takes
						o.FenceTTL = s.takes + time.Second
					}
					s.a = newNode(t, s.p, s.url, impatient, o)
					s.b = newNode(t, s.p, s.url, impatient, o)
					c.run(t, s)
					// The bound that holds.
					for _, n := range []*node{s.a, s.b} {
						n.becomesFresh(k, 2)
						n.wantStrong(k, 2)
						n.warm(k)
					}
					s.b.becomesFresh(k, s.a.update(k).Version)
				})
			}
		})
	}
}
