package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// onCluster completes a fault that runs on a cluster of three masters.
func onCluster(f fault, replicas int, do func(r *run, c *testserver.RedisCluster), args ...string) fault {
	var c *testserver.RedisCluster
	f.group = topology
	f.start = func(t *testing.T, size form, p policy) *system {
		c = testserver.ClusterWithReplicas(t, 3, replicas)
		return startOn(t, size.timing, p, c.URL(), args...)
	}
	f.do = func(r *run) { do(r, c) }
	return f
}

// Slots move to other masters. If the keys move too, nothing is lost and no request waits.
// Caught: redisl2 did not ask for the owners of slots, so L1 kept records for which the new
// owner sends no invalidations.
func TestClusterSlots(t *testing.T) {
	for _, f := range []fault{
		onCluster(fault{name: "Cluster slots move, with their keys"}, 0, func(r *run, c *testserver.RedisCluster) {
			r.quietly(func() {
				r.every(r.Fault/100, func() { moveSlot(r, c).Finish() })
			})
		}),
		// Fences are lost with the keys, and the old owner sends no invalidations.
		onCluster(fault{name: "Cluster slots are taken without their keys", lossy: true, outage: true, silent: true}, 0,
			func(r *run, c *testserver.RedisCluster) {
				r.quietly(func() {
					for _, id := range quiet {
						slot := c.Slot("aside:e2e:1:" + id)
						c.Migrate(slot, elsewhere(c, c.Owner(slot))).Seize()
					}
					r.every(r.Fault/20, func() { moveSlot(r, c).Seize() })
				})
			}),
	} {
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}

// moveSlot starts to move a slot with keys to another master.
func moveSlot(r *run, c *testserver.RedisCluster) *testserver.Migration {
	r.Helper()
	for {
		from := c.Nodes[rand.N(len(c.Nodes))]
		keys, err := from.Do("KEYS", "aside:*").AsStrSlice()
		if err == nil && len(keys) > 0 {
			return c.Migrate(c.Slot(keys[rand.N(len(keys))]), elsewhere(c, from))
		}
		r.hold(time.Millisecond)
	}
}

// elsewhere returns another master.
func elsewhere(c *testserver.RedisCluster, from *testserver.RedisServer) *testserver.RedisServer {
	i := slices.Index(c.Nodes, from)
	return c.Nodes[(i+1+rand.N(len(c.Nodes)-1))%len(c.Nodes)]
}

// A master hands over to a replica, or dies and is replaced by a replica.
// Caught: redisl2 did not report a lost connection to the cache.
func TestClusterFailover(t *testing.T) {
	handOver := onCluster(fault{name: "Cluster master hands over to its replica", outage: true, errors: writesRefused}, 1,
		func(r *run, c *testserver.RedisCluster) {
			r.quietly(func() { c.HandOver(c.Replicas(c.Nodes[0])[0]) })
		})
	t.Run(handOver.name, func(t *testing.T) { try(t, handOver) })

	for _, p := range []policy{closed, open} {
		f := fault{name: "Cluster master killed, its replica in step", policy: p, outage: true, stale: failover}
		if p == closed {
			f.errors = writesRefused
		}
		f = onCluster(f, 1, func(r *run, c *testserver.RedisCluster) {
			r.quietly(func() {
				master := c.Nodes[0]
				killInStep(master, c.Replicas(master)[0])
				c.Promoted(master, 0)
			})
		})
		t.Run(fmt.Sprintf("%s, %s", f.name, p), func(t *testing.T) { try(t, f) })
	}

	lags := onCluster(losing(fault{name: "Cluster master killed, its replica lags"}), 1, func(r *run, c *testserver.RedisCluster) {
		master := c.Nodes[0]
		c.Replicas(master)[0].Detach()
		r.hold(lagTime)
		c.FailOver(master)
		r.holdUntilOldRecordsAreGone()
	}, "--ttl", shortTTL.String(), "--negative-ttl", shortTTL.String())
	lags.stale = staleAfterLoss(formOf(t))
	t.Run(lags.name, func(t *testing.T) { try(t, lags) })
}
