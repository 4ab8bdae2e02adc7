package e2e

import (
	"fmt"
	"testing"
)

// The store, or the connection to it, fails in the ways that matter to a cache.
func TestStore(t *testing.T) {
	for _, f := range []fault{
		{
			name: "store answers with a time-out after it has committed", errors: writesUnknown,
			do: func(r *run) {
				r.Nodes[1].Arm("write.after", `{"action":"unknown","times":5}`)
				r.Nodes[2].Arm("write.after", `{"action":"deadline","times":5}`)
				r.Nodes[1].AwaitHits("write.after", 5)
				r.Nodes[2].AwaitHits("write.after", 5)
				r.hold(r.Fence)
			},
		},
		{
			name: "store hangs after it has committed, until the deadline", errors: writesUnknown,
			do: func(r *run) {
				r.Nodes[1].Arm("write.after", fmt.Sprintf(`{"action":"hang","for":"%v"}`, 2*r.Fence))
				r.Nodes[1].AwaitHits("write.after", 1)
				r.hold(r.Fence + r.Fault)
			},
		},
		{
			name: "store commits after the fence has ended, past its deadline",
			do: func(r *run) {
				r.Nodes[1].Arm("write.before", fmt.Sprintf(`{"action":"hang","for":"%v","ignore_context":true}`, r.Fence+r.Fault/2))
				r.Nodes[1].AwaitHits("write.before", 1)
				r.hold(r.Fence + r.Fault)
			},
		},
		{
			name: "the same, and does not tell", errors: writesUnknown,
			do: func(r *run) {
				r.Nodes[1].Arm("write.after", `{"action":"unknown","times":-1}`)
				defer r.Nodes[1].Disarm("write.after")
				r.Nodes[1].Arm("write.before", fmt.Sprintf(`{"action":"hang","for":"%v","ignore_context":true}`, r.Fence+r.Fault/2))
				r.Nodes[1].AwaitHits("write.before", 1)
				r.hold(r.Fence + r.Fault)
			},
		},
		{
			name: "loader slower than its lease", errors: loadsTimedOut(1),
			do: func(r *run) {
				r.Nodes[1].Arm("load.after", fmt.Sprintf(`{"action":"hang","for":"%v","ignore_context":true,"times":4}`, r.lease()+r.Fault/2))
				r.Nodes[0].Flush()
				r.Nodes[1].AwaitHits("load.after", 4)
				r.hold(r.lease() + r.Fault)
			},
		},
	} {
		f.group = store
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}
