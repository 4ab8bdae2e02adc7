package peer

import (
	"context"
	"errors"

	"github.com/zeromicro/go-zero/core/collection"
	"github.com/zeromicro/go-zero/core/stores/cache"
	"github.com/zeromicro/go-zero/core/stores/redis"
	"github.com/zeromicro/go-zero/core/syncx"

	"github.com/asidecache/aside/bench/internal/record"
)

const gozeroModule = "github.com/zeromicro/go-zero"

var gozeroPeers = []Peer{
	{ID: "gozero", Name: "go-zero, stores/cache", Module: gozeroModule, Redis: true, Open: openGozero},
	{ID: "gozero-local", Name: "go-zero, collection.Cache", Module: gozeroModule, Open: openGozeroLocal},
}

var errGozeroNotFound = errors.New("go-zero: not found")

type gozeroClient struct {
	cache cache.Cache
	load  Loader
}

// openGozero makes what sqlc.NewNodeConn and monc have inside. Instances in one
// process share one go-redis client for an address, and it is never closed: so
// the library has it.
func openGozero(_ context.Context, env Env) (Client, error) {
	rds, err := redis.NewRedis(redis.RedisConf{Host: env.Redis, Type: redis.NodeType})
	if err != nil {
		return nil, err
	}
	return &gozeroClient{
		cache: cache.NewNode(rds, syncx.NewSingleFlight(), cache.NewStat("bench"), errGozeroNotFound, cache.WithExpiry(env.TTL)),
		load:  env.Load,
	}, nil
}

func (c *gozeroClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	t := new(record.Todo)
	err := c.cache.TakeCtx(ctx, t, key, func(v any) error {
		loaded, err := c.load(ctx, key)
		if err == nil {
			*v.(*record.Todo) = *loaded
		}
		return err
	})
	return t, err
}

func (c *gozeroClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.DelCtx(ctx, key) })
}

func (c *gozeroClient) Close() {}

type gozeroLocalClient struct {
	cache *collection.Cache
	load  Loader
}

func openGozeroLocal(_ context.Context, env Env) (Client, error) {
	c, err := collection.NewCache(env.TTL, collection.WithLimit(env.Capacity))
	if err != nil {
		return nil, err
	}
	return &gozeroLocalClient{c, env.Load}, nil
}

func (c *gozeroLocalClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	t, err := c.cache.Take(key, func() (any, error) { return c.load(ctx, key) })
	if err != nil {
		return nil, err
	}
	return t.(*record.Todo), nil
}

func (c *gozeroLocalClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Del(key); return nil })
}

func (c *gozeroLocalClient) Close() {}
