package pgfeed_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// A truncation is told once, though the table has new files after it, which is told too.
func TestTruncateIsAll(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('b', 'x', 1); TRUNCATE todos; INSERT INTO todos VALUES ('c', 'x', 1); COMMIT")
	s.wantAll()
	s.wantQuiet()
	s.wantQuiet()
	pg.Exec("INSERT INTO todos VALUES ('d', 'x', 1)")
	s.want("d=1")
}

// What ALTER TABLE does to rows is not in the log.
func TestAlterTable(t *testing.T) {
	pg := server(t)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	for _, sql := range []string{
		"ALTER TABLE todos ADD COLUMN done boolean DEFAULT false",
		"ALTER TABLE todos ALTER COLUMN name TYPE text USING upper(name)",
		"ALTER TABLE todos DROP COLUMN done",
		"ALTER TABLE todos RENAME COLUMN name TO title",
	} {
		before := s.Position()
		pg.Exec(sql)
		s.wantAll()
		pg.Exec("UPDATE todos SET version = version + 1")
		s.changes(1)
		after := s.handle()
		// The same for who was not there.
		_ = s.Close()
		wantGap(t, f, before)
		s = open(t, f, after)
	}
	// The key column.
	pg.Exec("ALTER PUBLICATION " + pg.Database() + " SET TABLE todos; ALTER TABLE todos ALTER COLUMN id TYPE varchar(100)")
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("another type of the key column: %v, want ErrGap", err)
	}
	s = open(t, f, nil)
	pg.Exec("ALTER TABLE todos RENAME COLUMN id TO key; UPDATE todos SET version = version + 1")
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("another name of the key column: %v, want ErrGap", err)
	}
	if _, err := tryOpen(t, f, nil); !errors.Is(err, pgfeed.ErrTable) || !strings.Contains(err.Error(), `"id"`) {
		t.Errorf("Open without the key column: %v, want ErrTable", err)
	}
	pg.Exec("ALTER TABLE todos RENAME COLUMN key TO id")
	s = open(t, f, nil)
	pg.Exec("ALTER TABLE todos REPLICA IDENTITY NOTHING")
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("another replica identity: %v, want ErrGap", err)
	}
}

// A migration puts another table in the place of the one that is followed. No change of it
// would be told.
func TestTableIsReplaced(t *testing.T) {
	pg := server(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("CREATE TABLE fresh (LIKE todos INCLUDING ALL); ALTER TABLE todos RENAME TO old; ALTER TABLE fresh RENAME TO todos")
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("Next: %v, want ErrGap", err)
	}
	_, err := tryOpen(t, f, nil)
	if !errors.Is(err, pgfeed.ErrSettings) || !strings.Contains(err.Error(), "ADD TABLE") {
		t.Fatalf("Open: %v, want ErrSettings with the statement", err)
	}
	_, sql, _ := strings.Cut(err.Error(), ": ALTER PUBLICATION")
	pg.Exec("ALTER PUBLICATION" + sql)
	s = open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
}

