package redisl2_test

import (
	"slices"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/tests/testserver"
)

func closed(o *options) { o.OnL2Down = aside.FailClosed }

// A master of a cluster dies, and its replica, which is in step, takes over. The
// keys of the other masters are served meanwhile, nothing stale is read of any,
// and L1 does not keep what the new master tells nobody about.
// Caught: watchers.invalidated ignoring nil, where the connection that was lost
// is a cluster's too.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := testserver.ClusterWithReplicas(t, 3, 1)
	master := c.Nodes[0]
	replica := c.Replicas(master)[0]
	lost, kept, quiet := c.Tags(master, 3), c.Tags(c.Nodes[1], 3), c.Tags(master, 4)[3]
	p := newPrimary(slices.Concat(lost, kept, []string{quiet})...)
	p.afterRead = func(string) { yield() }
	a, b := newNode(t, p, c.URL(), impatient, closed), newNode(t, p, c.URL(), impatient, closed)
	d := drive(t, slices.Concat(lost, kept), a, b)
	d.goesOn(100)
	d.still(func() {
		a.warm(quiet)
		b.warm(quiet)
		replica.InStep(master)
		master.Kill()
	})
	if got := c.Promoted(master, c.Slot(lost[0])); got != replica {
		t.Fatalf("%s took over", got.Addr())
	}
	d.goesOn(100)
	a.takes(lost[0])
	a.healthy()
	b.healthy()
	d.goesOn(100)
	d.settle()
	a.becomesFresh(quiet, b.takes(quiet))
	if n := commandCalls(replica, "set"); n < 100 { // by the writes; pings and tests are fewer
		t.Errorf("the new master was not used: %d fences", n)
	}
}
