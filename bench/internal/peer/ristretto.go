package peer

import (
	"context"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/asidecache/aside/bench/internal/record"
)

var ristrettoPeers = []Peer{
	{ID: "ristretto", Name: "ristretto, Get", Module: "github.com/dgraph-io/ristretto/v2", Open: openRistretto},
}

type ristrettoClient struct {
	cache *ristretto.Cache[string, *record.Todo]
	env   Env
}

// newRistretto makes a cache that counts entries rather than bytes.
func newRistretto[V any](env Env) (*ristretto.Cache[string, V], error) {
	return ristretto.NewCache(&ristretto.Config[string, V]{
		NumCounters:        10 * int64(env.Capacity),
		MaxCost:            int64(env.Capacity),
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
}

func openRistretto(_ context.Context, env Env) (Client, error) {
	cache, err := newRistretto[*record.Todo](env)
	if err != nil {
		return nil, err
	}
	return &ristrettoClient{cache, env}, nil
}

func (c *ristrettoClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, ok := c.cache.Get(key); ok {
		return t, nil
	}
	t, err := c.env.Load(ctx, key)
	if err == nil {
		c.cache.SetWithTTL(key, t, 1, c.env.TTL)
	}
	return t, err
}

func (c *ristrettoClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Del(key); return nil })
}

// Wait: sets are buffered, and dropped where the buffer is full.
func (c *ristrettoClient) Wait() { c.cache.Wait() }

func (c *ristrettoClient) Close() { c.cache.Close() }
