package e2e

import "testing"

func TestNoFault(t *testing.T) {
	try(t, fault{group: nothing, name: "none", do: func(r *run) { r.hold(r.Fault) }})
}

// Redis as a whole is gone for a while, then back.
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
			// Caught: nodes that take what came back for what is there.
			name: "Redis killed, restarted from its snapshot", lossy: true,
			do: func(r *run) {
				for range 3 {
					r.Redis.Do("SAVE")
					r.hold(r.Fault / 3)
					r.Redis.Kill()
					r.hold(r.Fault / 10)
					r.Redis.RestartFromSnapshot()
					r.hold(r.Fault / 3)
				}
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

// bothPolicies tries a fault under which nodes do not reach Redis. Reads never
// fail, and with the policy open writes do not either.
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

// Commands of an operator, while everything else goes on.
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
