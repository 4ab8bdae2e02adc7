package peer

import (
	"context"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"

	"github.com/asidecache/aside/bench/internal/record"
)

const rueidisasideModule = "github.com/redis/rueidis/rueidisaside"

var rueidisasidePeers = []Peer{
	{ID: "rueidisaside", Name: "rueidisaside", Module: rueidisasideModule, Redis: true, Open: openRueidisaside(false)},
	// Without its cache a client is not told when another one has loaded, so this
	// one is for hits only.
	{ID: "rueidisaside-l2", Name: "rueidisaside, without its client cache", Module: rueidisasideModule, Redis: true, Open: openRueidisaside(true)},
}

type rueidisasideClient struct {
	under rueidisaside.CacheAsideClient
	typed rueidisaside.TypedCacheAsideClient[record.Todo]
	env   Env
}

func openRueidisaside(uncached bool) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		o := rueidisOptions(env)
		o.DisableCache = uncached
		under, err := rueidisaside.NewClient(rueidisaside.ClientOption{ClientOption: o})
		if err != nil {
			return nil, err
		}
		typed := rueidisaside.NewTypedCacheAsideClient(under,
			func(t *record.Todo) (string, error) {
				b, err := record.Encode(t)
				return rueidis.BinaryString(b), err
			},
			func(s string) (*record.Todo, error) { return record.Decode([]byte(s)) })
		return &rueidisasideClient{under, typed, env}, nil
	}
}

func (c *rueidisasideClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	return c.typed.Get(ctx, c.env.TTL, key, c.env.Load)
}

func (c *rueidisasideClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.typed.Del(ctx, key) })
}

func (c *rueidisasideClient) Close() { c.under.Close() }
