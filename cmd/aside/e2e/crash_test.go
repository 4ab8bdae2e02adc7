package e2e

import (
	"strings"
	"testing"
	"time"
)

// A node is killed at a given point of its work, and started again when what it
// left behind has ended.
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

// A node is stopped at a given point of its work for longer than what protects
// it there lasts, and then goes on as if nothing had been.
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

// reach lets node 1 go to a point of its work, where it does what action says.
// It returns how long the fence or the lease lasts that it has there.
func (r *run) reach(point, action string, await func(*node)) (left time.Duration) {
	r.Helper()
	n := r.Nodes[1]
	n.Arm(point, `{"action":"`+action+`"}`)
	left = r.Fence
	if strings.HasPrefix(point, "load.") {
		// Most loads of an idle key have a lease, those of one being written none.
		r.Nodes[0].Flush()
		left = r.lease()
	}
	await(n)
	return left
}

// A node is stopped wherever it is: what it has in memory is old when it goes on.
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
