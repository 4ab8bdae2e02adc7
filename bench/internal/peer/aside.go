package peer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/redisl2"

	"github.com/asidecache/aside/bench/internal/record"
)

var asidePeers = []Peer{
	{ID: "aside", Name: "aside, L1 and L2", Module: module, Redis: true, Open: openAside(asideUse{l1: true, l2: true})},
	{ID: "aside-strong", Name: "aside, L1 and L2, strong reads", Module: module, Redis: true,
		Open: openAside(asideUse{l1: true, l2: true, level: aside.Strong})},
	{ID: "aside-publish", Name: "aside, L1 and L2, writes publish", Module: module, Redis: true,
		Open: openAside(asideUse{l1: true, l2: true, publish: true})},
	{ID: "aside-l2", Name: "aside, L2 only", Module: module, Redis: true, Open: openAside(asideUse{l2: true})},
	{ID: "aside-binary", Name: "aside, L2 only, binary codec", Module: module, Redis: true, Open: openAside(asideUse{l2: true, binary: true})},
	{ID: "aside-l1", Name: "aside, L1 only", Module: module, Open: openAside(asideUse{l1: true})},
}

type asideUse struct {
	l1, l2, publish, binary bool
	level                   aside.Mode
}

type asideClient struct {
	asideUse
	cache  *aside.Cache[string, *record.Todo]
	store  *redisl2.Store
	loader aside.Loader[string, *record.Todo]
}

func openAside(use asideUse) func(context.Context, Env) (Client, error) {
	return func(ctx context.Context, env Env) (Client, error) {
		c := &asideClient{asideUse: use, loader: aside.LoaderFunc[string, *record.Todo](env.Load)}
		o := aside.Options[string, *record.Todo]{
			Name: "bench", TTL: env.TTL, L1TTL: env.TTL, L1Size: env.Capacity,
			// The other libraries wait for seconds, and here Redis is to be busy.
			L2Timeout: time.Second,
			// No other library notices that these primaries are quicker than Redis.
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), // Check tells
		}
		if !use.l1 {
			o.L1Size = -1
		}
		if use.binary {
			o.Codec = record.Binary{}
		}
		if use.l2 {
			var err error
			if c.store, err = redisl2.Open(redisl2.Options{URL: "redis://" + env.Redis}); err != nil {
				return nil, err
			}
			o.L2 = c.store
		}
		var err error
		if c.cache, err = aside.New(o); err != nil {
			if c.store != nil {
				c.store.Close()
			}
			return nil, err
		}
		if c.store != nil {
			if err := c.store.Check(ctx); err != nil { // or the primary would be measured
				c.Close()
				return nil, err
			}
		}
		return c, nil
	}
}

func (c *asideClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if c.level == aside.Default {
		return c.cache.Get(ctx, key, c.loader)
	}
	r, err := c.cache.Read(ctx, key, c.loader, c.level)
	return r.Value, err
}

func (c *asideClient) Write(ctx context.Context, key string, commit Commit) error {
	return c.cache.Write(ctx, key, func(ctx context.Context, w *aside.WriteTx[string, *record.Todo]) error {
		t, err := commit(ctx)
		if err == nil && c.publish {
			w.Publish(key, t)
		}
		return err
	})
}

// Check reports reads and writes that Redis did not answer in time: they fell
// back to the primary, or were remembered for later.
func (c *asideClient) Check() error {
	if s := c.cache.Stats(); s.L2Errors > 0 || s.Overloads > 0 {
		return fmt.Errorf("aside: %d errors of L2 (%s), %d loads refused", s.L2Errors, s.DegradedReason, s.Overloads)
	}
	return nil
}

func (c *asideClient) Close() {
	_ = c.cache.Close(context.Background())
	if c.store != nil {
		c.store.Close()
	}
}
