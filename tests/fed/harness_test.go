// Package fed_test tries caches that follow a feed, on real servers: PostgreSQL, Redis,
// and several nodes.
package fed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, delayed...) }

// What ends by itself, a little later.
var delayed = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

// todo is a record, a row of todos.
type todo struct {
	ID, Name string
	Version  int64
}

const table = "CREATE TABLE todos (id text PRIMARY KEY, name text NOT NULL, version bigint NOT NULL DEFAULT 1)"

// world is a primary, and what the nodes share.
type world struct {
	testing.TB
	pg   *testserver.PostgresServer
	pool *pgxpool.Pool
	url  string // of Redis
}

func newWorld(t testing.TB, pg *testserver.PostgresServer, redis string) *world {
	t.Helper()
	pg.Exec(table)
	pool, err := pgxpool.New(t.Context(), pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &world{t, pg, pool, redis}
}

// Load reads a record from the primary.
func (w *world) Load(ctx context.Context, id string) (t todo, err error) {
	err = w.pool.QueryRow(ctx, "SELECT id, name, version FROM todos WHERE id = $1", id).Scan(&t.ID, &t.Name, &t.Version)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, aside.ErrNotFound
	}
	return t, err
}

// outside runs a statement past the caches.
func (w *world) outside(sql string, args ...any) {
	w.Helper()
	if _, err := w.pool.Exec(w.Context(), sql, args...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) put(id, name string) {
	w.Helper()
	w.outside("INSERT INTO todos VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = $2, version = todos.version + 1", id, name)
}

type options = aside.Options[string, todo]

// node is a process: a cache with connections of its own.
type node struct {
	*aside.Cache[string, todo]
	w *world
}

func (w *world) node(change ...func(*options)) *node {
	w.Helper()
	l2, err := redisl2.Open(redisl2.Options{URL: w.url, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	feed, err := pgfeed.New(pgfeed.Options{
		URL: w.pg.URL(), Table: "todos", Key: "id", Version: "version", Slot: w.pg.Database(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.Fatal(err)
	}
	o := options{
		Name: "fed", L2: l2, Feed: feed, TTL: time.Hour, L1TTL: time.Hour, L2Timeout: 5 * time.Second,
		Version: func(t todo) uint64 { return uint64(t.Version) }, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	c, err := aside.New(o)
	if err != nil {
		w.Fatal(err)
	}
	n := &node{c, w}
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.Close(ctx)
		l2.Close()
	})
	return n
}

// nodes makes several, and waits until each is fed.
func (w *world) nodes(n int, change ...func(*options)) (all []*node) {
	w.Helper()
	for range n {
		all = append(all, w.node(change...))
	}
	for _, n := range all {
		n.fed()
	}
	return all
}

func (n *node) fed() {
	n.w.Helper()
	testsync.Eventually(n.w, "the node is fed", func() bool { return n.Stats().Feed.Fed })
}

func (n *node) name(id string, level aside.Mode) string {
	n.w.Helper()
	r, err := n.Read(n.w.Context(), id, n.w, level)
	if err != nil && !errors.Is(err, aside.ErrNotFound) {
		n.w.Errorf("read %s: %v", id, err)
	}
	if err != nil {
		return "(none)"
	}
	return r.Value.Name
}

// inL1 waits until the node has a record in L1.
func (n *node) inL1(id string) {
	n.w.Helper()
	testsync.Eventually(n.w, id+" is in L1", func() bool {
		r, err := n.Read(n.w.Context(), id, n.w, aside.Default)
		return (err == nil || errors.Is(err, aside.ErrNotFound)) && r.Source == aside.SourceL1
	})
}

// becomes waits until default and strong reads of a record return a name.
func (n *node) becomes(id, name string) {
	n.w.Helper()
	testsync.Eventually(n.w, fmt.Sprintf("%s is %s", id, name), func() bool {
		return n.name(id, aside.Default) == name && n.name(id, aside.Strong) == name
	})
}

// write writes a record through the cache.
func (n *node) write(id, name string) error {
	return n.Write(n.w.Context(), id, func(ctx context.Context, tx *aside.WriteTx[string, todo]) error {
		var r todo
		err := n.w.pool.QueryRow(ctx, "UPDATE todos SET name = $2, version = version + 1 WHERE id = $1 RETURNING id, name, version", id, name).Scan(&r.ID, &r.Name, &r.Version)
		if err == nil {
			tx.Publish(id, r)
		}
		return err
	})
}
