package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
	"github.com/asidecache/aside/tests/testserver"
)

// The main path on PostgreSQL: two nodes with one database and one Redis, and a change
// made in psql.
func TestTwoNodesOnPostgres(t *testing.T) {
	db, redis := testserver.Postgres(t), testserver.Redis(t)
	env := []string{"ASIDE_POSTGRES=" + db.URL(), "ASIDE_REDIS=" + redis.URL()}
	a, b := start(t, env, "serve"), start(t, env, "serve", "--no-l1")

	a.want(a.do("POST", "/todos", `{"id":"a/b","name":"one","description":"with \u0000 in it"}`), 201)
	if r := b.want(b.do("GET", "/todos/a%2Fb", ""), 200); r.cacheStatus() != "aside; hit; detail=L2" || !strings.Contains(r.body, `with \u0000 in it`) {
		t.Errorf("the other node's read of a new record: %s %s", r.cacheStatus(), r.body)
	}
	etag := b.want(b.do("PATCH", "/todos/a%2Fb", `{"name":"two"}`), 200).header.Get("ETag")
	if r := a.want(a.do("GET", "/todos/a%2Fb", "", "Cache-Control: no-cache"), 200); r.header.Get("ETag") != etag {
		t.Errorf("a strong read missed the other node's write: %s", r.body)
	}

	// The trigger makes an update in psql a change that versions tell, so a writer who has
	// not seen it is refused.
	db.Exec("UPDATE todos SET name = 'psql' WHERE id = 'a/b'")
	b.want(b.do("PATCH", "/todos/a%2Fb", `{"completed":true}`, "If-Match: "+etag), 412)
	b.want(b.do("PATCH", "/todos/a%2Fb", `{"completed":true}`), 200)
	if r := a.want(a.do("GET", "/todos/a%2Fb", "", "Cache-Control: no-cache"), 200); !strings.Contains(r.body, `"name":"psql"`) || !strings.Contains(r.body, `"version":4`) {
		t.Errorf("after the update in psql and a patch: %s", r.body)
	}
	a.want(a.do("DELETE", "/todos/a%2Fb", ""), 204)
	b.want(b.do("GET", "/todos/a%2Fb", "", "Cache-Control: no-cache"), 404)
}

// What a client sees while PostgreSQL fails in one way or another.
func TestPostgresFails(t *testing.T) {
	db := testserver.OwnPostgres(t)
	p := start(t, []string{"ASIDE_POSTGRES=" + db.URL()}, "serve", "--write-timeout", "2s", "--load-timeout", "2s")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	testserver.Eventually(t, 10*time.Second, "it is cached", func() bool {
		return strings.Contains(p.do("GET", "/todos/1", "").cacheStatus(), "hit")
	})
	serving := func(state string) {
		t.Helper()
		testserver.Eventually(t, 20*time.Second, "it serves "+state, func() bool {
			return p.do("GET", "/todos/cold-"+state, "").status == 404 && p.do("GET", "/readyz", "").status == 200
		})
	}

	t.Run("down", func(t *testing.T) {
		db.Kill()
		p.want(p.do("GET", "/todos/1", ""), 200)
		p.do("GET", "/todos/cold", "") // the pool finds out that its connections are gone
		for _, r := range []reply{p.do("GET", "/todos/cold", ""), p.do("POST", "/todos", `{"name":"n"}`), p.do("GET", "/todos", "")} {
			if p.want(r, 503); r.header.Get("Retry-After") == "" || strings.Contains(r.body, db.Addr()) {
				t.Errorf("%v %s", r.header, r.body)
			}
		}
		p.want(p.do("GET", "/readyz", ""), 503)
		p.want(p.do("GET", "/healthz", ""), 200)
		db.Start()
		serving("again")
	})
	t.Run("paused", func(t *testing.T) {
		db.Pause()
		defer db.Resume()
		// A PATCH reads first, so it has written nothing.
		if r := p.want(p.do("PATCH", "/todos/1", `{"name":"m"}`), 503); !strings.Contains(r.body, "Nothing was written") {
			t.Errorf("%s", r.body)
		}
		p.want(p.do("GET", "/todos/cold-2", ""), 503)
		p.want(p.do("GET", "/readyz", ""), 503)
		db.Resume()
		serving("resumed")
	})
	t.Run("unknown outcome", func(t *testing.T) {
		db.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
		db.Exec("SELECT pg_reload_conf()")
		testserver.Eventually(t, 10*time.Second, "commits wait for a standby that is not there", func() bool {
			return p.do("PUT", "/todos/1", fmt.Sprintf(`{"name":"at %d"}`, time.Now().UnixNano())).status == 504
		})
		if r := p.want(p.do("PUT", "/todos/1", `{"name":"lost"}`), 504); !strings.Contains(r.body, "unknown_outcome") {
			t.Errorf("%s", r.body)
		}
		db.Exec("ALTER SYSTEM RESET synchronous_standby_names")
		db.Exec("SELECT pg_reload_conf()")
		testserver.Eventually(t, 10*time.Second, "writes are confirmed again", func() bool {
			return p.do("PUT", "/todos/1", `{"name":"n"}`).status == 200
		})
	})
	t.Run("locked", func(t *testing.T) {
		tx, err := db.Conn().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), "SELECT FROM todos FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
		// The server gives up a little earlier than the service, which a busy machine may
		// miss.
		testserver.Eventually(t, 30*time.Second, "a write that waits for a lock is refused", func() bool {
			r := p.do("PUT", "/todos/1", `{"name":"late"}`)
			return r.status == 503 && strings.Contains(r.body, "Nothing was written")
		})
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		testserver.Eventually(t, 10*time.Second, "writes succeed again", func() bool {
			return p.do("PUT", "/todos/1", `{"name":"now"}`).status == 200
		})
	})
	t.Run("read-only", func(t *testing.T) {
		db.Exec("ALTER DATABASE postgres SET default_transaction_read_only = on")
		db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aside'")
		testserver.Eventually(t, 10*time.Second, "writes are refused", func() bool { return p.do("POST", "/todos", `{"name":"n"}`).status == 503 })
		if r := p.want(p.do("POST", "/todos", `{"name":"n"}`), 503); !strings.Contains(r.body, "Nothing was written") {
			t.Errorf("%s", r.body)
		}
		p.want(p.do("GET", "/todos/cold-3", ""), 404)
		p.want(p.do("GET", "/readyz", ""), 200)
		if !strings.Contains(p.logged(), "default_transaction_read_only") {
			t.Error("the log does not say why")
		}
		db.Exec("SET transaction_read_only = off; ALTER DATABASE postgres RESET default_transaction_read_only")
		db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'aside'")
		testserver.Eventually(t, 10*time.Second, "writes are accepted", func() bool { return p.do("POST", "/todos", `{"name":"n"}`).status == 201 })
	})
	t.Run("refused record", func(t *testing.T) {
		db.Exec("ALTER TABLE todos ADD CHECK (name <> 'bad')")
		p.want(p.do("POST", "/todos", `{"name":"bad"}`), 422)
	})
	p.signal(os.Interrupt)
	p.wantExit(0)
}

