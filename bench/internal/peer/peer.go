// Package peer has every library that is measured, each used as its own
// documentation recommends, behind one interface: one file a library, one Peer
// for each way to use it. What all share: the record (record.Todo), its encoding
// where bytes are kept (record.Encode, JSON), the time to live, the capacity.
package peer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

// Loader reads one record from the primary.
type Loader func(ctx context.Context, key string) (*record.Todo, error)

// Env is what a client is given.
type Env struct {
	Redis    string // host:port, where Peer.Redis is set
	Load     Loader
	TTL      time.Duration
	Capacity int // entries that the tier in the process may keep
}

// Client is one instance of a library, as one process of an application has it.
// It is safe for concurrent use.
type Client interface {
	// Get reads one record, from the cache or else from the primary, in which
	// case it fills the cache. Nobody changes the record. A Peer that is Raw
	// returns nil.
	Get(ctx context.Context, key string) (*record.Todo, error)
	// Write runs commit, which changes the record in the primary and returns
	// what it holds now, and makes the cache know, by the library's own means.
	Write(ctx context.Context, key string, commit Commit) error
	Close()
}

// Commit changes a record in the primary.
type Commit func(ctx context.Context) (*record.Todo, error)

// Checker is a Client that can tell that it could not work as it should: then
// what was measured is no figure.
type Checker interface{ Check() error }

// Waiter is a Client whose writes to its own memory take effect later.
type Waiter interface{ Wait() }

// Peer is one library, used in one way.
type Peer struct {
	ID     string // for the command line
	Name   string // for the tables
	Module string // whose version is shown; empty for the standard library
	Redis  bool   // it needs one
	Raw    bool   // it returns bytes and decodes nothing
	Open   func(ctx context.Context, env Env) (Client, error)
}

// All lists the peers; Floor is none.
func All() []Peer {
	return slices.Concat(asidePeers, otterPeers, ristrettoPeers, theinePeers, lruPeers, standardPeers,
		sturdycPeers, gozeroPeers, gocachePeers, jetcachePeers, redisCachePeers,
		rueidisPeers, rueidisasidePeers, goredisPeers, rockscachePeers)
}

// Find returns the peer with that ID.
func Find(id string) (Peer, error) {
	all := append(All(), Floor)
	if i := slices.IndexFunc(all, func(p Peer) bool { return p.ID == id }); i >= 0 {
		return all[i], nil
	}
	return Peer{}, fmt.Errorf("no peer %q", id)
}

const module = "github.com/asidecache/aside"

// newGoRedis makes a go-redis client with its default options, for the libraries
// that stand on it.
func newGoRedis(env Env) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: env.Redis})
}

// committed runs commit and then, if it succeeded, invalidate: cache-aside as
// every library but aside has it.
func committed(ctx context.Context, commit Commit, invalidate func() error) error {
	if _, err := commit(ctx); err != nil {
		return err
	}
	return invalidate()
}
