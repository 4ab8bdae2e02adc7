package peer

import (
	"context"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/asidecache/aside/bench/internal/record"
)

var lruPeers = []Peer{
	{ID: "lru", Name: "golang-lru, expirable", Module: "github.com/hashicorp/golang-lru/v2", Open: openLRU},
}

type lruClient struct {
	cache *expirable.LRU[string, *record.Todo]
	load  Loader
}

func openLRU(_ context.Context, env Env) (Client, error) {
	return &lruClient{expirable.NewLRU[string, *record.Todo](env.Capacity, nil, env.TTL), env.Load}, nil
}

func (c *lruClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, ok := c.cache.Get(key); ok {
		return t, nil
	}
	t, err := c.load(ctx, key)
	if err == nil {
		c.cache.Add(key, t)
	}
	return t, err
}

func (c *lruClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Remove(key); return nil })
}

// Close drops the entries; the goroutine that looks for expired ones has no end.
func (c *lruClient) Close() { c.cache.Purge() }
