package e2e

import "testing"

// One node cannot reach Redis, the others can.
func TestPartition(t *testing.T) {
	for _, f := range []fault{
		{
			name: "one node cut off from Redis",
			do: func(r *run) {
				r.Nodes[1].Proxy.Cut()
				r.hold(r.Fault)
				r.Nodes[1].Proxy.Restore()
			},
		},
		{
			name: "silence between one node and Redis", silent: true,
			do: func(r *run) {
				r.Nodes[1].Proxy.Silence()
				r.hold(2*r.Silence + r.Fault)
				r.Nodes[1].Proxy.Restore()
			},
		},
	} {
		bothPolicies(t, network, f)
	}
}

// The connection to Redis is slow or bad.
func TestNetwork(t *testing.T) {
	restore := func(r *run) {
		for _, n := range r.Nodes {
			n.Proxy.Restore()
		}
	}
	for _, f := range []fault{
		{
			name: "Redis slow, within its time-out",
			do: func(r *run) {
				for _, n := range r.Nodes {
					n.Proxy.Jitter(r.L2/4, r.L2/8)
				}
				r.hold(r.Fault)
				restore(r)
			},
		},
		{
			name: "Redis slower than its time-out", silent: true, errors: writesRefused,
			do: func(r *run) {
				for _, n := range r.Nodes {
					n.Proxy.Latency(2 * r.L2)
				}
				r.hold(r.Fault)
				restore(r)
			},
		},
		{
			name: "Redis as slow as its time-out", silent: true, errors: writesRefused,
			do: func(r *run) {
				for _, n := range r.Nodes {
					n.Proxy.Jitter(r.L2, r.L2/4)
				}
				r.hold(r.Fault)
				restore(r)
			},
		},
		{
			name: "answers of Redis to one node lost", silent: true, errors: writesRefused,
			do: func(r *run) {
				r.Nodes[1].Proxy.SilenceReplies()
				r.hold(2*r.Silence + r.Fault)
				r.Nodes[1].Proxy.Restore()
			},
		},
		{
			name: "all connections to Redis reset, again and again", errors: writesRefused,
			do: func(r *run) {
				r.every(r.Fault/5, func() {
					for _, n := range r.Nodes {
						n.Proxy.Reset()
					}
				})
			},
		},
		{
			name: "10 kB/s to and from Redis", silent: true, errors: writesRefused,
			do: func(r *run) {
				for _, n := range r.Nodes {
					n.Proxy.Bandwidth(10)
				}
				r.hold(r.Fault)
				restore(r)
			},
		},
	} {
		f.group, f.outage = network, f.errors != nil
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}
