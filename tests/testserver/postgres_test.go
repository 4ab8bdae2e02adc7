package testserver

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPostgresDatabasesAreApart(t *testing.T) {
	var dropped string
	t.Run("first", func(t *testing.T) {
		s := Postgres(t)
		dropped = s.Database()
		s.Exec("CREATE TABLE t (id int PRIMARY KEY)")
		s.Exec("SELECT pg_create_logical_replication_slot('" + s.Database() + "', 'pgoutput')")
	})
	s := Postgres(t)
	if v := s.Value("SELECT to_regclass('t')"); v != "" {
		t.Errorf("another test's table is there: %s", v)
	}
	for _, left := range []string{
		"SELECT count(*) FROM pg_database WHERE datname = '" + dropped + "'",
		"SELECT count(*) FROM pg_replication_slots WHERE database = '" + dropped + "'",
	} {
		if n := s.Value(left); n != "0" {
			t.Errorf("%s: %s", left, n)
		}
	}
}

func TestPostgresComesBackAfterKillAndStop(t *testing.T) {
	s := OwnPostgres(t, "fsync=on", "max_connections=17")
	if v := s.Value("SELECT current_setting('fsync') || current_setting('max_connections')"); v != "on17" {
		t.Errorf("settings: %s", v)
	}
	s.Exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
	children := childrenOf(s.server.proc.Process.Pid)
	if len(children) == 0 {
		t.Error("the server has no further processes")
	}
	s.Kill()
	s.Kill()
	Eventually(t, startTimeout, "the server's processes are gone", func() bool {
		for _, pid := range children {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	})
	if _, err := net.Dial("tcp", s.Addr()); err == nil {
		t.Error("a killed server accepts connections")
	}
	addr := s.Addr()
	s.Start()
	s.Stop()
	s.Start("max_connections=18")
	if v := s.Value("SELECT count(*)::text || current_setting('max_connections') FROM t"); v != "118" || s.Addr() != addr {
		t.Errorf("after two restarts: rows and max_connections %s, at %s and not %s", v, s.Addr(), addr)
	}
}

func TestPostgresPause(t *testing.T) {
	s := OwnPostgres(t)
	s.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if c, err := pgconn.Connect(ctx, s.URL()); err == nil {
		_ = c.Close(ctx)
		t.Error("a paused server answers")
	}
	s.Resume()
	s.Exec("SELECT 1")
	s.Pause() // it ends with the test all the same
}

func TestPostgresStandbyIsPromoted(t *testing.T) {
	s := OwnPostgres(t)
	standby := s.Standby()
	s.Exec("CREATE TABLE t (id int PRIMARY KEY)")
	standby.InStep(s)
	if standby.Value("SELECT pg_is_in_recovery() AND to_regclass('t') IS NOT NULL") != "t" {
		t.Error("the standby does not follow")
	}
	s.Kill()
	standby.Promote()
	standby.Exec("INSERT INTO t VALUES (1)")
}

func TestPostgresSnapshot(t *testing.T) {
	s := OwnPostgres(t)
	s.Exec("CREATE TABLE t (id int PRIMARY KEY)")
	s.Snapshot()
	s.Exec("INSERT INTO t VALUES (1)")
	s.RestartFromSnapshot()
	if n := s.Value("SELECT count(*) FROM t"); n != "0" {
		t.Errorf("%s rows that came after the snapshot", n)
	}
}

func TestPostgresReportsBadSettings(t *testing.T) {
	p, err := initPostgres(postgresBinaries(t), []string{"no_such_setting=1"})
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(p.dir)
	if err := p.startOnFreePort(); err == nil {
		p.end(syscall.SIGKILL)
		t.Error("it started with a setting that does not exist")
	} else if want := "no_such_setting"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not name %s", err, want)
	}
}
