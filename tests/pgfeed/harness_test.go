// Package pgfeed_test tries the feed on a real PostgreSQL.
package pgfeed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// limit bounds every wait of these tests; they take a small part of it.
const limit = 30 * time.Second

// todos is the table of most tests.
const todos = "CREATE TABLE todos (id text PRIMARY KEY, name text, version bigint NOT NULL DEFAULT 1)"

// server returns a database with the table todos.
func server(t *testing.T) *testserver.PostgresServer {
	t.Helper()
	pg := testserver.Postgres(t)
	pg.Exec(todos)
	return pg
}

func ownServer(t *testing.T, settings ...string) *testserver.PostgresServer {
	t.Helper()
	pg := testserver.OwnPostgres(t, settings...)
	pg.Exec(todos)
	return pg
}

// options are of todos. Slots of different databases of one server have different names.
func options(pg *testserver.PostgresServer) pgfeed.Options {
	return pgfeed.Options{
		URL: pg.URL(), Table: "public.todos", Key: "id", Version: "version",
		Slot: pg.Database(), Logger: slog.New(slog.DiscardHandler),
	}
}

func newFeed(t *testing.T, opt pgfeed.Options) *pgfeed.Feed {
	t.Helper()
	f, err := pgfeed.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type stream struct {
	driver.Stream
	t *testing.T
}

func open(t *testing.T, f *pgfeed.Feed, from driver.Position) stream {
	t.Helper()
	s, err := tryOpen(t, f, from)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return stream{s, t}
}

func tryOpen(t *testing.T, f *pgfeed.Feed, from driver.Position) (driver.Stream, error) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s, err := f.Open(ctx, from)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

func wantGap(t *testing.T, f *pgfeed.Feed, from driver.Position) {
	t.Helper()
	s, err := tryOpen(t, f, from)
	if err == nil {
		_ = s.Close()
		t.Fatal("Open: no error, want ErrGap")
	}
	if !errors.Is(err, driver.ErrGap) {
		t.Fatalf("Open: %v, want ErrGap", err)
	}
}

// batch returns the next batch, an empty one too.
func (s stream) batch() (driver.Batch, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	return s.Next(ctx)
}

// change returns the next batch that is not empty.
func (s stream) change() driver.Batch {
	s.t.Helper()
	for {
		b, err := s.batch()
		if err != nil {
			s.t.Fatalf("Next: %v", err)
		}
		if b.All || len(b.Changes) > 0 {
			return b
		}
	}
}

// changes returns the next n changes.
func (s stream) changes(n int) (all []driver.Change) {
	s.t.Helper()
	for len(all) < n {
		b := s.change()
		if b.All {
			s.t.Fatalf("All after %v", all)
		}
		all = append(all, b.Changes...)
	}
	return all
}

// want compares the next changes with some, such as "a=1" for key a with version 1, or "b-" for a
// deleted one.
func (s stream) want(want ...string) {
	s.t.Helper()
	if got := texts(s.changes(len(want))); !slices.Equal(got, want) {
		s.t.Fatalf("changes %q, want %q", got, want)
	}
}

func texts(changes []driver.Change) (texts []string) {
	for _, c := range changes {
		if c.Deleted {
			texts = append(texts, c.Key+"-")
		} else {
			texts = append(texts, fmt.Sprintf("%s=%d", c.Key, c.Version))
		}
	}
	return texts
}

func (s stream) wantAll() {
	s.t.Helper()
	if b := s.change(); !b.All || len(b.Changes) > 0 {
		s.t.Fatalf("batch %+v, want All", b)
	}
}

// wantQuiet waits until Next says that nothing has changed.
func (s stream) wantQuiet() {
	s.t.Helper()
	b, err := s.batch()
	if err != nil {
		s.t.Fatalf("Next: %v", err)
	}
	if b.All || len(b.Changes) > 0 {
		s.t.Fatalf("batch %+v, want an empty one", b)
	}
}

// wantEnd waits for the error that ends the stream.
func (s stream) wantEnd() error {
	s.t.Helper()
	for {
		if _, err := s.batch(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				s.t.Fatalf("the stream did not end: %v", err)
			}
			return err
		}
	}
}

// handle says that all has been handled.
func (s stream) handle() driver.Position {
	s.t.Helper()
	p := s.Position()
	if err := s.Handled(s.t.Context(), p); err != nil {
		s.t.Fatalf("Handled: %v", err)
	}
	return p
}
