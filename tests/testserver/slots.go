package testserver

import "fmt"

// Slot is the slot of a key.
func (c *RedisCluster) Slot(key string) int {
	c.t.Helper()
	n, err := c.anyNode().Do("CLUSTER", "KEYSLOT", key).AsInt64()
	if err != nil {
		c.t.Fatal(err)
	}
	return int(n)
}

// Tags returns n hash tags of different slots that node owns: a key is in a
// tag's slot if the tag is in the key.
func (c *RedisCluster) Tags(node *RedisServer, n int) (tags []string) {
	c.t.Helper()
	owned := map[int]bool{}
	for _, slot := range node.slotsOf() {
		owned[slot] = true
	}
	for i := 0; len(tags) < n; i++ {
		if i > 100_000 {
			c.t.Fatalf("no %d slots of %s after %d tries", n, node.Addr(), i)
		}
		tag := fmt.Sprintf("{%d}", i)
		if slot := c.Slot(tag); owned[slot] {
			delete(owned, slot)
			tags = append(tags, tag)
		}
	}
	return tags
}

func (c *RedisCluster) anyNode() *RedisServer {
	c.t.Helper()
	for _, n := range c.Nodes {
		if n.up() {
			return n
		}
	}
	c.t.Fatal("no node of the cluster runs")
	return nil
}

// Owner is the node that owns a slot, once all nodes that run agree.
func (c *RedisCluster) Owner(slot int) *RedisServer {
	c.t.Helper()
	return c.owner(slot, fmt.Sprintf("all nodes agree on the owner of slot %d", slot), func(*RedisServer) bool { return true })
}

func (c *RedisCluster) owner(slot int, what string, ok func(*RedisServer) bool) (owner *RedisServer) {
	c.t.Helper()
	Eventually(c.t, startTimeout, what, func() bool {
		owner = nil
		for _, n := range c.Nodes {
			if !n.up() {
				continue
			}
			port, err := n.ownerPort(slot)
			if err != nil || owner != nil && owner.port != port {
				return false
			}
			for _, o := range c.Nodes {
				if o.port == port {
					owner = o
				}
			}
		}
		return owner != nil && ok(owner)
	})
	return owner
}

// ownerPort is the port of a slot's owner in this node's view, 0 if it has none.
func (s *RedisServer) ownerPort(slot int) (int, error) {
	for _, r := range s.slotRanges() {
		if r.from <= slot && slot <= r.to {
			return r.port, nil
		}
	}
	return 0, fmt.Errorf("nobody owns slot %d", slot)
}

// slotRange has the port of the owner, and the number of its replicas.
type slotRange struct{ from, to, port, replicas int }

// slotRanges are the slots and their owners in this node's view.
func (s *RedisServer) slotRanges() (ranges []slotRange) {
	res, err := s.do("CLUSTER", "SLOTS")
	if err != nil {
		return nil
	}
	list, _ := res.ToArray()
	for _, entry := range list {
		// [from, to, [host, port, id, ...] of the owner, ... of its replicas]
		e, err := entry.ToArray()
		if err != nil || len(e) < 3 {
			continue
		}
		from, _ := e[0].AsInt64()
		to, _ := e[1].AsInt64()
		node, err := e[2].ToArray()
		if err != nil || len(node) < 2 {
			continue
		}
		port, _ := node[1].AsInt64()
		ranges = append(ranges, slotRange{int(from), int(to), int(port), len(e) - 3})
	}
	return ranges
}

// slotsOf are the slots that a node owns by its own account.
func (s *RedisServer) slotsOf() (owned []int) {
	for _, r := range s.slotRanges() {
		for slot := r.from; slot <= r.to && r.port == s.port; slot++ {
			owned = append(owned, slot)
		}
	}
	return owned
}
