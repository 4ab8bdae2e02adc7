package e2e

import (
	"strings"
	"testing"
	"time"
)

// A node is killed at a given point, and restarted when its leases and fences have
// expired.
func TestCrash(t *testing.T) {
	for _, f := range []struct{ name, point string }{
		{"node killed between fence and commit", "write.before"},
		{"node killed between commit and release", "write.after"},
		{"node killed between lease and load", "load.before"},
		{"node killed between load and fill", "load.after"},
	} {
		t.Run(f.name, func(t *testing.T) {
			try(t, fault{
				group: nodes, name: f.name, errors: onlyAt(1), struck: []int{1},
				do: func(r *run) {
					left := r.reach(f.point, "kill", (*node).AwaitDeath)
					r.hold(left)
					r.Nodes[1].Restart()
				},
			})
		})
	}
}

// A node is stopped at a given point until its fence or lease has expired, and then
// continues.
func TestPause(t *testing.T) {
	for _, f := range []struct{ name, point string }{
		{"node paused between fence and commit, for longer than the fence", "write.before"},
		{"node paused between commit and release, for longer than the fence", "write.after"},
		{"node paused between load and fill, for longer than the lease", "load.after"},
	} {
		t.Run(f.name, func(t *testing.T) {
			try(t, fault{
				group: nodes, name: f.name, errors: onlyAt(1), struck: []int{1}, resumes: true,
				do: func(r *run) {
					left := r.reach(f.point, "stop", (*node).AwaitStop)
					r.hold(left + r.Fault/2)
					r.Nodes[1].Continue()
				},
			})
		})
	}
}

// reach waits until node 1 is at a point and does the action there. It returns how long
// the node's fence or lease lasts.
func (r *run) reach(point, action string, await func(*node)) (left time.Duration) {
	r.Helper()
	n := r.Nodes[1]
	n.Arm(point, `{"action":"`+action+`"}`)
	left = r.Fence
	if strings.HasPrefix(point, "load.") {
		// Most loads of an idle key have a lease. Loads during a write have none.
		r.Nodes[0].Flush()
		left = r.lease()
	}
	await(n)
	return left
}

// A node is stopped at any point. When it continues, its memory is out of date.
func TestPauseAnywhere(t *testing.T) {
	try(t, fault{
		group: nodes, name: "node paused, for longer than Redis' silence", errors: onlyAt(1), struck: []int{1}, resumes: true,
		do: func(r *run) {
			r.Nodes[1].Stop()
			r.hold(r.Silence + r.Fault)
			r.Nodes[1].Continue()
		},
	})
}
