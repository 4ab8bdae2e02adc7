package testserver

import (
	"strings"
	"time"
)

// Replicas are the replicas of a node that run.
func (c *RedisCluster) Replicas(of *RedisServer) (replicas []*RedisServer) {
	for _, n := range c.Nodes {
		if !n.up() {
			continue
		}
		is, err := n.info("replication")
		if err == nil && is["role"] == "slave" && strings.HasSuffix(of.Addr(), ":"+is["master_port"]) {
			replicas = append(replicas, n)
		}
	}
	return replicas
}

// FailOver kills a master and returns its replica that has taken its place, in
// the eyes of every node that runs.
func (c *RedisCluster) FailOver(master *RedisServer) *RedisServer {
	c.t.Helper()
	owned := master.slotsOf()
	if len(owned) == 0 {
		c.t.Fatalf("%s owns no slot", master.Addr())
	}
	master.Kill()
	return c.Promoted(master, owned[0])
}

// Promoted waits until another node than old owns the slot.
func (c *RedisCluster) Promoted(old *RedisServer, slot int) *RedisServer {
	c.t.Helper()
	owner := c.owner(slot, "a replica has taken over from "+old.Addr(), func(n *RedisServer) bool {
		return n != old && n.up() && n.isMaster()
	})
	c.settled()
	return owner
}

// HandOver makes a replica the master while its master lives (CLUSTER
// FAILOVER), as for an upgrade, and returns when every node knows. No
// acknowledged write is lost, and the old master becomes a replica.
func (c *RedisCluster) HandOver(replica *RedisServer) {
	c.t.Helper()
	old := c.masterOf(replica)
	slot := old.slotsOf()[0]
	var asked time.Time
	Eventually(c.t, startTimeout, replica.Addr()+" is a master", func() bool {
		// An attempt ends after five seconds. It fails while the other masters
		// still remember a vote for these slots, for two node time-outs.
		if time.Since(asked) > 6*time.Second {
			if _, err := replica.do("CLUSTER", "FAILOVER"); err == nil {
				asked = time.Now()
			}
		}
		return replica.isMaster()
	})
	c.Promoted(old, slot)
	old.InStep(replica)
}

func (c *RedisCluster) masterOf(replica *RedisServer) *RedisServer {
	c.t.Helper()
	is := replica.Info("replication")
	for _, n := range c.Nodes {
		if is["role"] == "slave" && strings.HasSuffix(n.Addr(), ":"+is["master_port"]) {
			return n
		}
	}
	c.t.Fatalf("%s is no replica", replica.Addr())
	return nil
}

// Rejoin starts a node that was killed, and returns when it is in step with the
// node that took its place.
func (c *RedisCluster) Rejoin(node *RedisServer) {
	c.t.Helper()
	node.Restart()
	Eventually(c.t, startTimeout, node.Addr()+" is a replica", func() bool {
		is, err := node.info("replication")
		return err == nil && is["role"] == "slave"
	})
	node.InStep(c.masterOf(node))
	c.settled()
}
