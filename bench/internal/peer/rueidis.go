package peer

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/bench/internal/record"
)

const rueidisModule = "github.com/redis/rueidis"

var rueidisPeers = []Peer{
	{ID: "rueidis-get", Name: "rueidis, GET, not decoded", Module: rueidisModule, Redis: true, Raw: true, Open: openRueidis(rueidisUse{raw: true})},
	{ID: "rueidis", Name: "rueidis, GET and SET", Module: rueidisModule, Redis: true, Open: openRueidis(rueidisUse{})},
	{ID: "rueidis-flush20", Name: "rueidis, GET and SET, MaxFlushDelay 20µs", Module: rueidisModule, Redis: true,
		Open: openRueidis(rueidisUse{flushDelay: 20 * time.Microsecond})},
	{ID: "rueidis-cache-raw", Name: "rueidis, DoCache, not decoded", Module: rueidisModule, Redis: true, Raw: true, Open: openRueidis(rueidisUse{raw: true, cached: true})},
	{ID: "rueidis-cache", Name: "rueidis, DoCache", Module: rueidisModule, Redis: true, Open: openRueidis(rueidisUse{cached: true})},
}

type rueidisUse struct {
	cached, raw bool
	flushDelay  time.Duration
}

type rueidisClient struct {
	rueidisUse
	client rueidis.Client
	env    Env
}

func rueidisOptions(env Env) rueidis.ClientOption {
	o := rueidis.ClientOption{InitAddress: []string{env.Redis}}
	// The default, 128 MiB for each of four connections, holds some hundred
	// thousand records.
	if room := env.Capacity << 9; room > rueidis.DefaultCacheBytes {
		o.CacheSizeEachConn = room
	}
	return o
}

func openRueidis(use rueidisUse) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (Client, error) {
		o := rueidisOptions(env)
		o.MaxFlushDelay = use.flushDelay
		client, err := rueidis.NewClient(o)
		if err != nil {
			return nil, err
		}
		return &rueidisClient{use, client, env}, nil
	}
}

func (c *rueidisClient) get(ctx context.Context, key string) rueidis.RedisResult {
	if c.cached {
		return c.client.DoCache(ctx, c.client.B().Get().Key(key).Cache(), c.env.TTL)
	}
	return c.client.Do(ctx, c.client.B().Get().Key(key).Build())
}

func (c *rueidisClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	s, err := c.get(ctx, key).ToString()
	switch {
	case rueidis.IsRedisNil(err):
		return c.fill(ctx, key)
	case err != nil, c.raw:
		return nil, err
	}
	return record.Decode([]byte(s))
}

func (c *rueidisClient) fill(ctx context.Context, key string) (*record.Todo, error) {
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
	return t, c.client.Do(ctx, c.client.B().Set().Key(key).Value(rueidis.BinaryString(b)).Px(c.env.TTL).Build()).Error()
}

func (c *rueidisClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error {
		return c.client.Do(ctx, c.client.B().Del().Key(key).Build()).Error()
	})
}

func (c *rueidisClient) Close() { c.client.Close() }
