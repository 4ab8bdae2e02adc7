package fed_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// Whatever is done to the table with SQL, every node sees it.
func TestOutsideChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, testserver.Postgres(t), testserver.Redis(t).URL())
	nodes := w.nodes(3)
	for _, c := range []struct {
		what, sql string
		want      map[string]string // by id
	}{
		{"insert", "INSERT INTO todos VALUES ('a', 'one'), ('b', 'one')", map[string]string{"a": "one", "b": "one", "c": "(none)"}},
		{"update", "UPDATE todos SET name = 'two', version = 2 WHERE id = 'a'", map[string]string{"a": "two", "b": "one"}},
		{"update without a new version", "UPDATE todos SET name = 'three', version = 3", map[string]string{"a": "three", "b": "three"}},
		{"new key", "UPDATE todos SET id = 'c', version = 4 WHERE id = 'b'", map[string]string{"a": "three", "b": "(none)", "c": "three"}},
		{"delete", "DELETE FROM todos WHERE id = 'c'", map[string]string{"a": "three", "b": "(none)", "c": "(none)"}},
		{"insert again, with a low version", "INSERT INTO todos VALUES ('c', 'again')", map[string]string{"c": "again"}},
		{"delete and insert at once", "BEGIN; DELETE FROM todos WHERE id = 'c'; INSERT INTO todos VALUES ('c', 'at once'); COMMIT", map[string]string{"c": "at once"}},
		{"truncate", "TRUNCATE todos", map[string]string{"a": "(none)", "b": "(none)", "c": "(none)"}},
	} {
		for _, n := range nodes {
			for _, id := range []string{"a", "b", "c"} {
				n.inL1(id)
			}
		}
		w.pg.Exec(c.sql)
		for _, n := range nodes {
			for id, name := range c.want {
				n.becomes(id, name)
			}
		}
		if t.Failed() {
			t.Fatal(c.what)
		}
	}
}

// Writes through the cache are told again by the feed, and cost no load: they are known by
// their version, or by the mark in the transaction.
func TestOwnWritesCostNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"version", "mark"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, testserver.Postgres(t), testserver.Redis(t).URL())
			nodes := w.nodes(2, func(o *options) {
				if how == "mark" {
					o.Version = nil
					feed, err := pgfeed.New(pgfeed.Options{URL: w.pg.URL(), Table: "todos", Key: "id", Slot: w.pg.Database()})
					if err != nil {
						t.Fatal(err)
					}
					o.Feed = feed
				}
			})
			leader := nodes[0]
			if nodes[1].Stats().Feed.Leads {
				leader = nodes[1]
			}
			told := func(n int) {
				testsync.Eventually(t, "the writes are told", func() bool { return leader.Stats().Feed.Changes >= uint64(n+1) })
			}
			w.put("k", "0")
			told(0)
			const writes = 50
			for i := 1; i <= writes; i++ {
				n := nodes[i%2]
				err := n.Write(t.Context(), "k", func(ctx context.Context, tx *aside.WriteTx[string, todo]) error {
					db, err := w.pool.Begin(ctx)
					if err != nil {
						return aside.Aborted(err)
					}
					defer db.Rollback(context.WithoutCancel(ctx))
					var r todo
					err = db.QueryRow(ctx, "UPDATE todos SET name = $1, version = version + 1 WHERE id = 'k' RETURNING id, name, version", fmt.Sprint(i)).Scan(&r.ID, &r.Name, &r.Version)
					if err == nil && how == "mark" {
						err = pgfeed.Mark(ctx, db, tx.Token())
					}
					if err != nil {
						return err
					}
					if err := db.Commit(ctx); err != nil {
						return err
					}
					tx.Publish("k", r)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if how == "mark" { // under the next fence it would be an unknown change
					told(i)
				}
			}
			told(writes)
			for _, n := range nodes {
				if got := n.name("k", aside.Strong); got != fmt.Sprint(writes) {
					t.Errorf("a strong read returns %s", got)
				}
			}
			loads, published := uint64(0), uint64(0)
			for _, n := range nodes {
				s := n.Stats()
				loads, published = loads+s.Loads, published+s.Published
			}
			if published != writes || loads != 0 {
				t.Errorf("%d of %d writes published, %d loads", published, writes, loads)
			}
		})
	}
}

// One transaction that changes very many records clears the cache instead.
func TestManyRowsAtOnce(t *testing.T) {
	t.Parallel()
	rows := 60_000
	if n := manyRows(); n > 0 {
		rows = n
	}
	w := newWorld(t, testserver.Postgres(t), testserver.Redis(t).URL())
	w.outside("INSERT INTO todos SELECT i::text, 'old' FROM generate_series(1, $1::int) i", rows)
	nodes := w.nodes(2)
	for _, n := range nodes {
		for i := 1; i <= 1000; i++ {
			n.name(fmt.Sprint(i), aside.Default)
		}
	}
	begun := time.Now()
	w.outside("UPDATE todos SET name = 'new', version = version + 1")
	committed := time.Now()
	for _, n := range nodes {
		for _, i := range []int{1, 500, 1000, rows} {
			n.becomes(fmt.Sprint(i), "new")
		}
	}
	t.Logf("%d rows in one transaction of %v: seen %v after the commit", rows, committed.Sub(begun).Round(time.Millisecond), time.Since(committed).Round(time.Millisecond))
}
