package testserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	c := Cluster(t, 3)
	if len(c.Addrs()) != 3 || strings.Count(c.URL(), ":") != 1+3 {
		t.Fatalf("addresses: %v, URL %s", c.Addrs(), c.URL())
	}
	for slot, want := range map[int]*RedisServer{0: c.Nodes[0], 5461: c.Nodes[1], 16383: c.Nodes[2]} {
		if got := c.Owner(slot); got != want {
			t.Errorf("slot %d is owned by %s, want %s", slot, got.Addr(), want.Addr())
		}
	}
	for i := range 30 {
		key := fmt.Sprint(i)
		owner := c.Owner(c.Slot(key))
		for _, n := range c.Nodes {
			if _, err := n.do("SET", key, "v"); (err == nil) != (n == owner) {
				t.Errorf("SET %s on %s, owner is %s: %v", key, n.Addr(), owner.Addr(), err)
			}
		}
	}
	tags := c.Tags(c.Nodes[1], 3)
	if a, b := c.Slot(tags[0]), c.Slot(tags[1]); a == b {
		t.Errorf("tags %v have slots %d and %d", tags, a, b)
	}
	for _, tag := range tags {
		if got := c.Owner(c.Slot("any" + tag + "key")); got != c.Nodes[1] {
			t.Errorf("a key with %s is on %s", tag, got.Addr())
		}
	}
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := ClusterWithReplicas(t, 3, 1)
	master, replica := c.Nodes[0], c.Nodes[3]
	if got := c.Replicas(master); !slices.Equal(got, []*RedisServer{replica}) {
		t.Fatalf("replicas of the first master: %v", got)
	}
	owned := master.slotsOf()
	key := c.Tags(master, 1)[0]
	master.Do("SET", key, "1")
	replica.InStep(master)

	if got := c.FailOver(master); got != replica {
		t.Fatalf("%s took over", got.Addr())
	}
	if got := replica.slotsOf(); !slices.Equal(got, owned) {
		t.Errorf("it owns %d slots, the old master had %d", len(got), len(owned))
	}
	if v, err := replica.Do("GET", key).ToString(); v != "1" {
		t.Errorf("on the new master: %q, %v", v, err)
	}
	c.Rejoin(master)
	if got := c.Replicas(replica); !slices.Equal(got, []*RedisServer{master}) {
		t.Errorf("replicas of the new master: %v", got)
	}
	c.HandOver(master)
	if got := c.Owner(owned[0]); got != master {
		t.Errorf("handed over to %s, want the first master", got.Addr())
	}
	if v, err := master.Do("GET", key).ToString(); v != "1" {
		t.Errorf("on the first master again: %q, %v", v, err)
	}
}

func TestClusterFailoverToALaggingReplica(t *testing.T) {
	t.Parallel()
	c := ClusterWithReplicas(t, 3, 1)
	master, replica := c.Nodes[0], c.Nodes[3]
	key := c.Tags(master, 1)[0]
	master.Do("SET", key, "1")
	replica.InStep(master)
	replica.Detach()
	master.Do("SET", key, "2")
	if got := c.FailOver(master); got != replica {
		t.Fatalf("%s took over", got.Addr())
	}
	if v, err := replica.Do("GET", key).ToString(); v != "1" {
		t.Errorf("on the new master: %q, %v; want what it had before it was detached", v, err)
	}
}

func TestClusterMigration(t *testing.T) {
	t.Parallel()
	c := Cluster(t, 3)
	from, to := c.Nodes[0], c.Nodes[2]
	tag := c.Tags(from, 1)[0]
	for i := range 10 {
		from.Do("SET", tag+fmt.Sprint(i), "v")
	}
	m := c.Migrate(c.Slot(tag), to)
	if n := m.Move(4); n != 4 {
		t.Errorf("%d keys moved, want 4", n)
	}
	if n, err := from.Do("DBSIZE").AsInt64(); n != 6 {
		t.Errorf("%d keys left, want 6; %v", n, err)
	}
	if _, err := from.do("SET", tag+"new", "v"); err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
		t.Errorf("a new key on the node that the slot leaves: %v", err)
	}
	if _, err := to.do("SET", tag+"new", "v"); err == nil || !strings.HasPrefix(err.Error(), "MOVED ") {
		t.Errorf("without ASKING on the node that it goes to: %v", err)
	}
	m.Finish()
	if got := c.Owner(m.Slot); got != to {
		t.Errorf("%s owns the slot", got.Addr())
	}
	if n, err := to.Do("DBSIZE").AsInt64(); n != 10 {
		t.Errorf("%d keys arrived, want 10; %v", n, err)
	}

	to.Do("SET", tag+"again", "v")
	c.Migrate(m.Slot, from).Seize()
	for _, n := range []*RedisServer{from, to} {
		if left, err := n.Do("DBSIZE").AsInt64(); left != 0 {
			t.Errorf("%d keys after the slot was seized; %v", left, err)
		}
	}

	moved := c.Reshard(from, to, 20)
	for _, slot := range moved {
		if got := c.Owner(slot); got != to {
			t.Errorf("slot %d of %d is owned by %s", slot, len(moved), got.Addr())
		}
	}
}

func TestClusterAddMaster(t *testing.T) {
	t.Parallel()
	c := Cluster(t, 2)
	added := c.AddMaster()
	if owned := added.slotsOf(); len(owned) != 0 {
		t.Errorf("a new master owns %d slots", len(owned))
	}
	moved := c.Reshard(c.Nodes[0], added, 1)
	if got := c.Owner(moved[0]); got != added {
		t.Errorf("%s owns the slot that was moved", got.Addr())
	}
}
