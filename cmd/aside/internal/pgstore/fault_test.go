package pgstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

var one = todo.Todo{ID: "1", Name: "n"}

func unchanged(c todo.Todo) (todo.Todo, error) { return c, nil }
func accept(todo.Todo) error                   { return nil }

// calls are calls of all methods that ask the server.
func calls(s *Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":     func(ctx context.Context) error { _, err := s.Get(ctx, "1"); return err },
		"GetMany": func(ctx context.Context) error { _, err := s.GetMany(ctx, []string{"1"}); return err },
		"List":    func(ctx context.Context) error { _, err := s.List(ctx, "", 1); return err },
		"Insert":  func(ctx context.Context) error { return s.Insert(ctx, todo.Todo{ID: "2", Name: "n"}) },
		"Update":  func(ctx context.Context) error { _, err := s.Update(ctx, "1", unchanged); return err },
		"Delete":  func(ctx context.Context) error { return s.Delete(ctx, "1", accept) },
		"InsertMany": func(ctx context.Context) error {
			_, err := s.InsertMany(ctx, []todo.Record{{Todo: one}})
			return err
		},
		"Count":    func(ctx context.Context) error { _, err := s.Count(ctx); return err },
		"Identity": func(ctx context.Context) error { _, err := s.Identity(ctx); return err },
		"Ping":     func(ctx context.Context) error { return s.Ping(ctx) },
	}
}

// wantUnavailable checks that every call fails without having written anything, in one
// line.
func wantUnavailable(t *testing.T, s *Store, says string) {
	t.Helper()
	var wg sync.WaitGroup
	for name, call := range calls(s) {
		wg.Go(func() {
			err := call(t.Context())
			if !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !todo.Definite(err) {
				t.Errorf("%s: %v", name, err)
			} else if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: want %q in one line: %v", name, says, err)
			}
		})
	}
	wg.Wait()
}

func eventuallyWorks(t *testing.T, s *Store) {
	t.Helper()
	testserver.Eventually(t, 20*time.Second, "the store recovers", func() bool {
		_, err := s.Get(t.Context(), "1")
		return err == nil || errors.Is(err, todo.ErrNotFound)
	})
	if err := s.Insert(t.Context(), todo.Todo{ID: "recovered", Name: "n"}); err != nil && !errors.Is(err, todo.ErrExists) {
		t.Errorf("Insert after the recovery: %v", err)
	}
}

func TestServerDownAtStart(t *testing.T) {
	p := testserver.Postgres(t)
	proxy := testserver.Toxiproxy(t, p.Addr())
	proxy.Cut()
	s := mustOpen(t, p.URLVia(proxy.Addr()), Options{})
	wantUnavailable(t, s, "connect")
	proxy.Restore()
	eventuallyWorks(t, s)
}

// TestServerGoesAwayAndComesBack: killed, stopped as systems do, and cut off.
func TestServerGoesAwayAndComesBack(t *testing.T) {
	p := testserver.OwnPostgres(t)
	proxy := testserver.Toxiproxy(t, p.Addr())
	s := mustOpen(t, p.URLVia(proxy.Addr()), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ away, back func() }{
		"cut":     {proxy.Cut, proxy.Restore},
		"killed":  {p.Kill, func() { p.Start() }},
		"stopped": {p.Stop, func() { p.Start() }},
	} {
		t.Run(name, func(t *testing.T) {
			c.away()
			// The connections that the pool has are found out by the first calls. A write
			// over one of them was sent, so that its outcome is not known.
			if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrUnavailable) {
				t.Errorf("Get: %v", err)
			}
			testserver.Eventually(t, 10*time.Second, "the pool knows it", func() bool { return s.pool.Stat().TotalConns() == 0 })
			wantUnavailable(t, s, "")
			c.back()
			eventuallyWorks(t, s)
		})
	}
}

// TestRestartIsNotSeen: a read repeats what a restart broke.
func TestRestartIsNotSeen(t *testing.T) {
	p := testserver.OwnPostgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	p.Start()
	if _, err := s.Get(t.Context(), "1"); err != nil {
		t.Errorf("Get: %v", err)
	}
	p.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aside'")
	if _, err := s.Get(t.Context(), "1"); err != nil {
		t.Errorf("Get after the end of its connections: %v", err)
	}
}

