package peer

import (
	"context"

	"github.com/dtm-labs/rockscache"
	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

const rockscacheModule = "github.com/dtm-labs/rockscache"

var rockscachePeers = []Peer{
	{ID: "rockscache", Name: "rockscache", Module: rockscacheModule, Redis: true, Open: openRockscache(rockscacheUse{})},
	{ID: "rockscache-strong", Name: "rockscache, StrongConsistency", Module: rockscacheModule, Redis: true, Open: openRockscache(rockscacheUse{strong: true})},
	// As a handler of requests calls it: the context ends with the request, and
	// the refresh that rockscache has begun behind the answer with it.
	{ID: "rockscache-request", Name: "rockscache, with the context of a request", Module: rockscacheModule, Redis: true, Open: openRockscache(rockscacheUse{request: true})},
}

type rockscacheUse struct{ strong, request bool }

type rockscacheClient struct {
	rockscacheUse
	redis *redis.Client
	cache *rockscache.Client
	env   Env
}

func openRockscache(use rockscacheUse) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		o := rockscache.NewDefaultOptions()
		o.StrongConsistency = use.strong
		client := newGoRedis(env)
		return &rockscacheClient{use, client, rockscache.NewClient(client, o), env}, nil
	}
}

func (c *rockscacheClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if c.request {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
	}
	s, err := c.cache.Fetch2(ctx, key, c.env.TTL, func() (string, error) {
		t, err := c.env.Load(ctx, key)
		if err != nil {
			return "", err
		}
		b, err := record.Encode(t)
		return string(b), err
	})
	if err != nil {
		return nil, err
	}
	return record.Decode([]byte(s))
}

func (c *rockscacheClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.TagAsDeleted2(ctx, key) })
}

func (c *rockscacheClient) Close() { _ = c.redis.Close() }
