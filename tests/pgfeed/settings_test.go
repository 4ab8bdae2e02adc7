package pgfeed_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// wantError opens at "now" and checks the kind and the text of the error.
func wantError(t *testing.T, opt pgfeed.Options, kind error, texts ...string) {
	t.Helper()
	s, err := tryOpen(t, newFeed(t, opt), nil)
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, kind) || errors.Is(err, driver.ErrGap) {
		t.Errorf("Open: %v, want %v", err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("Open: %v does not say %q", err, text)
		}
	}
}

// wantCheck checks what Check says before anything is opened; nil: nothing.
func wantCheck(t *testing.T, opt pgfeed.Options, kind error, text string) {
	t.Helper()
	f := newFeed(t, opt)
	if err := f.Check(t.Context()); !errors.Is(err, kind) || kind != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("Check: %v, want %v and %q", err, kind, text)
	}
}

// All that is wrong is said at once, and what to run.
func TestSettings(t *testing.T) {
	pg := ownServer(t, "wal_level=replica", "max_slot_wal_keep_size=-1", "max_replication_slots=1")
	wantCheck(t, options(pg), pgfeed.ErrSettings, "wal_level = 'logical'")
	wantCheck(t, options(pg), pgfeed.ErrSettings, "max_replication_slots = 2")
	wantError(t, options(pg), pgfeed.ErrSettings, "wal_level = 'logical'", "max_slot_wal_keep_size = '10GB'", "max_replication_slots = 2")
	pg.Stop()
	pg.Start("wal_level=logical", "max_replication_slots=2")
	wantError(t, options(pg), pgfeed.ErrSettings, "AllowUnboundedWAL")
	opt := options(pg)
	opt.AllowUnboundedWAL = true
	wantCheck(t, opt, nil, "")
	s := open(t, newFeed(t, opt), nil)
	s = open(t, newFeed(t, opt), s.Position()) // its own slots count as its own
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	_ = s.Close()
	pg.Stop()
	pg.Start("max_wal_senders=1")
	standby := replicate(t, pg)
	wantError(t, opt, pgfeed.ErrSettings, "max_wal_senders = 3")
	wantCheck(t, opt, nil, "") // another process may end and give it back
	pg.Stop()
	wantCheck(t, opt, nil, "")
	_ = standby.Close(context.Background())
}