// TestPausedServer: every call ends at the caller's deadline. The error of a write that
// was sent is that of an unknown outcome.
func TestPausedServer(t *testing.T) {
	p := testserver.OwnPostgres(t)
	s := mustOpen(t, p.URL(), Options{noPing: true})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	p.Pause()
	t.Cleanup(p.Resume)
	within := func(call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := call(ctx)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		return err
	}
	// The pool has one connection, over which this is sent.
	if err := within(calls(s)["Insert"]); !errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Insert: %v", err)
	}
	if err := within(calls(s)["Get"]); !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v", err)
	}
	if err := within(calls(s)["Ping"]); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Ping: %v", err)
	}
	// There is no connection, and none is made: the write was not sent.
	if err := within(calls(s)["Insert"]); !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Insert without a connection: %v", err)
	}
	p.Resume()
	eventuallyWorks(t, s)
}

// TestLostReply: the write was applied and the reply to its commit was lost. Seen to fail
// if a network error counts as "nothing was written".
func TestLostReply(t *testing.T) {
	p := testserver.Postgres(t)
	direct := mustOpen(t, p.URL(), Options{})
	if err := direct.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocker := p.Conn()
	record := todo.Todo{ID: "new", Name: "n"}
	insertMany := func(ctx context.Context, s *Store) error {
		res, err := s.InsertMany(ctx, []todo.Record{{Todo: record}})
		if err != nil && res != (todo.InsertResult{}) {
			t.Errorf("InsertMany counts %+v without an answer", res)
		}
		return err
	}
	for name, write := range map[string]func(context.Context, *Store) error{
		"Insert":     func(ctx context.Context, s *Store) error { return s.Insert(ctx, record) },
		"COPY":       insertMany,
		"InsertMany": func(ctx context.Context, s *Store) error { s.mixed.Store(true); return insertMany(ctx, s) },
	} {
		for how, lose := range map[string]func(*testserver.Proxy, context.CancelFunc){
			"deadline": func(*testserver.Proxy, context.CancelFunc) {},
			"cancel":   func(_ *testserver.Proxy, cancel context.CancelFunc) { cancel() },
			"cut":      func(p *testserver.Proxy, _ context.CancelFunc) { p.Cut() },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				proxy := testserver.Toxiproxy(t, p.Addr())
				s := mustOpen(t, p.URLVia(proxy.Addr()), Options{})
				// The write waits for a transaction that inserts the same id, and takes it back.
				tx, err := blocker.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(t.Context(), "INSERT INTO todos (id) VALUES ('new')"); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- write(ctx, s) }()
				testserver.Eventually(t, 5*time.Second, "the write waits", func() bool {
					return p.Value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
				})
				proxy.SilenceReplies()
				if err := tx.Rollback(t.Context()); err != nil {
					t.Fatal(err)
				}
				testserver.Eventually(t, 20*time.Second, "the write is applied", func() bool {
					_, err := direct.Get(t.Context(), "new")
					return err == nil
				})
				lose(proxy, cancel)
				if err := <-done; !errors.Is(err, todo.ErrUnknownOutcome) {
					t.Errorf("%v, want ErrUnknownOutcome", err)
				}
				p.Exec("DELETE FROM todos")
			})
		}
	}
}

