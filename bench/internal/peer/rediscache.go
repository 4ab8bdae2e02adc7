package peer

import (
	"context"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

const redisCacheModule = "github.com/go-redis/cache/v9"

var redisCachePeers = []Peer{
	{ID: "redis-cache", Name: "go-redis/cache", Module: redisCacheModule, Redis: true, Open: openRedisCache(redisCacheUse{redis: true})},
	{ID: "redis-cache-both", Name: "go-redis/cache, with TinyLFU", Module: redisCacheModule, Redis: true, Open: openRedisCache(redisCacheUse{redis: true, local: true})},
	{ID: "redis-cache-local", Name: "go-redis/cache, TinyLFU alone", Module: redisCacheModule, Open: openRedisCache(redisCacheUse{local: true})},
}

type redisCacheUse struct{ redis, local bool }

type redisCacheClient struct {
	cache *cache.Cache
	redis *redis.Client
	env   Env
}

func openRedisCache(use redisCacheUse) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		c := &redisCacheClient{env: env}
		o := &cache.Options{
			Marshal:   func(v any) ([]byte, error) { return record.Encode(v.(*record.Todo)) },
			Unmarshal: func(b []byte, v any) (err error) { *v.(**record.Todo), err = record.Decode(b); return err },
		}
		if use.redis {
			c.redis = newGoRedis(env)
			o.Redis = c.redis
		}
		if use.local {
			o.LocalCache = cache.NewTinyLFU(env.Capacity, env.TTL)
		}
		c.cache = cache.New(o)
		return c, nil
	}
}

func (c *redisCacheClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	var t *record.Todo
	err := c.cache.Once(&cache.Item{
		Ctx: ctx, Key: key, Value: &t, TTL: c.env.TTL,
		Do: func(*cache.Item) (any, error) { return c.env.Load(ctx, key) },
	})
	return t, err
}

func (c *redisCacheClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.Delete(ctx, key) })
}

func (c *redisCacheClient) Close() {
	if c.redis != nil {
		_ = c.redis.Close()
	}
}
