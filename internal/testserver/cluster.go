package testserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const slots = 16384

// RedisCluster is a Redis Cluster of masters without replicas.
type RedisCluster struct {
	Nodes []*RedisServer
}

// Cluster starts n masters that share the slots evenly, and returns when every
// node knows every slot. args are further arguments of each redis-server.
func Cluster(t testing.TB, n int, args ...string) *RedisCluster {
	t.Helper()
	if n < 1 {
		t.Fatalf("testserver.Cluster: %d nodes", n)
	}
	c := &RedisCluster{}
	for range n {
		c.Nodes = append(c.Nodes, clusterNode(t, args))
	}
	for i, node := range c.Nodes {
		// Distinct epochs, or the nodes first have to settle who owns what.
		node.Do("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		node.Do("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*slots/n), fmt.Sprint((i+1)*slots/n-1))
		if i > 0 {
			node.Do("CLUSTER", "MEET", "127.0.0.1", fmt.Sprint(c.Nodes[0].port), c.Nodes[0].busPort())
		}
	}
	Eventually(t, startTimeout, "every cluster node knows every slot", func() bool {
		for _, node := range c.Nodes {
			info, err := node.do("CLUSTER", "INFO")
			if err != nil {
				return false
			}
			text, err := info.ToString()
			if err != nil || !strings.Contains(text, "cluster_state:ok") ||
				!strings.Contains(text, fmt.Sprintf("cluster_known_nodes:%d\r", n)) ||
				!strings.Contains(text, fmt.Sprintf("cluster_slots_ok:%d\r", slots)) {
				return false
			}
		}
		return true
	})
	return c
}

// clusterNode starts a node whose bus port was looked for like its own port:
// the default, port + 10000, lies where outgoing connections are.
func clusterNode(t testing.TB, args []string) *RedisServer {
	t.Helper()
	bus, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return Redis(t, append([]string{
		"--cluster-enabled", "yes",
		"--cluster-port", fmt.Sprint(bus),
		"--cluster-node-timeout", "2000",
	}, args...)...)
}

func (s *RedisServer) busPort() string {
	return s.args[slices.Index(s.args, "--cluster-port")+1]
}

// Addrs are the nodes' addresses.
func (c *RedisCluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}
