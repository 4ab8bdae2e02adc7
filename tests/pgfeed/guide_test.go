package pgfeed_test

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// What the guide has a reader run is enough.
func TestGuideStatements(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide/postgresql.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "<<'SQL'\n")
	asSuperuser, text, _ := strings.Cut(text, "SQL\n")
	_, text, _ = strings.Cut(text, "psql \"$DATABASE_URL\" -c '")
	asOwner, _, ok := strings.Cut(text, "'\n")
	if !ok {
		t.Fatal("the page has no such statements any more")
	}
	// As the packages have it.
	pg := testserver.OwnPostgres(t, "wal_level=replica", "max_replication_slots=10", "max_wal_senders=10")
	for statement := range strings.SplitSeq(asSuperuser, "\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			pg.Exec(statement)
		}
	}
	pg.Stop()
	pg.StartWithout("wal_level", "max_slot_wal_keep_size") // what a command line sets is not altered
	u, err := url.Parse(pg.URLAs("app"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/app"
	c, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(asOwner)
	f := newFeed(t, pgfeed.Options{URL: u.String(), Table: "public.todos", Key: "id", Version: "version"})
	s := open(t, f, nil)
	exec("INSERT INTO todos VALUES (7, 'tea')")
	s.want("7=1")
	_ = s.Close()
	if err := f.Drop(t.Context()); err != nil {
		t.Error(err)
	}
}