func TestPartitions(t *testing.T) {
	pg := testserver.Postgres(t)
	pg.Exec("CREATE TABLE todos (id text PRIMARY KEY, name text, version bigint NOT NULL DEFAULT 1) PARTITION BY HASH (id);" +
		"CREATE TABLE p0 PARTITION OF todos FOR VALUES WITH (MODULUS 2, REMAINDER 0);" +
		"CREATE TABLE p1 PARTITION OF todos FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos SELECT 'k' || n, 'x', n FROM generate_series(1, 20) n")
	s.changes(20)
	pg.Exec("UPDATE p0 SET version = 100 WHERE id = (SELECT min(id) FROM p0)")
	s.changes(1)
	// To another partition and back: one change, as of a record that was made anew.
	pg.Exec("BEGIN; UPDATE todos SET id = 'other' WHERE id = 'k1'; UPDATE todos SET id = 'k1', version = 50 WHERE id = 'other'; COMMIT")
	if got := texts(s.changes(2)); fmt.Sprint(got) != "[k1=0 other-]" {
		t.Errorf("a row that moved and came back: %v", got)
	}
	// Not in the log, since the partition is told as its table.
	pg.Exec("TRUNCATE p1")
	s.wantAll()
	pg.Exec("ALTER TABLE todos DETACH PARTITION p1")
	s.wantAll()
	pg.Exec("ALTER TABLE todos ATTACH PARTITION p1 FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
	s.wantAll()
	pg.Exec("TRUNCATE todos")
	s.wantAll()
	s.wantQuiet()
	pg.Exec("ALTER TABLE p1 REPLICA IDENTITY NOTHING")
	_ = s.wantEnd()
	if _, err := tryOpen(t, f, nil); !errors.Is(err, pgfeed.ErrTable) || !strings.Contains(err.Error(), "public.p1") {
		t.Errorf("Open with a partition without identity: %v", err)
	}
}

// PostgreSQL refuses updates of a table whose replica identity is not in the publication's list
// of columns. The feed does not leave the table like that.
func TestReplicaIdentityChangesLater(t *testing.T) {
	pg := server(t)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	c := pg.Conn()
	update := func() error {
		_, err := c.Exec(t.Context(), "UPDATE todos SET version = version + 1")
		return err
	}
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("ALTER TABLE todos REPLICA IDENTITY FULL")
	if err := update(); err == nil {
		t.Error("this PostgreSQL does not refuse it: the guide says so")
	}
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("Next: %v, want ErrGap", err)
	}
	if err := f.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if pg.Value("SELECT prattrs::text FROM pg_publication_rel") == "" {
		t.Error("Check has changed the publication")
	}
	s = open(t, f, nil)
	if err := update(); err != nil {
		t.Error(err)
	}
	s.want("a=2")
	_ = s.Close()
	// A table that cannot be followed is not left so, either.
	if err := f.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	pg.Exec("ALTER TABLE todos REPLICA IDENTITY DEFAULT")
	_ = open(t, f, nil).Close()
	pg.Exec("ALTER TABLE todos DROP CONSTRAINT todos_pkey; ALTER TABLE todos ADD PRIMARY KEY (name)")
	if err := update(); err == nil {
		t.Error("this PostgreSQL does not refuse it: the guide says so")
	}
	if _, err := tryOpen(t, f, nil); !errors.Is(err, pgfeed.ErrTable) {
		t.Errorf("Open: %v, want ErrTable", err)
	}
	if err := update(); err != nil {
		t.Error(err)
	}
}

// PostgreSQL does not take a DEFERRABLE primary key for a replica identity, and refuses to
// change a published table without one. The feed says so, and what to do.
func TestPrimaryKeyBecomesDeferrable(t *testing.T) {
	pg := server(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	pg.Exec("ALTER TABLE todos DROP CONSTRAINT todos_pkey; ALTER TABLE todos ADD PRIMARY KEY (id) DEFERRABLE")
	if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
		t.Errorf("Next: %v, want ErrGap", err)
	}
	_, err := tryOpen(t, f, nil)
	if !errors.Is(err, pgfeed.ErrTable) || !strings.Contains(err.Error(), "DEFERRABLE") {
		t.Fatalf("Open: %v, want ErrTable", err)
	}
	_, sql, ok := strings.Cut(err.Error(), "alone, or ")
	if !ok {
		t.Fatalf("Open: %v has no statement", err)
	}
	pg.Exec(sql)
	s = open(t, f, nil)
	pg.Exec("UPDATE todos SET version = 2")
	s.want("a=2")
}

// A partitioned table need not have a replica identity itself.
func TestIdentityOfPartitions(t *testing.T) {
	for _, identity := range []string{
		"ALTER TABLE p0 REPLICA IDENTITY USING INDEX i",
		"ALTER TABLE p0 REPLICA IDENTITY FULL",
	} {
		pg := testserver.Postgres(t)
		pg.Exec("CREATE TABLE todos (id text NOT NULL, name text, version bigint NOT NULL DEFAULT 1) PARTITION BY RANGE (version);" +
			"CREATE TABLE p0 (name text, version bigint NOT NULL, id text NOT NULL); CREATE UNIQUE INDEX i ON p0 (id);" +
			"ALTER TABLE todos ATTACH PARTITION p0 FOR VALUES FROM (0) TO (100);" + identity)
		s := open(t, newFeed(t, options(pg)), nil)
		pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
		s.want("a=1")
		pg.Exec("UPDATE todos SET id = 'b', version = 2")
		s.want("a-", "b=2")
		pg.Exec("DELETE FROM todos")
		s.want("b-")
	}
}

