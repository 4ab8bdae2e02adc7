package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
)

// staleTTL bounds how long a stale entry can stay; longer than a run, so that no
// expiry makes up for a lost invalidation.
const staleTTL = time.Minute

// nodes are several clients of one peer, as several processes have them, in
// front of one primary.
type nodes struct {
	primary *record.Primary
	clients []peer.Client
}

// openNodes opens n clients. A peer without Redis has one: nothing joins several.
func openNodes(ctx context.Context, id, redis string, n int, primary *record.Primary) (*nodes, error) {
	p, err := peer.Find(id)
	if err != nil {
		return nil, err
	}
	if p.Raw {
		return nil, fmt.Errorf("%s does not decode, so nobody can tell what it returns", id)
	}
	if !p.Redis {
		n = 1
	}
	ns := &nodes{primary: primary}
	for range n {
		c, err := p.Open(ctx, peer.Env{Redis: redis, Load: primary.Load, TTL: staleTTL, Capacity: 10_000})
		if err != nil {
			ns.close()
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		ns.clients = append(ns.clients, c)
	}
	return ns, nil
}

func (ns *nodes) close() {
	for _, c := range ns.clients {
		c.Close()
	}
}

// write changes key's record by way of one client.
func (ns *nodes) write(ctx context.Context, c peer.Client, key string) (version int64, err error) {
	err = c.Write(ctx, key, func(context.Context) (*record.Todo, error) {
		t := ns.primary.Commit(key)
		version = t.Version
		return t, nil
	})
	return version, err
}

// check returns what the first client that has something to say says.
func (ns *nodes) check() string {
	for _, c := range ns.clients {
		if c, ok := c.(peer.Checker); ok {
			if err := c.Check(); err != nil {
				return err.Error()
			}
		}
	}
	return ""
}
