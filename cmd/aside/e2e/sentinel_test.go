package e2e

import (
	"fmt"
	"testing"

	"github.com/asidecache/aside/tests/testserver"
)

// onSentinel completes a fault that runs on a master with a replica and three sentinels.
func onSentinel(f fault, do func(r *run, g *testserver.SentinelGroup), args ...string) fault {
	var g *testserver.SentinelGroup
	f.group = topology
	f.start = func(t *testing.T, size form, p policy) *system {
		g = testserver.Sentinel(t, 1, 3)
		return startOn(t, size.timing, p, g.URL(), args...)
	}
	f.do = func(r *run) {
		do(r, g)
		r.Redis = g.Master() // for the check of leftovers
	}
	return f
}

// Caught: redisl2 did not report a lost connection to the cache.
func TestSentinel(t *testing.T) {
	inStep := func(r *run, g *testserver.SentinelGroup) {
		r.quietly(func() {
			killInStep(g.Nodes[0], g.Nodes[1])
			g.Promoted(g.Nodes[0])
		})
	}
	for _, p := range []policy{closed, open} {
		f := fault{name: "Sentinel failover, the replica in step", policy: p, outage: true, stale: failover}
		if p == closed {
			f.errors = writesRefused
		}
		f = onSentinel(f, inStep)
		t.Run(fmt.Sprintf("%s, %s", f.name, p), func(t *testing.T) { try(t, f) })
	}
	lags := fault{name: "Sentinel failover, the replica lags"}
	lags = onSentinel(losing(lags), func(r *run, g *testserver.SentinelGroup) {
		proxy := g.Lag(g.Nodes[1])
		proxy.Silence()
		r.hold(lagTime)
		g.FailOver()
		r.holdUntilOldRecordsAreGone()
	}, "--ttl", shortTTL.String(), "--negative-ttl", shortTTL.String())
	lags.stale = staleAfterLoss(formOf(t))
	t.Run(lags.name, func(t *testing.T) { try(t, lags) })
}