// TestTables: which tables can be followed, and that keys are told for each of them.
func TestTables(t *testing.T) {
	for _, c := range []struct {
		name, table string
		set         func(*pgfeed.Options)
		fault       string // of ErrTable; "" if it can be followed
	}{
		{"integer key", "CREATE TABLE todos (id bigint PRIMARY KEY, version int)", nil, ""},
		{"domain", "CREATE DOMAIN slug AS text; CREATE DOMAIN short AS slug CHECK (length(VALUE) < 9); CREATE TABLE todos (id short PRIMARY KEY, version int)", nil, ""},
		{"full", "CREATE TABLE todos (id text, version int); ALTER TABLE todos REPLICA IDENTITY FULL", nil, ""},
		{"full, other primary key", "CREATE TABLE todos (n serial PRIMARY KEY, id text, version int); ALTER TABLE todos REPLICA IDENTITY FULL", nil, ""},
		{"index of the key", "CREATE TABLE todos (n serial PRIMARY KEY, id text NOT NULL, version int); CREATE UNIQUE INDEX i ON todos (id); " +
			"ALTER TABLE todos REPLICA IDENTITY USING INDEX i", nil, ""},
		{"more columns in the primary key's index", "CREATE TABLE todos (id text, version int, PRIMARY KEY (id) INCLUDE (version))", nil, ""},
		{"more columns in the index of the key", "CREATE TABLE todos (n serial PRIMARY KEY, id text NOT NULL, version int); " +
			"CREATE UNIQUE INDEX i ON todos (id) INCLUDE (n); ALTER TABLE todos REPLICA IDENTITY USING INDEX i", nil, ""},
		{"deferrable primary key, full", "CREATE TABLE todos (id text PRIMARY KEY DEFERRABLE, version int); ALTER TABLE todos REPLICA IDENTITY FULL", nil, ""},
		{"deferrable primary key, index of the key", "CREATE TABLE todos (id text PRIMARY KEY DEFERRABLE, version int); CREATE UNIQUE INDEX i ON todos (id); " +
			"ALTER TABLE todos REPLICA IDENTITY USING INDEX i", nil, ""},
		{"no version", "CREATE TABLE todos (id text PRIMARY KEY)", func(o *pgfeed.Options) { o.Version = "" }, ""},
		{"uuid with KeyOf", "CREATE TABLE todos (id uuid PRIMARY KEY, version int)", func(o *pgfeed.Options) { o.KeyOf = strings.ToUpper }, ""},
		{"other schema", "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"Todo's\" (id text PRIMARY KEY, version int)",
			func(o *pgfeed.Options) { o.Table = "S.Todo's" }, ""},

		{"key is not the primary key", "CREATE TABLE todos (n serial PRIMARY KEY, id text UNIQUE, version int)", nil, "replica identity is (n)"},
		{"composite primary key", "CREATE TABLE todos (id text, n int, version int, PRIMARY KEY (id, n))", nil, "replica identity is (id, n)"},
		{"index of another column", "CREATE TABLE todos (id text PRIMARY KEY, n int NOT NULL UNIQUE, version int); " +
			"ALTER TABLE todos REPLICA IDENTITY USING INDEX todos_n_key", nil, "replica identity is (n)"},
		{"deferrable primary key", "CREATE TABLE todos (id text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, version int)", nil, "without DEFERRABLE"},
		{"partitions with a deferrable primary key", "CREATE TABLE todos (id text PRIMARY KEY DEFERRABLE, version int) PARTITION BY HASH (id); " +
			"CREATE TABLE p0 PARTITION OF todos FOR VALUES WITH (MODULUS 1, REMAINDER 0)", nil, "public.p0: its primary key is DEFERRABLE"},
		{"key that is only in INCLUDE", "CREATE TABLE todos (n int, id text, version int, PRIMARY KEY (n) INCLUDE (id))", nil, "replica identity is (n)"},
		{"no primary key", "CREATE TABLE todos (id text, version int)", nil, "no primary key"},
		{"identity nothing", "CREATE TABLE todos (id text PRIMARY KEY, version int); ALTER TABLE todos REPLICA IDENTITY NOTHING", nil, "NOTHING"},
		{"uuid", "CREATE TABLE todos (id uuid PRIMARY KEY, version int)", nil, "of type uuid: set Options.KeyOf"},
		{"char", "CREATE TABLE todos (id char(5) PRIMARY KEY, version int)", nil, "of type character: set Options.KeyOf"},
		{"equal texts that differ", "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); " +
			"CREATE TABLE todos (id text COLLATE ci PRIMARY KEY, version int)", nil, "collation"},
		{"no key column", "CREATE TABLE todos (key text PRIMARY KEY, version int)", nil, `no column "id" (Options.Key)`},
		{"no version column", "CREATE TABLE todos (id text PRIMARY KEY)", nil, `no column "version" (Options.Version)`},
		{"time as version", "CREATE TABLE todos (id text PRIMARY KEY, version timestamptz)", nil, "bigint is needed"},
		{"generated version", "CREATE TABLE todos (id text PRIMARY KEY, n int, version int GENERATED ALWAYS AS (n + 1) STORED)", nil, "generated"},
		{"unlogged", "CREATE UNLOGGED TABLE todos (id text PRIMARY KEY, version int)", nil, "SET LOGGED"},
		{"view", "CREATE TABLE t (id text PRIMARY KEY, version int); CREATE VIEW todos AS SELECT * FROM t", nil, "not a table"},
		{"children", "CREATE TABLE todos (id text PRIMARY KEY, version int); CREATE TABLE child () INHERITS (todos)", nil, "INHERITS"},
		{"no table", "CREATE TABLE \"Todos\" (id text PRIMARY KEY, version int)", nil, `there is public."Todos"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			pg := testserver.Postgres(t)
			pg.Exec(c.table)
			opt := options(pg)
			if c.set != nil {
				c.set(&opt)
			}
			s, err := tryOpen(t, newFeed(t, opt), nil)
			if c.fault != "" {
				if !errors.Is(err, pgfeed.ErrTable) || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("Open: %v, want ErrTable with %q", err, c.fault)
				}
				// PostgreSQL would refuse to change some of these tables.
				if n := pg.Value("SELECT count(*) FROM pg_publication"); n != "0" {
					t.Error("the table was published")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			table, one, two := `"public"."todos"`, "1", "2"
			if opt.Table != "public.todos" {
				table = `"S"."Todo's"`
			}
			if opt.KeyOf != nil {
				one, two = "aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"
			}
			version := "1"
			if opt.Version == "" {
				version = "0"
				pg.Exec("INSERT INTO " + table + " VALUES ('1')")
			} else {
				pg.Exec("INSERT INTO " + table + " (id, version) VALUES ('" + one + "', 1)")
			}
			pg.Exec("UPDATE " + table + " SET id = '" + two + "' WHERE id = '" + one + "'")
			pg.Exec("DELETE FROM " + table)
			if opt.KeyOf != nil {
				one, two = opt.KeyOf(one), opt.KeyOf(two)
			}
			stream{s, t}.want(one+"="+version, one+"-", two+"="+version, two+"-")
		})
	}
}

// A key so long that it is not stored in the row is not told again when it stays.
func TestLongKey(t *testing.T) {
	pg := server(t)
	pg.Exec("ALTER TABLE todos ALTER COLUMN id SET STORAGE EXTERNAL, ALTER COLUMN name SET STORAGE EXTERNAL")
	s := open(t, newFeed(t, options(pg)), nil)
	key := strings.Repeat("k", 2500)
	pg.Exec("INSERT INTO todos VALUES ('" + key + "', repeat('x', 5000), 1)")
	s.want(key + "=1")
	pg.Exec("UPDATE todos SET version = 2")
	s.want(key + "=2")
	pg.Exec("DELETE FROM todos")
	s.want(key + "-")
}
