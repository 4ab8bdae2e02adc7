package peer

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"

	"github.com/asidecache/aside/bench/internal/record"
)

const sturdycModule = "github.com/viccon/sturdyc"

var sturdycPeers = []Peer{
	{ID: "sturdyc-get", Name: "sturdyc, Get", Module: sturdycModule, Open: openSturdyc(sturdycUse{})},
	{ID: "sturdyc", Name: "sturdyc, GetOrFetch", Module: sturdycModule, Open: openSturdyc(sturdycUse{fetch: true})},
	{ID: "sturdyc-redis", Name: "sturdyc, GetOrFetch, distributed storage", Module: sturdycModule, Redis: true,
		Open: openSturdyc(sturdycUse{fetch: true, redis: true})},
}

type sturdycUse struct{ fetch, redis bool }

type sturdycClient struct {
	sturdycUse
	cache   *sturdyc.Client[*record.Todo]
	storage *sturdycStorage
	load    Loader
}

func openSturdyc(use sturdycUse) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		c := &sturdycClient{sturdycUse: use, load: env.Load}
		// Shards and percentage are those of its documentation. Nothing expires
		// while it is measured, and the job that looks for it could not be ended.
		o := []sturdyc.Option{sturdyc.WithNoContinuousEvictions()}
		if use.redis {
			c.storage = &sturdycStorage{newGoRedis(env), env}
			o = append(o, sturdyc.WithDistributedStorage(c.storage))
		}
		c.cache = sturdyc.New[*record.Todo](env.Capacity, 10, env.TTL, 10, o...)
		return c, nil
	}
}

func (c *sturdycClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if c.fetch {
		return c.cache.GetOrFetch(ctx, key, func(ctx context.Context) (*record.Todo, error) { return c.load(ctx, key) })
	}
	if t, ok := c.cache.Get(key); ok {
		return t, nil
	}
	t, err := c.load(ctx, key)
	if err == nil {
		c.cache.Set(key, t)
	}
	return t, err
}

// Write: the storage is the application's to invalidate. It goes first, or a
// read in between would bring the old record back into memory.
func (c *sturdycClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error {
		var err error
		if c.storage != nil {
			err = c.storage.client.Del(ctx, key).Err()
		}
		c.cache.Delete(key)
		return err
	})
}

func (c *sturdycClient) Close() {
	if c.storage != nil {
		_ = c.storage.client.Close()
	}
}

// sturdycStorage is the interface that sturdyc has its users implement. Failures
// are misses there.
type sturdycStorage struct {
	client *redis.Client
	env    Env
}

func (s *sturdycStorage) Get(ctx context.Context, key string) ([]byte, bool) {
	b, err := s.client.Get(ctx, key).Bytes()
	return b, err == nil
}

func (s *sturdycStorage) Set(ctx context.Context, key string, value []byte) {
	s.client.Set(ctx, key, value, s.env.TTL)
}

func (s *sturdycStorage) GetBatch(ctx context.Context, keys []string) map[string][]byte {
	found := map[string][]byte{}
	for _, k := range keys {
		if b, ok := s.Get(ctx, k); ok {
			found[k] = b
		}
	}
	return found
}

func (s *sturdycStorage) SetBatch(ctx context.Context, records map[string][]byte) {
	for k, b := range records {
		s.Set(ctx, k, b)
	}
}
