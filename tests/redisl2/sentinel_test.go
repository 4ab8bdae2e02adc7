package redisl2_test

import (
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// The master dies, a replica that is in step takes over, and the nodes follow.
// Caught: watchers.invalidated ignoring nil leaves entries in L1 that the new
// master tells nobody about.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	g := testserver.Sentinel(t, 1, 3)
	master, replica := g.Nodes[0], g.Nodes[1]
	keys := numbered("k", 6)
	p := newPrimary(append(keys, "quiet")...)
	p.afterRead = func(string) { yield() }
	a, b := newNode(t, p, g.URL(), impatient, closed), newNode(t, p, g.URL(), impatient, closed)
	d := drive(t, keys, a, b)
	d.goesOn(100)
	d.still(func() {
		a.warm("quiet")
		b.warm("quiet")
		replica.InStep(master)
		master.Kill()
	})
	if got := g.Promoted(master); got != replica {
		t.Fatalf("%s was promoted", got.Addr())
	}
	a.healthy()
	b.healthy()
	d.goesOn(100)
	d.settle()
	a.becomesFresh("quiet", b.takes("quiet"))
	if n := commandCalls(replica, "set"); n < 100 { // by the writes; pings and tests are fewer
		t.Errorf("the new master was not used: %d fences", n)
	}
	if a.Stats().L1Flushes == 0 || b.Stats().L1Flushes == 0 {
		t.Error("L1 was not emptied with the loss of the master")
	}
}

// The master is not dead, it only says nothing for a while. When it speaks again
// it takes itself for the master until the sentinels have told it otherwise, and
// the nodes do not go back to it.
// Caught: watchers.invalidated ignoring nil.
func TestSentinelMasterComesBack(t *testing.T) {
	t.Parallel()
	g := testserver.Sentinel(t, 1, 1)
	old := g.Nodes[0]
	keys := numbered("k", 6)
	p := newPrimary(append(keys, "quiet")...)
	a, b := newNode(t, p, g.URL(), impatient, closed), newNode(t, p, g.URL(), impatient, closed)
	a.warm("quiet")
	b.warm("quiet")
	g.Nodes[1].InStep(old)
	old.Pause()
	g.Promoted(old)
	a.healthy()
	b.healthy()
	d := drive(t, keys, a, b)
	v := b.takes("quiet")
	a.becomesFresh("quiet", v)
	old.Resume()
	d.goesOn(100)
	testsync.Eventually(t, "the old master is a replica", func() bool { return old.Role() == "slave" })
	d.goesOn(100)
	d.settle()
	a.becomesFresh("quiet", b.takes("quiet"))
}
