package pgstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

// guest is a role that may do nothing but log in.
func guest(p *testserver.PostgresServer) string {
	role := "guest_" + p.Database()
	p.Exec("CREATE ROLE " + role + " LOGIN")
	return role
}

// dropRole lets the role of a shared server go, with its rights.
func dropRole(t *testing.T, p *testserver.PostgresServer, role string) {
	t.Cleanup(func() { p.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
}

// TestDocumentedStatements: the page for operators has the statements of Schema.
func TestDocumentedStatements(t *testing.T) {
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```sql\n"+Schema("todos")+"```\n") {
		t.Errorf("cmd/aside/README.md does not have\n%s", Schema("todos"))
	}
}

// TestManyStartAtOnce: nodes that start at the same time make one table, and each works.
// Seen to fail without the advisory lock: CREATE TABLE IF NOT EXISTS says that the type
// exists already, and CREATE OR REPLACE FUNCTION that a row was updated concurrently.
func TestManyStartAtOnce(t *testing.T) {
	for round := range 3 {
		p := testserver.Postgres(t)
		var wg sync.WaitGroup
		for i := range 8 {
			s := mustOpen(t, p.URL(), Options{MaxConns: 2})
			wg.Go(func() {
				if err := s.Insert(t.Context(), todo.Todo{ID: fmt.Sprint(i), Name: "n"}); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if n := p.Value("SELECT count(*) FROM todos"); n != "8" {
			t.Errorf("%s records", n)
		}
		if n := p.Value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'todos'::regclass"); n != "1" {
			t.Errorf("%s triggers", n)
		}
	}
}

// TestTableOfAnOperator: the store works with the statements of Schema, run by another
// role, and with rights to the records only.
func TestTableOfAnOperator(t *testing.T) {
	storetest.Run(t, func(t *testing.T) todo.Store {
		p := testserver.Postgres(t)
		role := guest(p)
		dropRole(t, p, role)
		p.Exec(Schema("todos"))
		p.Exec(Schema("todos")) // it can be run again
		p.Exec("GRANT SELECT, INSERT, UPDATE, DELETE ON todos, aside_identity TO " + role)
		s := mustOpen(t, p.URLAs(role), Options{})
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestNoRightToMakeTheTable: the error says what is missing, once in the log, and the
// store works as soon as somebody has repaired it.
func TestNoRightToMakeTheTable(t *testing.T) {
	p := testserver.Postgres(t)
	role := guest(p)
	dropRole(t, p, role)
	var said testsync.Buffer
	s := mustOpen(t, p.URLAs(role), Options{Logger: storetest.Logger(&said)})
	err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"})
	for _, want := range []string{"no table todos", p.Database(), role, "permission denied for schema public", "GRANT CREATE"} {
		if !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if err := s.Ping(t.Context()); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Ping: %v", err)
	}
	testserver.Eventually(t, 10*time.Second, "the log says it", func() bool {
		return strings.Contains(said.String(), "level=ERROR") && strings.Contains(said.String(), "permission denied")
	})
	p.Exec("GRANT CREATE ON SCHEMA public TO " + role)
	testserver.Eventually(t, 10*time.Second, "the store makes its table", func() bool { return s.Ping(t.Context()) == nil })
	if n := strings.Count(said.String(), "level=ERROR"); n != 1 {
		t.Errorf("the log says it %d times: %s", n, said.String())
	}
}

// TestTableWithoutTrigger: a role that may not make the trigger says so, and works.
func TestTableWithoutTrigger(t *testing.T) {
	p := testserver.Postgres(t)
	role := guest(p)
	dropRole(t, p, role)
	p.Exec(tableOf("todos") + "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO " + role)
	var said testsync.Buffer
	s := mustOpen(t, p.URLAs(role), Options{Logger: storetest.Logger(&said)})
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n", Version: 1}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "no trigger that raises the version") {
		t.Errorf("the log does not say it: %s", said.String())
	}
	// The owner adds it at its next start.
	if err := mustOpen(t, p.URL(), Options{}).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Exec("UPDATE todos SET name = 'x'")
	if got, err := s.Get(t.Context(), "1"); err != nil || got.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUnusableTable: each fault is named, with what to do, and the table is left alone.
func TestUnusableTable(t *testing.T) {
	for name, c := range map[string]struct{ sql, says string }{
		"a view":            {"CREATE VIEW todos AS SELECT 1", "not a table"},
		"a missing column":  {"CREATE TABLE todos (id text PRIMARY KEY, name text)", "ALTER TABLE \"todos\" ADD COLUMN description text"},
		"another type":      {strings.Replace(tableOf("todos"), "bigint", "integer", 1), "column version has the type integer, must be bigint"},
		"an id of numbers":  {strings.Replace(tableOf("todos"), `text COLLATE "C"`, "bigint", 1), "column id has the type bigint, must be text"},
		"no primary key":    {strings.Replace(tableOf("todos"), "PRIMARY KEY", "NOT NULL", 1), "ADD PRIMARY KEY (id)"},
		"a partial index":   {strings.Replace(tableOf("todos"), "PRIMARY KEY", "NOT NULL", 1) + "CREATE UNIQUE INDEX ON todos (id) WHERE completed", "ADD PRIMARY KEY (id)"},
		"equal ids":         {`CREATE COLLATION c (provider = icu, locale = 'und-u-ks-level2', deterministic = false);` + strings.Replace(tableOf("todos"), `"C"`, "c", 1), "different ids are equal"},
		"dates without tz":  {strings.Replace(tableOf("todos"), "created_at  timestamptz", "created_at  timestamp", 1), "created_at has the type timestamp without time zone"},
		"no schema to use":  {"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = nowhere', current_database()); END $$", "no schema has been selected"},
		"an index of other": {strings.Replace(tableOf("todos"), "PRIMARY KEY", "NOT NULL", 1) + "CREATE UNIQUE INDEX ON todos (id, name)", "ADD PRIMARY KEY (id)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testserver.Postgres(t)
			p.Exec(c.sql)
			s := mustOpen(t, p.URL(), Options{Logger: storetest.Logger(new(testsync.Buffer))})
			_, err := s.Get(t.Context(), "1")
			if !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Get: %v, want %q", err, c.says)
			}
		})
	}
}

// TestEncoding: a database that cannot hold all characters is refused.
func TestEncoding(t *testing.T) {
	p := testserver.Postgres(t)
	latin := p.Database() + "_latin"
	p.Exec("CREATE DATABASE " + latin + " ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() { p.Exec("DROP DATABASE " + latin + " WITH (FORCE)") })
	s := mustOpen(t, strings.Replace(p.URL(), p.Database(), latin, 1), Options{Logger: storetest.Logger(new(testsync.Buffer))})
	if err := s.Ping(t.Context()); !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), "ENCODING 'UTF8'") {
		t.Errorf("Ping: %v", err)
	}
}

// TestOtherCollation: a listing is in the order of bytes with any collation of the
// column, and the log says that it is slow.
func TestOtherCollation(t *testing.T) {
	p := testserver.Postgres(t)
	p.Exec(strings.Replace(tableOf("todos"), `"C"`, `"en-x-icu"`, 1))
	var said testsync.Buffer
	s := mustOpen(t, p.URL(), Options{Logger: storetest.Logger(&said)})
	for _, id := range []string{"b", "A", "a", "B", "é"} {
		if err := s.Insert(t.Context(), todo.Todo{ID: id, Name: "n"}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.List(t.Context(), "", 10)
	var ids []string
	for _, x := range page.Todos {
		ids = append(ids, x.ID)
	}
	if err != nil || fmt.Sprint(ids) != "[A B a b é]" {
		t.Errorf("%q, %v", ids, err)
	}
	if !strings.Contains(said.String(), "not in the order of bytes") {
		t.Errorf("the log does not say it: %s", said.String())
	}
}

// TestTrigger: a change by another program is one that versions tell.
func TestTrigger(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	old := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		set     string
		from    int64
		version int64
		moved   bool // updated_at
	}{
		{"name = 'x'", 3, 4, true},
		{"completed = true", 0, 1, true},
		{"name = 'x', version = 3", 3, 4, true},
		{"version = 2", 3, 4, true},
		{"name = 'x', version = 7", 3, 7, false},
		{"name = 'x', updated_at = '2024-02-29 12:00+00'", 3, 4, true},
		{"name = 'x', updated_at = '2030-01-01 00:00+00'", 3, 4, false},
		{"name = name", 3, 3, false}, // nothing changes
		{"name = 'x'", 1<<63 - 1, 1<<63 - 1, true},
		{"name = 'x'", -5, 1, true},
	} {
		if err := s.Delete(t.Context(), "1", func(todo.Todo) error { return nil }); err != nil && !errors.Is(err, todo.ErrNotFound) {
			t.Fatal(err)
		}
		p.Exec(fmt.Sprintf("INSERT INTO todos VALUES ('1', 'n', NULL, false, NULL, '2024-02-29 12:00+00', %d)", c.from))
		p.Exec("UPDATE todos SET " + c.set + " WHERE id = '1'")
		got, err := s.Get(t.Context(), "1")
		if err != nil || got.Version != c.version {
			t.Errorf("version %d, SET %s: version %d, %v, want %d", c.from, c.set, got.Version, err, c.version)
		}
		if moved := time.Since(got.UpdatedAt) < time.Hour && !got.UpdatedAt.Equal(old) && got.UpdatedAt.Year() != 2030; moved != c.moved {
			t.Errorf("SET %s: updated_at is %v", c.set, got.UpdatedAt)
		}
		if got.UpdatedAt.Truncate(time.Millisecond) != got.UpdatedAt {
			t.Errorf("SET %s: updated_at is %v, not in milliseconds", c.set, got.UpdatedAt)
		}
	}

	// A new key is a change too, and a new row begins with version 1 and its times.
	p.Exec("UPDATE todos SET id = '2' WHERE id = '1'; INSERT INTO todos (id, name) VALUES ('3', 'n')")
	if got, err := s.Get(t.Context(), "2"); err != nil || got.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Get(t.Context(), "3"); err != nil || got.Version != 1 || got.CreatedAt.IsZero() || !got.CreatedAt.Equal(got.UpdatedAt) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTables: the name of the table is an option, and tables of one database have
// different identities.
func TestTables(t *testing.T) {
	p := testserver.Postgres(t)
	ids := map[string]bool{}
	for _, name := range []string{"todos", "others", `od"d Name; --`} {
		s := mustOpen(t, p.URL(), Options{Table: name})
		if err := s.Insert(t.Context(), todo.Todo{ID: name, Name: "n"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := s.Count(t.Context()); err != nil || n != 1 {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
		if _, err := s.InsertMany(t.Context(), []todo.Record{{Todo: todo.Todo{ID: "2", Name: "n"}}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		id, err := s.Identity(t.Context())
		if err != nil || ids[id] {
			t.Errorf("%s: identity %q, %v", name, id, err)
		}
		ids[id] = true
	}
}

// TestNoRightToIdentity: the store works, and says that it has no identity.
func TestNoRightToIdentity(t *testing.T) {
	p := testserver.Postgres(t)
	role := guest(p)
	dropRole(t, p, role)
	p.Exec(tableOf("todos") + triggerOf("todos") + "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO " + role)
	s := mustOpen(t, p.URLAs(role), Options{})
	if _, err := s.Identity(t.Context()); !errors.Is(err, todo.ErrNoIdentity) || !strings.Contains(err.Error(), "aside_identity") {
		t.Errorf("Identity: %v", err)
	}
	p.Exec(identitySchema)
	if _, err := s.Identity(t.Context()); !errors.Is(err, todo.ErrNoIdentity) {
		t.Errorf("Identity without the right to read: %v", err)
	}
	want, err := mustOpen(t, p.URL(), Options{}).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Exec("GRANT SELECT ON aside_identity TO " + role)
	if got, err := s.Identity(t.Context()); err != nil || got != want {
		t.Errorf("Identity: %q, %v, want %q", got, err, want)
	}
	p.Exec("UPDATE aside_identity SET identity = 'a b'")
	if _, err := s.Identity(t.Context()); !errors.Is(err, todo.ErrNoIdentity) || !strings.Contains(err.Error(), "delete this row") {
		t.Errorf("Identity of a row that is none: %v", err)
	}
}