// The server starts although it cannot use the database, answers 503, and says why in its
// log. The database can come later.
func TestPostgresNotThereYet(t *testing.T) {
	db := testserver.Postgres(t)
	missing := db.Database() + "_missing"
	url := strings.Replace(strings.Replace(db.URL(), db.Database(), missing, 1), "postgres@", "postgres:hunter2@", 1)
	p := start(t, []string{"ASIDE_POSTGRES=" + url}, "serve", "--log-level", "debug")
	for _, r := range []reply{p.do("GET", "/todos/1", ""), p.do("POST", "/todos", `{"name":"n"}`), p.do("GET", "/todos", "")} {
		if p.want(r, 503); r.header.Get("Retry-After") == "" || strings.Contains(r.body, missing) {
			t.Errorf("%v %s", r.header, r.body)
		}
	}
	p.want(p.do("GET", "/readyz", ""), 503)
	db.Exec("CREATE DATABASE " + missing)
	t.Cleanup(func() { db.Exec("DROP DATABASE " + missing + " WITH (FORCE)") })
	testserver.Eventually(t, 20*time.Second, "it serves", func() bool { return p.do("GET", "/readyz", "").status == 200 })
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	p.signal(os.Interrupt)
	p.wantExit(0)
	if log := p.logged(); !strings.Contains(log, "create the database") || strings.Contains(log, "hunter2") {
		t.Errorf("the log: %s", log)
	}
}

// A load into PostgreSQL with each source. The same load again changes nothing, and goes
// on where a batch failed.
func TestLoadIntoPostgres(t *testing.T) {
	var docs [][]byte
	for i := range 2500 {
		docs = append(docs, dumptest.Doc("_id", int32(i), "id", fmt.Sprint(i), "name", fmt.Sprint("name ", i)))
	}
	archive := filepath.Join(t.TempDir(), "todos.archive.gz")
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(dumptest.New("test.todos").Add("test.todos", docs...).End("test.todos").Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	db := testserver.Postgres(t)
	env := []string{"ASIDE_POSTGRES=" + db.URL()}
	load := func(wantCode int, says string, args ...string) {
		t.Helper()
		stdout, stderr, code := asideRun(t, env, append([]string{"load"}, args...)...)
		if code != wantCode || !strings.Contains(stdout+stderr, says) {
			t.Errorf("%q: exit %d, want %q in\n%s%s", args, code, says, stdout, stderr)
		}
	}
	load(0, "2500 inserted, 0 already there", "--archive", archive)
	load(0, "0 inserted, 2500 already there", "--archive", archive)
	load(0, "500 inserted, 2499 already there", "--count", "2999", "--batch", "700")
	if n := db.Value("SELECT count(*) FROM todos"); n != "3000" {
		t.Errorf("%s records", n)
	}

	// A batch fails in the middle: what was written before it stays, and the same command
	// loads the rest.
	db.Exec("TRUNCATE todos; ALTER TABLE todos ADD CONSTRAINT stop CHECK (id <> '1500')")
	load(1, "1000 inserted, 0 already there", "--archive", archive, "--batch", "1000")
	db.Exec("ALTER TABLE todos DROP CONSTRAINT stop")
	load(0, "1500 inserted, 1000 already there", "--archive", archive, "--batch", "1000")
	if n := db.Value("SELECT count(*) FROM todos WHERE name = 'name ' || id"); n != "2500" {
		t.Errorf("%s records", n)
	}
}

// Ctrl-C ends a load after the running batch: what it counts as inserted is in the table,
// and nothing else.
func TestInterruptedLoadIntoPostgres(t *testing.T) {
	db := testserver.Postgres(t)
	cmd := command(t, []string{"ASIDE_POSTGRES=" + db.URL()}, "load", "--count", "20000000")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testserver.Eventually(t, 20*time.Second, "some batches are in", func() bool {
		return db.Value("SELECT to_regclass('todos') IS NOT NULL") == "t" && db.Value("SELECT count(*) > 20000 FROM todos") == "t"
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v\n%s%s", err, &stdout, &stderr)
	}
	if n := db.Value("SELECT count(*) FROM todos"); !strings.Contains(stdout.String(), ": "+n+" inserted, 0 already there") || !strings.Contains(stdout.String(), "run the same command again") {
		t.Errorf("%s records in the table, and the load says: %s%s", n, &stdout, &stderr)
	}
}
