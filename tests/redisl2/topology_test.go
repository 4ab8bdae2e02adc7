package redisl2_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// The server that a record was read from does not own it any more, and has no
// reason to tell of its changes. Nothing but the new owners shows it: the
// connection is alive.
// Caught: without watchSlots the old record stays in L1 for its TTL, a minute.
func TestL1IsEmptiedWhenSlotsHaveOtherOwners(t *testing.T) {
	t.Parallel()
	t.Run("handed over", func(t *testing.T) {
		t.Parallel()
		c := testserver.ClusterWithReplicas(t, 3, 1)
		old := c.Nodes[0]
		k := c.Tags(old, 1)[0]
		p := newPrimary(k)
		a, b := newNode(t, p, c.URL()), newNode(t, p, c.URL())
		a.warm(k)
		c.HandOver(c.Replicas(old)[0])
		old.Detach() // or it would report what its new master tells it
		v := b.update(k).Version
		a.becomesFresh(k, v)
	})
	t.Run("without the keys", func(t *testing.T) {
		t.Parallel()
		c := testserver.Cluster(t, 3)
		k := c.Tags(c.Nodes[0], 1)[0]
		p := newPrimary(k)
		a, b := newNode(t, p, c.URL()), newNode(t, p, c.URL())
		a.warm(k)
		c.Migrate(c.Slot(k), c.Nodes[1]).Seize()
		v := b.update(k).Version
		a.becomesFresh(k, v)
	})
	t.Run("without the keys, there and back", func(t *testing.T) {
		t.Parallel()
		c := testserver.Cluster(t, 3)
		k := c.Tags(c.Nodes[0], 1)[0]
		p := newPrimary(k)
		// Both moves lie between two looks at the owners, which are six seconds apart.
		slow := open(t, redisl2.Options{URL: c.URL(), SilenceTimeout: 12 * time.Second})
		a, b := newNodeOn(t, p, slow, &testsync.Buffer{}), newNode(t, p, c.URL())
		a.warm(k)
		c.Migrate(c.Slot(k), c.Nodes[1]).Seize()
		v := b.update(k).Version
		c.Migrate(c.Slot(k), c.Nodes[0]).Seize()
		a.becomesFresh(k, v)
	})
}

// becomesFresh waits until default reads see a version that another node wrote.
func (n *node) becomesFresh(k string, version int) {
	n.t.Helper()
	testsync.Eventually(n.t, fmt.Sprintf("a default read of %s sees version %d", k, version), func() bool {
		v, _ := n.read(k, aside.Default)
		return v == version
	})
}
