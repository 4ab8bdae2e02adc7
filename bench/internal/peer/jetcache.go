package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/mgtv-tech/jetcache-go"
	jsoncodec "github.com/mgtv-tech/jetcache-go/encoding/json"
	"github.com/mgtv-tech/jetcache-go/local"
	"github.com/mgtv-tech/jetcache-go/remote"
	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/record"
)

const jetcacheModule = "github.com/mgtv-tech/jetcache-go"

var jetcachePeers = []Peer{
	{ID: "jetcache-tinylfu", Name: "jetcache-go, local TinyLFU", Module: jetcacheModule, Open: openJetcache(jetcacheUse{tinylfu: true})},
	{ID: "jetcache-freecache", Name: "jetcache-go, local FreeCache", Module: jetcacheModule, Open: openJetcache(jetcacheUse{freecache: true})},
	{ID: "jetcache", Name: "jetcache-go, remote", Module: jetcacheModule, Redis: true, Open: openJetcache(jetcacheUse{redis: true})},
	{ID: "jetcache-both", Name: "jetcache-go, TinyLFU and remote, local caches synced", Module: jetcacheModule, Redis: true,
		Open: openJetcache(jetcacheUse{tinylfu: true, redis: true})},
}

type jetcacheUse struct{ tinylfu, freecache, redis bool }

type jetcacheClient struct {
	cache cache.Cache
	redis *redis.Client
	env   Env

	// Where the local caches are synced:
	id     string // of this instance
	events *redis.PubSub
	heard  sync.WaitGroup
}

// jetcacheInstances tells instances apart.
var jetcacheInstances atomic.Int64

func openJetcache(use jetcacheUse) func(context.Context, Env) (Client, error) {
	return func(ctx context.Context, env Env) (Client, error) {
		c := &jetcacheClient{env: env}
		o := []cache.Option{cache.WithName("bench"), cache.WithCodec(jsoncodec.Name), cache.WithRemoteExpiry(env.TTL)}
		if use.tinylfu {
			// What it takes for a number of entries is one of bytes: ristretto adds
			// what an entry costs it, and keeps 1 in 57.
			o = append(o, cache.WithLocal(local.NewTinyLFU(64*env.Capacity, env.TTL)))
		}
		if use.freecache {
			// One for all instances of the process; room for half a KB an entry.
			o = append(o, cache.WithLocal(local.NewFreeCache(max(256*local.MB, local.Size(env.Capacity)*local.KB/2), env.TTL)))
		}
		if use.redis {
			c.redis = newGoRedis(env)
			o = append(o, cache.WithRemote(remote.NewGoRedisV9Adapter(c.redis)))
		}
		if use.redis && use.tinylfu {
			synced, err := c.sync(ctx)
			if err != nil {
				return nil, err
			}
			o = append(o, synced...)
		}
		c.cache = cache.New(o...)
		if c.events != nil {
			c.listen()
		}
		return c, nil
	}
}

const jetcacheChannel = "jetcache-go"

// sync is the example of its README: what one instance changes is published,
// and the others drop it.
func (c *jetcacheClient) sync(ctx context.Context) ([]cache.Option, error) {
	c.id = fmt.Sprint("instance ", jetcacheInstances.Add(1))
	c.events = c.redis.Subscribe(ctx, jetcacheChannel)
	if _, err := c.events.Receive(ctx); err != nil { // the confirmation
		_ = c.redis.Close()
		return nil, err
	}
	return []cache.Option{
		cache.WithSourceId(c.id),
		cache.WithSyncLocal(true),
		cache.WithEventHandler(func(e *cache.Event) {
			if b, err := json.Marshal(e); err == nil {
				c.redis.Publish(context.Background(), jetcacheChannel, b)
			}
		}),
	}, nil
}

func (c *jetcacheClient) listen() {
	c.heard.Go(func() {
		for m := range c.events.Channel() { // until Close
			var e cache.Event
			if json.Unmarshal([]byte(m.Payload), &e) == nil && e.SourceID != c.id {
				for _, k := range e.Keys {
					c.cache.DeleteFromLocalCache(k)
				}
			}
		}
	})
}

func (c *jetcacheClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	t := new(record.Todo)
	err := c.cache.Once(ctx, key, cache.Value(t), cache.TTL(c.env.TTL),
		cache.Do(func(ctx context.Context) (any, error) { return c.env.Load(ctx, key) }))
	return t, err
}

func (c *jetcacheClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { return c.cache.Delete(ctx, key) })
}

func (c *jetcacheClient) Close() {
	c.cache.Close()
	if c.events != nil {
		_ = c.events.Close()
		c.heard.Wait()
	}
	if c.redis != nil {
		_ = c.redis.Close()
	}
}
