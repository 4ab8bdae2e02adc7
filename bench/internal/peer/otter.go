package peer

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/asidecache/aside/bench/internal/record"
)

const otterModule = "github.com/maypok86/otter/v2"

var otterPeers = []Peer{
	{ID: "otter", Name: "otter, GetIfPresent", Module: otterModule, Open: openOtter(false)},
	{ID: "otter-coarse", Name: "otter, GetIfPresent, coarse clock", Module: otterModule, Open: openOtter(true)},
	{ID: "otter-loader", Name: "otter, Get with a loader", Module: otterModule, Open: openOtterLoader},
}

type otterClient struct {
	cache *otter.Cache[string, *record.Todo]
	clock *otter.CoarseClock
	load  Loader
}

func newOtter(env Env, clock otter.Clock) (*otter.Cache[string, *record.Todo], error) {
	return otter.New(&otter.Options[string, *record.Todo]{
		MaximumSize:      env.Capacity,
		ExpiryCalculator: otter.ExpiryWriting[string, *record.Todo](env.TTL),
		Clock:            clock,
	})
}

func openOtter(coarse bool) func(context.Context, Env) (Client, error) {
	return func(_ context.Context, env Env) (c Client, err error) {
		o := &otterClient{load: env.Load}
		var clock otter.Clock
		if coarse {
			o.clock = otter.NewCoarseClock(10 * time.Millisecond) // that of aside's L1
			clock = o.clock
		}
		if o.cache, err = newOtter(env, clock); err != nil {
			return nil, err
		}
		return o, nil
	}
}

func (c *otterClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, ok := c.cache.GetIfPresent(key); ok {
		return t, nil
	}
	t, err := c.load(ctx, key)
	if err == nil {
		c.cache.Set(key, t)
	}
	return t, err
}

func (c *otterClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Invalidate(key); return nil })
}

func (c *otterClient) Close() {
	c.cache.StopAllGoroutines()
	if c.clock != nil {
		c.clock.Stop()
	}
}

type otterLoadingClient struct {
	cache  *otter.Cache[string, *record.Todo]
	loader otter.Loader[string, *record.Todo]
}

func openOtterLoader(_ context.Context, env Env) (Client, error) {
	cache, err := newOtter(env, nil)
	if err != nil {
		return nil, err
	}
	return &otterLoadingClient{cache, otter.LoaderFunc[string, *record.Todo](env.Load)}, nil
}

func (c *otterLoadingClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	return c.cache.Get(ctx, key, c.loader)
}

func (c *otterLoadingClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.cache.Invalidate(key); return nil })
}

func (c *otterLoadingClient) Close() { c.cache.StopAllGoroutines() }
