package peer

import (
	"context"
	"errors"

	"github.com/dgraph-io/ristretto/v2"
	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	ristrettostore "github.com/eko/gocache/store/ristretto/v4"
	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

const gocacheModule = "github.com/eko/gocache/lib/v4"

var gocachePeers = []Peer{
	{ID: "gocache-local", Name: "eko/gocache over ristretto", Module: gocacheModule, Open: openGocacheLocal},
	{ID: "gocache", Name: "eko/gocache, loadable over Redis", Module: gocacheModule, Redis: true, Open: openGocache(false)},
	{ID: "gocache-chain", Name: "eko/gocache, loadable over a chain of ristretto and Redis", Module: gocacheModule, Redis: true, Open: openGocache(true)},
}

type gocacheLocalClient struct {
	ristretto *ristretto.Cache[string, *record.Todo]
	cache     *cache.Cache[*record.Todo]
	load      Loader
}

func openGocacheLocal(_ context.Context, env Env) (Client, error) {
	r, err := newRistretto[*record.Todo](env)
	if err != nil {
		return nil, err
	}
	s := ristrettostore.NewRistretto(r, store.WithExpiration(env.TTL), store.WithCost(1))
	return &gocacheLocalClient{r, cache.New[*record.Todo](s), env.Load}, nil
}

func (c *gocacheLocalClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, err := c.cache.Get(ctx, key); err == nil {
		return t, nil
	}
	t, err := c.load(ctx, key)
	if err == nil {
		// ristretto may refuse it, which gocache reports as an error.
		_ = c.cache.Set(ctx, key, t)
	}
	return t, err
}

func (c *gocacheLocalClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.Delete(ctx, key) })
}

func (c *gocacheLocalClient) Wait() { c.ristretto.Wait() }

func (c *gocacheLocalClient) Close() { c.ristretto.Close() }

type gocacheClient struct {
	redis     *redis.Client
	ristretto *ristretto.Cache[string, []byte] // nil without a chain
	chain     *cache.ChainCache[[]byte]        // the same
	cache     *cache.LoadableCache[[]byte]
}

func openGocache(chain bool) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		c := &gocacheClient{redis: newGoRedis(env)}
		remote := cache.New[[]byte](redisstore.NewRedis(c.redis, store.WithExpiration(env.TTL)))
		var under cache.CacheInterface[[]byte] = remote
		if chain {
			var err error
			if c.ristretto, err = newRistretto[[]byte](env); err != nil {
				return nil, err
			}
			local := cache.New[[]byte](ristrettostore.NewRistretto(c.ristretto, store.WithExpiration(env.TTL), store.WithCost(1)))
			c.chain = cache.NewChain[[]byte](local, remote)
			under = c.chain
		}
		c.cache = cache.NewLoadable(func(ctx context.Context, key any) ([]byte, []store.Option, error) {
			t, err := env.Load(ctx, key.(string))
			if err != nil {
				return nil, nil, err
			}
			b, err := record.Encode(t)
			return b, nil, err
		}, under)
		return c, nil
	}
}

func (c *gocacheClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	b, err := c.cache.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return record.Decode(b)
}

func (c *gocacheClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.Delete(ctx, key) })
}

func (c *gocacheClient) Wait() {
	if c.ristretto != nil {
		c.ristretto.Wait()
	}
}

func (c *gocacheClient) Close() {
	err := c.cache.Close()
	if c.chain != nil {
		err = errors.Join(err, c.chain.Close())
		c.ristretto.Close()
	}
	_ = errors.Join(err, c.redis.Close())
}
