package pgfeed_test

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/pgfeed"
)

type Todo struct {
	ID      int64
	Name    string
	Version uint64
}

// A cache of the table todos (id bigint primary key, name text, version bigint) that sees
// what others change in it.
func Example() {
	ctx := context.Background()
	url := os.Getenv("DATABASE_URL")
	feed, err := pgfeed.New(pgfeed.Options{URL: url, Table: "public.todos", Key: "id", Version: "version"})
	if err != nil {
		log.Fatal(err) // the options are wrong; a server that is down is no error here
	}
	cache, err := aside.New(aside.Options[int64, Todo]{
		Name: "todos", TTL: 10 * time.Minute, Feed: feed, // with L2, set it on all nodes
		Version: func(t Todo) uint64 { return t.Version },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(ctx)
}

// Without a version, the mark in the transaction tells the feed that a change is the
// cache's own.
func ExampleMark() {
	ctx := context.Background()
	var (
		cache *aside.Cache[int64, Todo] // with Options.Feed
		db    *pgx.Conn
	)
	rename := func(id int64, name string) error {
		return cache.Write(ctx, id, func(ctx context.Context, w *aside.WriteTx[int64, Todo]) error {
			return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
				if err := pgfeed.Mark(ctx, tx, w.Token()); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "UPDATE todos SET name = $1 WHERE id = $2", name, id)
				return err
			})
		})
	}
	_ = rename
}

// A table whose key is of another type, or a cache whose keys have a prefix.
func ExampleOptions_keyOf() {
	_, err := pgfeed.New(pgfeed.Options{
		URL: os.Getenv("DATABASE_URL"), Table: "accounts", Key: "uuid",
		KeyOf: func(text string) string { return "account-" + text },
	})
	_ = err
}

// For a cache without L2, each process follows for itself.
func ExampleOptions_temporary() {
	_, err := pgfeed.New(pgfeed.Options{URL: os.Getenv("DATABASE_URL"), Table: "todos", Key: "id", Temporary: true})
	_ = err
}
