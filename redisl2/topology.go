package redisl2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// topology is what the servers of a cluster say of who owns which slots.
//
// The owner of a slot tells its readers of changes, and a slot that goes to
// another server takes nothing with it of who has read what. The old owner
// reports each key that MIGRATE takes away. But one that CLUSTER FAILOVER made a
// replica reports from then on what its master tells it, when it does, and in
// Redis 7.0 one that lost a slot and the keys with it (CLUSTER SETSLOT) says nothing
// (later versions, and Valkey, report those). So the owners are asked, and whenever
// one has changed its mind, nothing read before is trusted. Each one counts: until the
// old owner knows, it answers reads.
type topology struct {
	mu      sync.Mutex
	slots   map[string]string   // by an owner's id: who owns which slots, as it said last
	owners  map[string][]string // the addresses of each owner, by its id
	moved   int                 // how often an owner has changed its mind
	masters []string            // the addresses of all masters, as one of them said last
	ids     []string            // of owners, by the numbers in bySlot, less one

	bySlot atomic.Pointer[slotOwners] // as one of them said last; nil if nobody was asked
}

// look is what the owners answered.
type look struct {
	owners  map[string]rueidis.Client // by id
	missing error                     // owners that did not answer
	moving  bool                      // slots are on their way from one to another
	moved   int
}

// ask asks servers for their account of the cluster.
func (t *topology) ask(ctx context.Context, servers map[string]rueidis.Client) look {
	var (
		mu       sync.Mutex
		running  sync.WaitGroup
		accounts []clusterNodes
		failed   []error
		l        = look{owners: map[string]rueidis.Client{}}
		owners   = map[string][]string{}
	)
	for addr, n := range servers {
		running.Go(func() {
			text, err := n.Do(ctx, n.B().ClusterNodes().Build()).ToString()
			a := readClusterNodes(text)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", addr, err))
				return
			}
			accounts = append(accounts, a)
			l.moving = l.moving || a.moving
			l.owners[a.id] = n
			maps.Copy(owners, a.owners)
		})
	}
	running.Wait()

	stranger := func(id string) bool { _, ok := owners[id]; return !ok }
	maps.DeleteFunc(l.owners, func(id string, _ rueidis.Client) bool { return stranger(id) })
	switch {
	case len(accounts) == 0:
		l.missing = fmt.Errorf("redisl2: no server of the cluster answers: %w", errors.Join(failed...))
	case len(l.owners) < len(owners):
		l.missing = fmt.Errorf("redisl2: %d of the %d masters do not answer: %w", len(owners)-len(l.owners), len(owners), errors.Join(failed...))
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range accounts {
		if old, ok := t.slots[a.id]; ok && old != a.slots {
			t.moved++
		}
		if t.slots == nil {
			t.slots = map[string]string{}
		}
		if t.slots[a.id] != a.slots {
			t.bySlot.Store(readSlots(a.slots))
			t.ids = a.ids()
		}
		t.slots[a.id] = a.slots
	}
	if len(accounts) > 0 {
		t.owners = owners
		t.masters = accounts[0].masters
		maps.DeleteFunc(t.slots, func(id, _ string) bool { return stranger(id) })
	}
	l.moved = t.moved
	return l
}

// known returns those of the servers that owned slots when they were asked last.
// If one had an address that rueidis does not know it by, or nobody has been
// asked yet, it could be any of them.
func (t *topology) known(servers map[string]rueidis.Client) map[string]rueidis.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := map[string]rueidis.Client{}
	for _, addrs := range t.owners {
		found := false
		for _, addr := range addrs {
			if n, ok := servers[addr]; ok {
				known[addr], found = n, true
			}
		}
		if !found {
			return servers
		}
	}
	if len(known) == 0 {
		return servers
	}
	return known
}

// of returns the addresses of the servers that have the keys, as one of them said
// last; all of them, if that is not known.
func (t *topology) of(keys, all []string) (addrs []string) {
	slots := t.bySlot.Load()
	if slots == nil {
		return all
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		n := int(slots[slot(k)])
		if n == 0 || n > len(t.ids) {
			return all
		}
		found := false
		for _, addr := range t.owners[t.ids[n-1]] {
			if slices.Contains(all, addr) {
				found = true
				if !slices.Contains(addrs, addr) {
					addrs = append(addrs, addr)
				}
			}
		}
		if !found {
			return all
		}
	}
	return addrs
}

// learn asks for the first time. Any server knows the owners.
func (t *topology) learn(ctx context.Context, c rueidis.Client) {
	if text, err := c.Do(ctx, c.B().ClusterNodes().Build()).ToString(); err == nil {
		t.mu.Lock()
		t.owners = readClusterNodes(text).owners
		t.mu.Unlock()
	}
	t.ask(ctx, t.known(c.Nodes()))
}

// watchSlots tells the watchers within SilenceTimeout that slots have other owners.
func (s *Store) watchSlots(c rueidis.Client) {
	every := s.opt.ConnWriteTimeout // half of it
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for moved := 0; ; {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, every)
		l := s.topology.ask(ctx, s.topology.known(c.Nodes()))
		cancel()
		s.admitAhead()
		s.refusedOne(l.missing)
		if l.moved != moved {
			moved = l.moved
			s.log.Debug("slots of the cluster have other owners, L1 is emptied")
			s.watch.lost()
		}
	}
}