// TestLockedRow: the server ends a write that waits for a lock before the caller gives
// up, so it is known that nothing was written, and nothing is written later. Seen to fail
// without statement_timeout.
func TestLockedRow(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	c := p.Conn()
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM todos FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(context.Context) error{
		"Update": func(ctx context.Context) error {
			_, err := s.Update(ctx, "1", func(c todo.Todo) (todo.Todo, error) { c.Name = "late"; return c, nil })
			return err
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "1", accept) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := write(ctx)
		cancel()
		if !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := p.Value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"); n != "0" {
		t.Errorf("%s writes still wait", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "1"); err != nil || got.Name != "n" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestLockedTable: reads that were given up do not wait on the server for ever: a server
// accepts few connections.
func TestLockedTable(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	tx, err := p.Conn().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE todos"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := s.Get(ctx, "1"); !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get: %v", err)
		}
		cancel()
	}
	testserver.Eventually(t, time.Minute, "nobody waits for the table", func() bool {
		return p.Value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "0"
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventuallyWorks(t, s)
}

// TestEndedConnection: the server has committed and waits for its standby. An operator
// ends the connection, or only the wait: then the server says that all is well, and has
// no more than a warning that a failover would lose the write.
func TestEndedConnection(t *testing.T) {
	p := testserver.OwnPostgres(t, "synchronous_standby_names=nobody")
	p.Exec("SET synchronous_commit = local; " + Schema("todos"))
	s := mustOpen(t, p.URL(), Options{})
	for i, end := range []string{"pg_terminate_backend", "pg_cancel_backend", "pg_terminate_backend", "pg_cancel_backend"} {
		t.Run(end, func(t *testing.T) {
			done := make(chan error, 1)
			id := fmt.Sprint(i)
			go func() {
				if i < 2 {
					done <- s.Insert(t.Context(), todo.Todo{ID: id, Name: "n"})
					return
				}
				_, err := s.InsertMany(t.Context(), []todo.Record{{Todo: todo.Todo{ID: id, Name: "n"}}})
				done <- err
			}()
			const waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'aside'"
			testserver.Eventually(t, 10*time.Second, "the commit waits for the standby", func() bool {
				return p.Value("SELECT count(*) "+waits) == "1"
			})
			p.Exec("SELECT " + end + "(pid) " + waits)
			if err := <-done; !errors.Is(err, todo.ErrUnknownOutcome) {
				t.Errorf("%v, want ErrUnknownOutcome", err)
			}
			if _, err := s.Get(t.Context(), id); err != nil {
				t.Errorf("it is applied here, and Get says %v", err)
			}
		})
	}
}

// TestTooManyConnections: the call waits a little for a connection, and then says why
// there is none.
func TestTooManyConnections(t *testing.T) {
	p := testserver.OwnPostgres(t, "max_connections=5", "superuser_reserved_connections=1", "max_wal_senders=0")
	role := guest(p)
	p.Exec(Schema("todos") + "GRANT SELECT, INSERT, UPDATE, DELETE ON todos, aside_identity TO " + role)
	var others []*pgx.Conn
	for range 4 {
		c, err := pgx.Connect(t.Context(), p.URLAs(role))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		others = append(others, c)
	}
	s := mustOpen(t, p.URLAs(role), Options{})
	wantUnavailable(t, s, "pool_max_conns")
	for _, c := range others[:2] {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventuallyWorks(t, s)

	// With some connections of its own the store works, though the pool wants more. Seen to
	// fail on a busy machine when the pool's refusals went to the callers.
	done := make(chan error)
	const readers = 20
	for range readers {
		go func() {
			var err error
			for range 20 {
				if _, e := s.Get(t.Context(), "recovered"); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for range readers {
		if err := <-done; err != nil {
			t.Errorf("with two connections: %v", err)
		}
	}
}

// TestReadOnly: reads work and writes are refused, definitely.
func TestReadOnly(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	p.Exec("ALTER DATABASE " + p.Database() + " SET default_transaction_read_only = on")
	var said testsync.Buffer
	s = mustOpen(t, p.URL(), Options{Logger: storetest.Logger(&said)})
	for name, call := range calls(s) {
		err := call(t.Context())
		switch name {
		case "Insert", "Update", "Delete", "InsertMany", "Identity":
			if !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !strings.Contains(err.Error(), "default_transaction_read_only") {
				t.Errorf("%s: %v", name, err)
			}
		default:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// read-write in the URL goes further: then such a server is no primary.
	s = mustOpen(t, p.URL()+"&target_session_attrs=read-write", Options{Logger: storetest.Logger(&said)})
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), "read only") {
		t.Errorf("Get with target_session_attrs=read-write: %v", err)
	}
}

// TestStandby: a standby may lack the latest writes, so the store does not read from it.
// Of several servers it finds the primary, also after a failover.
func TestStandby(t *testing.T) {
	p := testserver.OwnPostgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	standby := p.Standby()
	for _, url := range []string{standby.URL(), standby.URL() + "&target_session_attrs=any"} {
		var said testsync.Buffer
		s = mustOpen(t, url, Options{Logger: storetest.Logger(&said)})
		wantUnavailable(t, s, "must read from the primary")
		if strings.Contains(url, "any") != strings.Contains(said.String(), "target_session_attrs in the PostgreSQL URL is ignored") {
			t.Errorf("%s: the log says: %s", url, said.String())
		}
	}
	both := mustOpen(t, standby.URLVia(standby.Addr()+","+p.Addr()), Options{})
	eventuallyWorks(t, both)
	standby.InStep(p)
	p.Kill()
	standby.Promote()
	eventuallyWorks(t, both)
	eventuallyWorks(t, s)
}

// TestNoDatabase: the error says it, and the store works when the database is there.
func TestNoDatabase(t *testing.T) {
	p := testserver.Postgres(t)
	missing := p.Database() + "_missing"
	s := mustOpen(t, strings.Replace(p.URL(), p.Database(), missing, 1), Options{})
	wantUnavailable(t, s, "create the database")
	p.Exec("CREATE DATABASE " + missing)
	t.Cleanup(func() { p.Exec("DROP DATABASE " + missing + " WITH (FORCE)") })
	eventuallyWorks(t, s)
}

// TestWrongPassword: the error says it without the password.
func TestWrongPassword(t *testing.T) {
	p := testserver.OwnPostgres(t)
	role := guest(p)
	p.Exec("GRANT CREATE ON SCHEMA public TO " + role + "; ALTER ROLE " + role + " PASSWORD 'right'")
	rules, err := os.OpenFile(p.Value("SHOW hba_file"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(rules, "host all %s 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n", role)
	if err := rules.Close(); err != nil {
		t.Fatal(err)
	}
	p.Exec("SELECT pg_reload_conf()")
	with := func(password string) string {
		return strings.Replace(p.URLAs(role), role+"@", role+":"+password+"@", 1)
	}
	testserver.Eventually(t, 10*time.Second, "the server asks for a password", func() bool {
		c, err := pgx.Connect(t.Context(), with("p4ssword"))
		if err == nil {
			_ = c.Close(t.Context())
		}
		return err != nil
	})
	var said testsync.Buffer
	s := mustOpen(t, with("p4ssword"), Options{Logger: storetest.Logger(&said)})
	wantUnavailable(t, s, "password authentication failed for user")
	for name, call := range calls(s) {
		if err := call(t.Context()); strings.Contains(fmt.Sprintf("%v %+v", err, err), "p4ss") {
			t.Errorf("%s shows the password: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(said.String(), "p4ss") {
		t.Errorf("the log shows the password: %s", said.String())
	}
	eventuallyWorks(t, mustOpen(t, with("right"), Options{}))
}

// TestTableChanges: statements that were prepared before a change of the table are
// prepared again. A table that is dropped is not made again behind its owner's back.
func TestTableChanges(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	for range 3 { // prepared
		_, _ = s.Get(t.Context(), "1")
		if _, err := s.Update(t.Context(), "1", unchanged); err != nil {
			t.Fatal(err)
		}
	}
	for i, sql := range []string{
		"ALTER TABLE todos ALTER name TYPE varchar(500)",
		"ALTER TABLE todos ADD COLUMN owner text",
		"ALTER TABLE todos ALTER description TYPE varchar(1000)",
	} {
		p.Exec(sql)
		if got, err := s.Get(t.Context(), "1"); err != nil || got.Name != "n" {
			t.Errorf("%s: %+v, %v", sql, got, err)
		}
		name := fmt.Sprint("after ", i)
		if _, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) { c.Name = name; c.Version++; return c, nil }); err != nil {
			t.Errorf("%s: Update: %v", sql, err)
		}
		p.Exec("UPDATE todos SET name = 'n'")
	}
	p.Exec("ALTER TABLE todos RENAME TO gone")
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), "restore the table") {
		t.Errorf("Get without the table: %v", err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "2", Name: "n"}); !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) {
		t.Errorf("Insert without the table: %v", err)
	}
	p.Exec("ALTER TABLE gone RENAME TO todos")
	if _, err := s.Get(t.Context(), "1"); err != nil {
		t.Errorf("Get with the table again: %v", err)
	}
}

// TestOutcomeOfWrites tries errors that a real server does not return on demand.
func TestOutcomeOfWrites(t *testing.T) {
	reply := func(severity, code string) error {
		return &pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: severity, Code: code, Message: "m"}
	}
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"no server", notSent{errors.New("connection refused")}, todo.ErrUnavailable},
		{"no server, by its word", notSent{reply("FATAL", codeNoMoreClients)}, todo.ErrUnavailable},
		{"connection lost", errors.New("unexpected EOF"), todo.ErrUnknownOutcome},
		{"connection was closed before", pgconn.ErrConnClosed, todo.ErrUnknownOutcome},
		{"deadline", context.DeadlineExceeded, todo.ErrUnknownOutcome},
		{"read-only", reply("ERROR", codeReadOnly), todo.ErrUnavailable},
		{"no right", reply("ERROR", codeNotPermitted), todo.ErrUnavailable},
		{"cancelled", reply("ERROR", codeCancelled), todo.ErrUnavailable},
		{"disk full", reply("ERROR", "53100"), todo.ErrUnavailable},
		{"deadlock", reply("ERROR", codeDeadlock), todo.ErrUnavailable},
		{"an error in the server", reply("ERROR", "XX000"), todo.ErrUnavailable},
		{"the server stops", reply("FATAL", "57P01"), todo.ErrUnknownOutcome},
		{"the server crashed", reply("FATAL", "57P02"), todo.ErrUnknownOutcome},
		{"panic", reply("PANIC", "58030"), todo.ErrUnknownOutcome},
		{"a statement that may or may not have completed", reply("ERROR", "40003"), todo.ErrUnknownOutcome},
		{"a transaction whose outcome is unknown", reply("ERROR", "08007"), todo.ErrUnknownOutcome},
		{"a pooler lost its server", reply("ERROR", "08P01"), todo.ErrUnknownOutcome}, // caught: taken for a refusal
		{"too long for a column", reply("ERROR", "22001"), todo.ErrInvalid},
		{"a check", reply("ERROR", "23514"), todo.ErrInvalid},
		{"another unique column", reply("ERROR", codeUnique), todo.ErrInvalid},
		{"too long for an index", reply("ERROR", codeTooComplex), todo.ErrInvalid},
		{"a trigger raised it", reply("ERROR", codeRaised), todo.ErrInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := (&Store{}).outcome(t.Context(), tc.err)
			for _, sentinel := range []error{todo.ErrUnavailable, todo.ErrUnknownOutcome, todo.ErrExists, todo.ErrInvalid} {
				if errors.Is(err, sentinel) != (sentinel == tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
			}
			if !errors.Is(err, tc.err) {
				t.Errorf("%v does not wrap its cause", err)
			}
		})
	}
}

func TestBadURL(t *testing.T) {
	const secret = "p4ss/w@rd"
	for _, url := range []string{
		"", "localhost:5432", "mysql://localhost", "host=localhost password=p4ss", "postgres://localhost:port/todos", "postgres://localhost:99999/todos",
		"postgres://localhost/?sslmode=maybe", "postgres://localhost/?target_session_attrs=nearby", "postgres://localhost/?pool_max_conns=many",
		"postgres://user:" + secret + "@localhost/todos",
		"postgres://user:p4ss%zzw@rd@localhost/todos",
		"postgres://user:p4ss@host/?target_session_attrs=nearby",
		"postgres://u:p4ss@localhost:5432:5433/",
		"postgres://localhost/?password=p4ss&sslmode=maybe",
		"postgres://localhost/?password=1#p4ss%zz&sslmode=maybe", // caught: it was shown from the # on
		"postgres://localhost/?sslpassword=p4ss&sslkey=/no/such&sslcert=/no/such",
	} {
		s, err := Open(t.Context(), url, Options{})
		if err == nil {
			s.Close()
			t.Errorf("Open(%q) succeeds", url)
			continue
		}
		if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "p4ss") || strings.Contains(text, "w@rd") || strings.Contains(text, "rd@") {
			t.Errorf("Open(%q) shows the password: %v", url, err)
		}
		if !strings.HasPrefix(err.Error(), "pgstore: ") {
			t.Errorf("Open(%q): %v", url, err)
		}
	}
	_, err := Open(t.Context(), "postgres://user:"+secret+"@localhost/todos", Options{})
	if err == nil || !strings.Contains(err.Error(), "percent-encode") {
		t.Errorf("a password that is not encoded: %v", err)
	}
	// Caught: the driver took the rest of the password for settings, or for the database.
	for _, password := range []string{"p4ss#w", "p4ss?w", "12/p4ss"} {
		s, err := Open(t.Context(), "postgres://user:"+password+"@localhost/todos", Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "percent-encode") || strings.Contains(err.Error(), "p4ss") {
			t.Errorf("%s: %v", password, err)
		}
	}
	_, err = Open(t.Context(), "postgres://user:p4ss@localhost/?target_session_attrs=nearby", Options{})
	if err == nil || !strings.Contains(err.Error(), "nearby") {
		t.Errorf("the fault beside the password is not named: %v", err)
	}
}

