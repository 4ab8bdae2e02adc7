package peer

import (
	"context"

	"github.com/Yiling-J/theine-go"

	"github.com/asidecache/aside/bench/internal/record"
)

const theineModule = "github.com/Yiling-J/theine-go"

var theinePeers = []Peer{
	{ID: "theine", Name: "theine, Get", Module: theineModule, Open: openTheine},
	{ID: "theine-loader", Name: "theine, loading cache", Module: theineModule, Open: openTheineLoader},
}

type theineClient struct {
	cache *theine.Cache[string, *record.Todo]
	env   Env
}

func openTheine(_ context.Context, env Env) (Client, error) {
	cache, err := theine.NewBuilder[string, *record.Todo](int64(env.Capacity)).Build()
	if err != nil {
		return nil, err
	}
	return &theineClient{cache, env}, nil
}

func (c *theineClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, ok := c.cache.Get(key); ok {
		return t, nil
	}
	t, err := c.env.Load(ctx, key)
	if err == nil {
		c.cache.SetWithTTL(key, t, 1, c.env.TTL)
	}
	return t, err
}

func (c *theineClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Delete(key); return nil })
}

func (c *theineClient) Wait() { c.cache.Wait() }

func (c *theineClient) Close() { c.cache.Close() }

type theineLoadingClient struct {
	cache *theine.LoadingCache[string, *record.Todo]
}

func openTheineLoader(_ context.Context, env Env) (Client, error) {
	cache, err := theine.NewBuilder[string, *record.Todo](int64(env.Capacity)).Loading(
		func(ctx context.Context, key string) (theine.Loaded[*record.Todo], error) {
			t, err := env.Load(ctx, key)
			return theine.Loaded[*record.Todo]{Value: t, Cost: 1, TTL: env.TTL}, err
		}).Build()
	if err != nil {
		return nil, err
	}
	return &theineLoadingClient{cache}, nil
}

func (c *theineLoadingClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	return c.cache.Get(ctx, key)
}

func (c *theineLoadingClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Delete(key); return nil })
}

func (c *theineLoadingClient) Wait() { c.cache.Wait() }

func (c *theineLoadingClient) Close() { c.cache.Close() }
