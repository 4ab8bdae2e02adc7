package redisl2_test

import (
	"net"
	"strings"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Only masters have to answer. Caught: a Clear that asks each server for its
// role first, and fails with the replica's connection.
func TestClearWithADeadReplica(t *testing.T) {
	t.Parallel()
	c := testserver.ClusterWithReplicas(t, 3, 1)
	s := open(t, redisl2.Options{URL: c.URL()})
	k := c.Tags(c.Nodes[1], 1)[0]
	c.Nodes[1].Do("SET", prefix+k, "V")
	c.Nodes[4].Kill()
	if err := s.Clear(t.Context(), prefix); err != nil {
		t.Error(err)
	}
	wantEmpty(t, c.Nodes[:3])
}

// The slot is on its way to a master that has no slots yet, so clients are not
// told of it. Caught: a Clear that asks the servers that rueidis knows, and
// leaves the key there.
func TestClearFindsKeysOnANewMaster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 2)
	s := open(t, redisl2.Options{URL: c.URL()})
	k := c.Tags(c.Nodes[0], 1)[0]
	c.Nodes[0].Do("SET", prefix+k, "V")
	m := c.Migrate(c.Slot(k), c.AddMaster())
	m.Move(1)
	// It is an error until rueidis was sent there by the old owner.
	if err := s.Clear(t.Context(), prefix); err == nil {
		wantEmpty(t, c.Nodes)
	}
	testsync.Eventually(t, "it is cleared", func() bool {
		s.Evict(t.Context(), []driver.EvictRequest{{Key: prefix + k, Entry: []byte("another")}})
		return s.Clear(t.Context(), prefix) == nil
	})
	wantEmpty(t, c.Nodes)
}

// A key moves from a server that is yet to be scanned to one that has been.
// Caught: a Clear that scans once.
func TestClearFindsKeysOnTheMove(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 2)
	from, to := c.Nodes[0], c.Nodes[1]
	k := c.Tags(from, 1)[0]
	from.Do("SET", prefix+k, "V")
	m := c.Migrate(c.Slot(k), to)

	// Clients are to reach the first master through the tap.
	tap := newTap(t, from)
	_, port, _ := net.SplitHostPort(tap.l.Addr().String())
	from.Do("CONFIG", "SET", "cluster-announce-port", port)
	testsync.Eventually(t, "the other master knows the tap", func() bool {
		res := to.Do("CLUSTER", "NODES")
		text, _ := res.ToString()
		return strings.Contains(text, ":"+port+"@")
	})
	s := open(t, redisl2.Options{URL: tap.url()})
	g := testsync.NewGate(t)
	first := g.First()
	tap.replace(func(cmd []string) []string {
		if cmd[0] == "SCAN" {
			first("scan")
		}
		return cmd
	})

	cleared := testsync.Async(func() error { return s.Clear(t.Context(), prefix) })
	testsync.Await(t, "the scan of the first master", g.Arrived)
	testsync.Eventually(t, "the other master is scanned", func() bool { return commandCalls(to, "scan") > 0 })
	if n := m.Move(1); n != 1 {
		t.Fatalf("%d keys moved", n)
	}
	g.Open()
	if err := testsync.Await(t, "Clear", cleared); err != nil {
		t.Error(err)
	}
	wantEmpty(t, c.Nodes)
}

func wantEmpty(t testing.TB, servers []*testserver.RedisServer) {
	t.Helper()
	for i, srv := range servers {
		if n, err := srv.Do("DBSIZE").AsInt64(); n != 0 {
			t.Errorf("server %d has %d keys; %v", i, n, err)
		}
	}
}