func TestURLAndOptions(t *testing.T) {
	log := storetest.Logger(new(testsync.Buffer))
	get := func(url string, opts Options) *pgxpool.Config {
		t.Helper()
		c, err := configOf(url, opts, log)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := get("postgres://db1/todos", Options{})
	if c.MaxConns != 30 || c.ConnConfig.ConnectTimeout != 2*time.Second || c.ConnConfig.RuntimeParams["application_name"] != "aside" {
		t.Errorf("defaults: %d connections, %v, %v", c.MaxConns, c.ConnConfig.ConnectTimeout, c.ConnConfig.RuntimeParams)
	}
	mine := Options{MaxConns: 9, ConnectTimeout: time.Second, AppName: "mine"}
	c = get("postgres://db1/todos", mine)
	if c.MaxConns != 9 || c.ConnConfig.ConnectTimeout != time.Second || c.ConnConfig.RuntimeParams["application_name"] != "mine" {
		t.Errorf("options: %d connections, %v, %v", c.MaxConns, c.ConnConfig.ConnectTimeout, c.ConnConfig.RuntimeParams)
	}
	c = get("postgres://db1/todos?pool_max_conns=7&connect_timeout=5&application_name=theirs&client_encoding=LATIN1", mine)
	if c.MaxConns != 7 || c.ConnConfig.ConnectTimeout != 5*time.Second || c.ConnConfig.RuntimeParams["application_name"] != "theirs" {
		t.Errorf("the URL does not go before the options: %d connections, %v, %v", c.MaxConns, c.ConnConfig.ConnectTimeout, c.ConnConfig.RuntimeParams)
	}
	if c.ConnConfig.RuntimeParams["client_encoding"] != "UTF8" {
		t.Errorf("the encoding is %v", c.ConnConfig.RuntimeParams)
	}
}

// TestCloseAborts: Close does not wait for a call for ever.
func TestCloseAborts(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{OperationTimeout: time.Minute})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	tx, err := p.Conn().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE todos"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := s.Get(t.Context(), "1"); done <- err }()
	testserver.Eventually(t, 10*time.Second, "the read waits", func() bool {
		return p.Value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
	})
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestSerializable: with another isolation level the server refuses writes that overlap.
// The store repeats them, and loses none.
func TestSerializable(t *testing.T) {
	p := testserver.Postgres(t)
	p.Exec("ALTER DATABASE " + p.Database() + " SET default_transaction_isolation = 'serializable'")
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Insert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 10
	done := make(chan error)
	for range writers {
		go func() {
			var err error
			for range each {
				_, e := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) { c.Version++; return c, nil })
				err = errors.Join(err, e)
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got, err := s.Get(t.Context(), "1"); err != nil || got.Version != writers*each {
		t.Errorf("%+v, %v", got, err)
	}
}
