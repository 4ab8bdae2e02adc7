package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

func TestNoFault(t *testing.T) {
	try(t, fault{group: nothing, name: "none", do: func(r *run) { r.hold(r.Fault) }})
}

// All of Redis is down for a while, then back.
func TestRedisOutage(t *testing.T) {
	for _, f := range []fault{
		{
			name: "Redis killed, restarted empty", lossy: true,
			do: func(r *run) {
				r.Redis.Kill()
				r.hold(r.Fault)
				r.Redis.Restart()
			},
		},
		{
			name: "Redis paused", silent: true,
			do: func(r *run) {
				r.Redis.Pause()
				r.hold(2*r.Silence + r.Fault)
				r.Redis.Resume()
			},
		},
		{
			name: "all connections to Redis cut",
			do: func(r *run) {
				for _, n := range r.Nodes {
					n.Proxy.Cut()
				}
				r.hold(r.Fault)
				for _, n := range r.Nodes {
					n.Proxy.Restore()
				}
			},
		},
	} {
		bothPolicies(t, redis, f)
	}
}

// After a restart from a snapshot, Redis has older records than those acknowledged since.
// Caught: nodes that served these records.
func TestRedisRestartsFromItsSnapshot(t *testing.T) {
	try(t, fault{
		group: redis, name: "Redis killed, restarted from its snapshot", outage: true, lossy: true, errors: writesRefused,
		do: func(r *run) {
			for i := range 3 {
				r.restartFromSnapshot(i)
			}
		},
	})
}

// restartFromSnapshot lets Redis save, changes the quiet records, and kills Redis. After
// the restart no node may return a quiet record as it was saved.
func (r *run) restartFromSnapshot(round int) {
	r.Helper()
	put := func(n *node, id, name string) {
		r.Helper()
		testsync.Eventually(r, n.name+" takes a write of "+id, func() bool {
			status := n.Do(http.MethodPut, "/todos/"+id, `{"name":"`+name+`"}`)
			if status == http.StatusNotFound {
				status = n.Do(http.MethodPost, "/todos", `{"id":"`+id+`","name":"`+name+`"}`)
			}
			return status == http.StatusOK || status == http.StatusCreated
		})
	}
	old, name := fmt.Sprint("old ", round), fmt.Sprint("new ", round)
	for i, id := range quiet {
		put(r.Nodes[i%len(r.Nodes)], id, old)
	}
	for range 3 { // it is stored after the response
		for _, id := range quiet {
			for _, n := range r.Nodes {
				n.Get(id, "max-age=60")
			}
		}
	}
	r.Redis.Do("SAVE")
	for i, id := range quiet {
		put(r.Nodes[i%len(r.Nodes)], id, name)
	}
	r.Redis.Kill()
	r.hold(r.Fault / 10)
	r.Redis.RestartFromSnapshot()
	for end := time.Now().Add(r.Fault); time.Now().Before(end); {
		for _, id := range quiet {
			for _, n := range r.Nodes {
				if got := n.Get(id, "no-cache"); got == old {
					r.Fatalf("%s: a strong read of %s returns what the snapshot brought back", n.name, id)
				}
			}
		}
	}
}

// bothPolicies tries a fault during which nodes cannot reach Redis, with both policies.
// Reads never fail. With the policy open, writes do not fail either.
func bothPolicies(t *testing.T, g group, f fault) {
	f.group, f.outage = g, true
	for _, p := range []policy{closed, open} {
		f := f
		if f.policy = p; p == closed {
			f.errors = writesRefused
		}
		t.Run(f.name+", "+string(p), func(t *testing.T) { try(t, f) })
	}
}

// Commands of an operator, under load.
func TestCommands(t *testing.T) {
	for _, f := range []fault{
		{
			name: "FLUSHALL, again and again", lossy: true,
			do: func(r *run) { r.every(r.Fault/20, func() { r.Redis.Do("FLUSHALL") }) },
		},
		{
			name: "connections killed by Redis, again and again", errors: writesRefused,
			do: func(r *run) { r.every(r.Fault/10, func() { r.Redis.Do("CLIENT", "KILL", "TYPE", "normal") }) },
		},
		{
			name: "SCRIPT FLUSH, again and again",
			do:   func(r *run) { r.every(r.Fault/20, func() { r.Redis.Do("SCRIPT", "FLUSH") }) },
		},
	} {
		f.group = redis
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}