// replicate uses up a WAL sender.
func replicate(t *testing.T, pg *testserver.PostgresServer) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), pg.URL()+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRights(t *testing.T) {
	pg := server(t)
	role := func(name, attributes string) pgfeed.Options {
		name = pg.Database() + name
		pg.Exec("CREATE ROLE " + name + " LOGIN " + attributes)
		t.Cleanup(func() { pg.Exec("DROP OWNED BY " + name + "; DROP ROLE " + name) })
		opt := options(pg)
		opt.URL = pg.URLAs(name)
		return opt
	}
	wantError(t, role("_none", ""), pgfeed.ErrRights, "ALTER ROLE", "REPLICATION")
	replicator := role("_repl", "REPLICATION")
	wantError(t, replicator, pgfeed.ErrRights, "CREATE PUBLICATION", `"public"."todos" ("id", "version")`)
	// The statement that the error tells is enough.
	_, err := tryOpen(t, newFeed(t, replicator), nil)
	_, sql, _ := strings.Cut(err.Error(), "run CREATE")
	sql, _, _ = strings.Cut(sql, ": pgfeed")
	pg.Exec("CREATE" + sql)
	s := open(t, newFeed(t, replicator), nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	p := s.handle()
	// Another role's stream cannot be ended without a right.
	other := role("_other", "REPLICATION")
	_, err = tryOpen(t, newFeed(t, other), p)
	if !errors.Is(err, pgfeed.ErrRights) || !strings.Contains(err.Error(), "pg_signal_backend") {
		t.Errorf("Open while another role has the slot: %v", err)
	}
}

// A publication or a slot that is there already is checked.
func TestWhatIsThereIsChecked(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	name := pg.Database()
	for _, c := range []struct{ create, says string }{
		{"FOR TABLE todos WHERE (version > 3)", "SET TABLE"},
		{"FOR TABLE todos (id)", "leaves columns out"},
		{"FOR TABLE todos WITH (publish = 'insert, update, delete')", "SET (publish ="},
		{"FOR ALL TABLES", "Options.Publication"},
		{"", "set Options.Slot and Options.Publication to other names"},
	} {
		pg.Exec("CREATE PUBLICATION " + name + " " + c.create)
		wantError(t, opt, pgfeed.ErrSettings, c.says)
		pg.Exec("DROP PUBLICATION " + name)
	}
	// One with more in it is used as it is.
	pg.Exec("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION " + name + " FOR TABLE todos, other")
	s := open(t, newFeed(t, opt), nil)
	pg.Exec("INSERT INTO other VALUES (1); TRUNCATE other; INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	_ = s.Close()
	if err := newFeed(t, opt).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}

	pg.Exec("SELECT pg_create_logical_replication_slot('" + name + "', 'test_decoding')")
	wantError(t, opt, pgfeed.ErrSettings, "Options.Slot", "test_decoding")
	pg.Exec("SELECT pg_drop_replication_slot('" + name + "')")
	other := server(t)
	other.Exec("SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput')")
	wantError(t, opt, pgfeed.ErrSettings, "Options.Slot", other.Database())
}

// A feed that commits wait for is warned of.
func TestSynchronousStandby(t *testing.T) {
	pg := ownServer(t)
	var log bytes.Buffer
	opt := options(pg)
	opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_ = open(t, newFeed(t, opt), nil).Close()
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
	pg.Exec("ALTER SYSTEM SET synchronous_standby_names = '*'")
	pg.Exec("SELECT pg_reload_conf()")
	testserver.Eventually(t, limit, "the setting is there", func() bool { return pg.Value("SHOW synchronous_standby_names") == "*" })
	_ = open(t, newFeed(t, opt), nil).Close()
	if !strings.Contains(log.String(), "synchronous_standby_names") {
		t.Errorf("log: %s", &log)
	}
}

// A commit that waits for a synchronous standby is in the log, but nobody sees it. The
// stream does not tell it before it is seen, and says why it waits.
func TestCommitThatWaitsForAStandby(t *testing.T) {
	pg := ownServer(t)
	opt := options(pg)
	opt.Silence = 2e9
	s := open(t, newFeed(t, opt), nil)
	p := s.Position()
	pg.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	pg.Exec("SELECT pg_reload_conf()")
	testserver.Eventually(t, limit, "the setting is there", func() bool { return pg.Value("SHOW synchronous_standby_names") == "nobody" })
	tx := begin(t, pg)
	tx.exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	done := make(chan error, 1)
	go func() {
		_, err := tx.c.Exec(context.Background(), "COMMIT").ReadAll()
		done <- err
	}()
	if err := s.wantEnd(); !strings.Contains(err.Error(), "synchronous standby") {
		t.Errorf("Next: %v", err)
	}
	pg.Exec("ALTER SYSTEM RESET synchronous_standby_names")
	pg.Exec("SELECT pg_reload_conf()")
	if err := <-done; err != nil {
		t.Error(err)
	}
	s = open(t, newFeed(t, opt), p)
	s.want("a=1")
}

// The same when the stream is opened at "now" in between: who reads then does not see it,
// though its commit is in the log before "now".
func TestOpenNowTellsWhatIsNotVisibleYet(t *testing.T) {
	pg := ownServer(t)
	f := newFeed(t, options(pg))
	_ = open(t, f, nil).Close()
	pg.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	pg.Exec("SELECT pg_reload_conf()")
	tx := begin(t, pg)
	testserver.Eventually(t, limit, "commits wait", func() bool { return pg.Value("SHOW synchronous_standby_names") == "nobody" })
	tx.exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	done := make(chan error, 1)
	go func() {
		_, err := tx.c.Exec(context.Background(), "COMMIT").ReadAll()
		done <- err
	}()
	testserver.Eventually(t, limit, "the commit waits", func() bool {
		return pg.Value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
	})
	s := open(t, f, nil)
	if n := pg.Value("SELECT count(*) FROM todos"); n != "0" {
		t.Fatalf("%s rows are seen", n)
	}
	pg.Exec("ALTER SYSTEM RESET synchronous_standby_names")
	pg.Exec("SELECT pg_reload_conf()")
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.want("a=1")
}

func TestNoPasswordIsShown(t *testing.T) {
	pg := server(t)
	const secret = "pa55w0rd"
	u, err := url.Parse(pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*url.URL){
		"no such database": func(u *url.URL) { u.Path = "/nobody" },
		"no such role":     func(u *url.URL) { u.User = url.UserPassword("nobody", secret) },
		"nobody listens":   func(u *url.URL) { u.Host = "127.0.0.1:1" },
		"bad port":         func(u *url.URL) { u.Host = "127.0.0.1:99999" },
		"bad parameter":    func(u *url.URL) { u.RawQuery = "sslmode=none" },
	} {
		v := *u
		v.User = url.UserPassword("postgres", secret)
		change(&v)
		opt := options(pg)
		opt.URL = v.String()
		f, err := pgfeed.New(opt)
		if err == nil {
			_, err = f.Open(t.Context(), nil)
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
