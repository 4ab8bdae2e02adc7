package pgfeed_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/asidecache/aside/asidetest"
)

func TestChanges(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1), ('b', 'x', 7)")
	s.want("a=1", "b=7")
	pg.Exec("UPDATE todos SET name = 'y', version = 8 WHERE id = 'b'")
	s.want("b=8")
	// The key changes: nothing under the old key may stay.
	pg.Exec("UPDATE todos SET id = 'c', version = 9 WHERE id = 'b'")
	s.want("b-", "c=9")
	pg.Exec("DELETE FROM todos WHERE id = 'c'")
	s.want("c-")
	// Of a transaction, others see the end only. A record that was made anew has no version
	// that tells anything: the one before may have had a higher one.
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('d', 'x', 1); UPDATE todos SET version = 2 WHERE id = 'd'; DELETE FROM todos WHERE id = 'a'; " +
		"INSERT INTO todos VALUES ('a', 'z', 5); COMMIT")
	s.want("d=2", "a=0")
	s.wantQuiet()
}

// The suite that every feed passes.
func TestConformance(t *testing.T) {
	asidetest.TestFeed(t, func(t *testing.T) asidetest.Primary {
		pg := server(t)
		conns := make(chan *pgx.Conn, 6)
		for range cap(conns) {
			conns <- pg.Conn()
		}
		exec := func(t testing.TB, sql string, args ...any) {
			c := <-conns
			defer func() { conns <- c }()
			if _, err := c.Exec(context.Background(), sql, args...); err != nil {
				t.Error(err)
			}
		}
		f := newFeed(t, options(pg))
		return asidetest.Primary{
			Feed: f,
			Put: func(t testing.TB, keys ...string) {
				exec(t, "INSERT INTO todos SELECT k, 'x', 1 FROM unnest($1::text[]) k ON CONFLICT (id) DO UPDATE SET version = todos.version + 1", keys)
			},
			Delete: func(t testing.TB, keys ...string) { exec(t, "DELETE FROM todos WHERE id = ANY ($1)", keys) },
			Version: func(t testing.TB, key string) (version uint64) {
				c := <-conns
				defer func() { conns <- c }()
				err := c.QueryRow(context.Background(), "SELECT version FROM todos WHERE id = $1", key).Scan(&version)
				if err != nil && !errors.Is(err, pgx.ErrNoRows) {
					t.Error(err)
				}
				return version
			},
			All: func(t testing.TB) { exec(t, "TRUNCATE todos") },
			Lose: func(t testing.TB) {
				if err := f.Drop(context.Background()); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
