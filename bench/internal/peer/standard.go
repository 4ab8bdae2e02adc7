package peer

import (
	"context"
	"sync"

	"github.com/asidecache/aside/bench/internal/record"
)

// Floor is no cache: it costs what the harness costs.
var Floor = Peer{ID: "floor", Name: "no cache: the harness itself", Open: openFloor}

// What the libraries are held against: the standard library's map, and the
// decoding of a record.
var standardPeers = []Peer{
	{ID: "map", Name: "sync.Map: no bound, no expiry", Open: openMap},
	{ID: "json", Name: "sync.Map of JSON, decoded", Open: openJSON},
}

type mapClient struct {
	m    sync.Map
	load Loader
}

func openMap(_ context.Context, env Env) (Client, error) { return &mapClient{load: env.Load}, nil }

func (c *mapClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if t, ok := c.m.Load(key); ok {
		return t.(*record.Todo), nil
	}
	t, err := c.load(ctx, key)
	if err == nil {
		c.m.Store(key, t)
	}
	return t, err
}

func (c *mapClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.m.Delete(key); return nil })
}

func (c *mapClient) Close() {}

// jsonClient is a sync.Map of encoded records.
type jsonClient struct {
	m    sync.Map
	load Loader
}

func openJSON(_ context.Context, env Env) (Client, error) { return &jsonClient{load: env.Load}, nil }

func (c *jsonClient) Get(ctx context.Context, key string) (*record.Todo, error) {
	if b, ok := c.m.Load(key); ok {
		return record.Decode(b.([]byte))
	}
	t, err := c.load(ctx, key)
	if err != nil {
		return nil, err
	}
	b, err := record.Encode(t)
	if err == nil {
		c.m.Store(key, b)
	}
	return t, err
}

func (c *jsonClient) Write(ctx context.Context, key string, commit Commit) error {
	return committed(ctx, commit, func() error { c.m.Delete(key); return nil })
}

func (c *jsonClient) Close() {}

// floorClient answers with one record, whatever is asked for.
type floorClient struct{ one *record.Todo }

func openFloor(ctx context.Context, env Env) (Client, error) {
	one, err := env.Load(ctx, record.Key(0))
	return floorClient{one}, err
}

func (c floorClient) Get(context.Context, string) (*record.Todo, error) { return c.one, nil }

func (c floorClient) Write(ctx context.Context, _ string, commit Commit) error {
	_, err := commit(ctx)
	return err
}

func (c floorClient) Close() {}
