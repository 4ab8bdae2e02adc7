package testserver

import "fmt"

// Migration is the move of one slot between two masters while clients use it, in
// the steps that redis-cli --cluster reshard takes.
type Migration struct {
	Slot     int
	From, To *RedisServer
	c        *RedisCluster
}

// Migrate begins to move a slot: its keys stay where they are, but keys that do
// not exist there are looked for, and made, on the node that it moves to (ASK).
func (c *RedisCluster) Migrate(slot int, to *RedisServer) *Migration {
	c.t.Helper()
	m := &Migration{Slot: slot, From: c.Owner(slot), To: to, c: c}
	if m.From == to {
		c.t.Fatalf("slot %d is on %s already", slot, to.Addr())
	}
	m.setSlot(to, "IMPORTING", m.From)
	m.setSlot(m.From, "MIGRATING", to)
	return m
}

// Move moves up to n of the slot's keys, and returns how many it found.
func (m *Migration) Move(n int) (moved int) {
	m.c.t.Helper()
	keys, err := m.From.Do("CLUSTER", "GETKEYSINSLOT", fmt.Sprint(m.Slot), fmt.Sprint(n)).AsStrSlice()
	if err != nil {
		m.c.t.Fatal(err)
	}
	if len(keys) > 0 {
		host, port := hostPort(m.To.Addr())
		m.From.Do(append([]string{"MIGRATE", host, port, "", "0", "10000", "KEYS"}, keys...)...)
	}
	return len(keys)
}

// Finish moves the keys that are left, and makes the other node the slot's
// owner on every node.
func (m *Migration) Finish() {
	m.c.t.Helper()
	for m.Move(100) > 0 {
	}
	m.setSlot(m.To, "NODE", m.To) // first: if it failed now, nothing would be lost
	m.setSlot(m.From, "NODE", m.To)
	for _, n := range m.c.Nodes {
		if n != m.From && n != m.To && n.up() && n.isMaster() {
			m.setSlot(n, "NODE", m.To)
		}
	}
}

// Seize makes the other node the slot's owner without the keys that are left:
// the node that had them drops them once it hears of it.
func (m *Migration) Seize() {
	m.c.t.Helper()
	m.setSlot(m.To, "NODE", m.To)
	m.c.owner(m.Slot, "every node knows the new owner", func(n *RedisServer) bool { return n == m.To })
}

func (m *Migration) setSlot(at *RedisServer, what string, node *RedisServer) {
	m.c.t.Helper()
	at.Do("CLUSTER", "SETSLOT", fmt.Sprint(m.Slot), what, node.clusterID())
}

// Reshard moves n of a master's slots to another, one after the other, and
// returns them.
func (c *RedisCluster) Reshard(from, to *RedisServer, n int) []int {
	c.t.Helper()
	owned := from.slotsOf()
	if len(owned) < n {
		c.t.Fatalf("%s has %d slots, not %d", from.Addr(), len(owned), n)
	}
	for _, slot := range owned[:n] {
		c.Migrate(slot, to).Finish()
	}
	return owned[:n]
}
