package e2e

import "testing"

// Redis loses the fence of a running write. The write continues only after readers had time
// to cache the old record.
func TestFenceLost(t *testing.T) {
	for _, f := range []struct {
		name string
		lose func(r *run, writer *node)
		back func(r *run, writer *node)
	}{
		{
			name: "FLUSHALL between fence and commit",
			lose: func(r *run, _ *node) { r.Redis.Do("FLUSHALL") },
		},
		{
			name: "Redis restarted empty between fence and commit",
			lose: func(r *run, _ *node) { r.Redis.Restart() },
		},
		{
			// The writer's release is lost too, so the writer cannot notice that the
			// fence is lost.
			name: "the same, and the writing node cut off from Redis",
			lose: func(r *run, writer *node) {
				writer.Proxy.Cut()
				r.Redis.Restart()
			},
			back: func(_ *run, writer *node) { writer.Proxy.Restore() },
		},
	} {
		t.Run(f.name, func(t *testing.T) {
			try(t, fault{
				group: redis, name: f.name, errors: writesRefused, outage: true, lossy: true,
				do: func(r *run) {
					writer := r.Nodes[1]
					writer.Arm("write.before", `{"action":"wait"}`)
					writer.AwaitHits("write.before", 1)
					f.lose(r, writer)
					r.hold(r.Write / 2)
					writer.Disarm("write.before")
					r.hold(r.Fault)
					if f.back != nil {
						f.back(r, writer)
					}
				},
			})
		})
	}
}
