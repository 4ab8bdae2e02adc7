package testserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const slots = 16384

// RedisCluster is a Redis Cluster. Its nodes notice the death of one after two
// seconds.
type RedisCluster struct {
	t testing.TB

	// Nodes are the masters, then the first replica of each, then the second.
	Nodes []*RedisServer

	args []string
}

// Cluster starts n masters that share the slots evenly, and returns when every
// node knows every slot. args are further arguments of each redis-server.
func Cluster(t testing.TB, n int, args ...string) *RedisCluster {
	t.Helper()
	return ClusterWithReplicas(t, n, 0, args...)
}

// ClusterWithReplicas is Cluster with so many replicas of each master, which are
// in step when it returns. A replica may take its master's place however far it
// lags.
func ClusterWithReplicas(t testing.TB, masters, replicas int, args ...string) *RedisCluster {
	t.Helper()
	if masters < 1 || replicas < 0 {
		t.Fatalf("testserver.ClusterWithReplicas: %d masters, %d replicas", masters, replicas)
	}
	c := &RedisCluster{t: t, args: args}
	for i := range masters * (1 + replicas) {
		node := c.addNode()
		if i < masters {
			node.Do("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slots/masters), fmt.Sprint((i+1)*slots/masters-1))
		}
	}
	c.settled()
	for i, node := range c.Nodes[masters:] {
		master := c.Nodes[i%masters]
		node.Do("CLUSTER", "REPLICATE", master.clusterID())
	}
	for i, node := range c.Nodes[masters:] {
		node.InStep(c.Nodes[i%masters])
	}
	Eventually(t, startTimeout, "every cluster node tells clients of the replicas", func() bool {
		for _, node := range c.Nodes {
			for _, r := range node.slotRanges() {
				if r.replicas != replicas {
					return false
				}
			}
		}
		return true
	})
	return c
}

// AddMaster adds a master without slots.
func (c *RedisCluster) AddMaster() *RedisServer {
	c.t.Helper()
	node := c.addNode()
	c.settled()
	return node
}

// addNode starts a node whose bus port was looked for like its own port: the
// default, port + 10000, lies where outgoing connections are. The nodes there
// are hear of it.
func (c *RedisCluster) addNode() *RedisServer {
	c.t.Helper()
	bus, err := freePort()
	if err != nil {
		c.t.Fatal(err)
	}
	node := Redis(c.t, append([]string{
		"--cluster-enabled", "yes",
		"--cluster-port", fmt.Sprint(bus),
		"--cluster-node-timeout", "2000",
		"--cluster-replica-validity-factor", "0",
		"--repl-diskless-sync-delay", "0",
		"--repl-ping-replica-period", "1", // clients are told of a replica once something was replicated
	}, c.args...)...)
	// Distinct epochs, or the nodes first have to settle who owns what.
	node.Do("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(len(c.Nodes)+1))
	for _, other := range c.Nodes {
		node.Do("CLUSTER", "MEET", "127.0.0.1", fmt.Sprint(other.port), other.busPort())
	}
	c.Nodes = append(c.Nodes, node)
	return node
}

func (s *RedisServer) busPort() string {
	return s.args[slices.Index(s.args, "--cluster-port")+1]
}

func (s *RedisServer) clusterID() string {
	s.t.Helper()
	id, err := s.Do("CLUSTER", "MYID").ToString()
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// settled waits until every node that runs knows every other, and an owner that
// runs for every slot.
func (c *RedisCluster) settled() {
	c.t.Helper()
	Eventually(c.t, startTimeout, "every cluster node knows every slot", func() bool {
		for _, node := range c.Nodes {
			if !node.up() {
				continue
			}
			res, err := node.do("CLUSTER", "INFO")
			if err != nil {
				return false
			}
			text, err := res.ToString()
			is := fields(strings.TrimPrefix(text, "txt:"))
			if err != nil || is["cluster_state"] != "ok" || is["cluster_slots_ok"] != fmt.Sprint(slots) ||
				is["cluster_known_nodes"] != fmt.Sprint(len(c.Nodes)) {
				return false
			}
		}
		return true
	})
}

// Addrs are the nodes' addresses.
func (c *RedisCluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// URL is a URL for redisl2 that names every node.
func (c *RedisCluster) URL() string {
	addrs := c.Addrs()
	if len(addrs) == 1 {
		return address(c.t, addrs[0])
	}
	return address(c.t, addrs[0]) + "?addr=" + strings.Join(addrs[1:], "&addr=")
}
