package peer

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

const goredisModule = "github.com/redis/go-redis/v9"

var goredisPeers = []Peer{
	{ID: "goredis-get", Name: "go-redis, GET, not decoded", Module: goredisModule, Redis: true, Raw: true, Open: openGoredis(goredisUse{raw: true})},
	{ID: "goredis", Name: "go-redis, GET and SET", Module: goredisModule, Redis: true, Open: openGoredis(goredisUse{})},
	{ID: "goredis-cache", Name: "go-redis, GET and SET, client-side cache", Module: goredisModule, Redis: true, Open: openGoredis(goredisUse{cached: true})},
	{ID: "goredis-auto", Name: "go-redis, GET and SET, AutoPipeline", Module: goredisModule, Redis: true, Open: openGoredis(goredisUse{auto: true})},
}

// Both are experimental: AutoPipeline, and the cache that Redis keeps coherent.
type goredisUse struct{ raw, auto, cached bool }

type goredisClient struct {
	goredisUse
	client *redis.Client
	cmd    redis.Cmdable // the client, or what pipelines for it
	env    Env
}

func openGoredis(use goredisUse) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		client := newGoRedis(env)
		if use.cached {
			o := &redis.Options{Addr: env.Redis, ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: env.Capacity}}
			client = redis.NewClient(o)
		}
		c := &goredisClient{use, client, client, env}
		if use.auto {
			auto, err := client.AutoPipeline() // ends with the client
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			c.cmd = auto
		}
		return c, nil
	}
}

func (c *goredisClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	b, err := c.cmd.Get(ctx, key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return c.fill(ctx, key)
	case err != nil, c.raw:
		return nil, err
	}
	return record.Decode(b)
}

func (c *goredisClient) fill(ctx context.Context, key string) (*record.Todo, error) {
	t, err := c.env.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	b, err := record.Encode(t)
	if err != nil {
		return nil, err
	}
	if c.raw {
		t = nil
	}
	return t, c.cmd.Set(ctx, key, b, c.env.TTL).Err()
}

func (c *goredisClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cmd.Del(ctx, key).Err() })
}

func (c *goredisClient) Close() { _ = c.client.Close() }
