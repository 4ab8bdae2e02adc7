package testserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside/asidetest/testsync"
)

// PostgresServer is a database on a PostgreSQL server.
type PostgresServer struct {
	t        testing.TB
	database string
	server   *postgresProcess
}

// Postgres returns a database that is empty and is dropped when the test ends, with
// its replication slots. The server runs once for the whole test binary, with
// wal_level=logical and without fsync, and ends with it. A test that stops or harms the
// server needs OwnPostgres.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	bin := postgresBinaries(t)
	server, err := sharedPostgres(bin)
	if err != nil {
		t.Fatal(err)
	}
	s := &PostgresServer{t: t, database: "aside_test_" + strings.ToLower(rand.Text()[:12]), server: server}
	if err := server.exec("postgres", "CREATE DATABASE "+s.database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.drop(s.database); err != nil {
			t.Logf("drop database %s: %v", s.database, err)
		}
	})
	return s
}

// OwnPostgres starts an empty server in about a second, and ends it with the test. It
// has wal_level=logical and fsync=off. settings are of the form "name=value" and
// replace those, such as "fsync=on".
func OwnPostgres(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	p, err := initPostgres(postgresBinaries(t), settings)
	if err != nil {
		t.Fatal(err)
	}
	return runPostgres(t, p)
}

// runPostgres starts the server of p's files, and removes both when the test ends.
func runPostgres(t testing.TB, p *postgresProcess) *PostgresServer {
	t.Helper()
	t.Cleanup(func() { _ = os.RemoveAll(p.dir) })
	if err := p.startOnFreePort(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGQUIT) })
	return &PostgresServer{t: t, database: "postgres", server: p}
}

// URL is a postgres:// URL of the database, as a superuser.
func (s *PostgresServer) URL() string { return s.server.url("", "", s.database) }

// URLVia is URL with another address (host:port), such as a Proxy's.
func (s *PostgresServer) URLVia(addr string) string { return s.server.url("", addr, s.database) }

// URLAs is URL with another role. The server asks for no password.
func (s *PostgresServer) URLAs(role string) string { return s.server.url(role, "", s.database) }

// Addr is host:port.
func (s *PostgresServer) Addr() string { return s.server.addr() }

// Database is the name of the database.
func (s *PostgresServer) Database() string { return s.database }

// Conn opens a connection, and closes it when the test ends.
func (s *PostgresServer) Conn() *pgx.Conn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// Exec runs SQL, several statements too, over a connection of its own.
func (s *PostgresServer) Exec(sql string) {
	s.t.Helper()
	if err := s.server.exec(s.database, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// Value returns the only value that a query returns, as text; "" for NULL, or if
// there is no row.
func (s *PostgresServer) Value(sql string) string {
	s.t.Helper()
	v, err := s.server.value(s.database, sql)
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// Kill ends the server as kill -9 of all its processes does. It is a no-op if the
// server is down.
func (s *PostgresServer) Kill() { s.server.end(syscall.SIGKILL) }

// Stop ends the server by a fast shutdown, as systems do, and returns when it is over.
// One that lasts longer than 30s fails the test.
func (s *PostgresServer) Stop() {
	s.t.Helper()
	if !s.server.end(syscall.SIGINT) {
		s.t.Fatalf("fast shutdown of PostgreSQL was not over within %v:\n%s", startTimeout, s.Log())
	}
}

// Start starts the server again after Kill or Stop, on its port. settings ("name=value")
// are added to those it had.
func (s *PostgresServer) Start(settings ...string) {
	s.t.Helper()
	s.server.settings = append(s.server.settings, settings...)
	if err := s.server.start(); err != nil {
		s.t.Fatal(err)
	}
}

// StartWithout is Start without settings of these names: the server then has those of its
// files, which ALTER SYSTEM changes, or its own defaults.
func (s *PostgresServer) StartWithout(names ...string) {
	s.t.Helper()
	s.server.without = append(s.server.without, names...)
	s.Start()
}

// Pause stops all processes of the server (SIGSTOP): connections stay open and nobody
// answers.
func (s *PostgresServer) Pause() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *PostgresServer) Resume() { s.t.Helper(); s.signal(syscall.SIGCONT) }

func (s *PostgresServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.server.signal(sig); err != nil {
		s.t.Fatalf("%v to PostgreSQL: %v", sig, err)
	}
}

// Standby starts a standby that follows the server.
func (s *PostgresServer) Standby(settings ...string) *PostgresServer {
	s.t.Helper()
	p := &postgresProcess{bin: s.server.bin, settings: append(slices.Clone(s.server.settings), settings...)}
	host, port := hostPort(s.Addr())
	err := p.makeDir()
	if err == nil {
		err = p.run("pg_basebackup", "-h", host, "-p", port, "-U", postgresRole, "-D", p.data(),
			"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
	}
	if err != nil {
		s.t.Fatal(err)
	}
	standby := runPostgres(s.t, p)
	standby.database = s.database
	standby.InStep(s)
	return standby
}

// InStep returns when a standby has applied what primary has written by now.
func (s *PostgresServer) InStep(primary *PostgresServer) {
	s.t.Helper()
	want := primary.Value("SELECT pg_current_wal_lsn()")
	Eventually(s.t, startTimeout, "the standby has applied "+want, func() bool {
		return s.Value("SELECT pg_last_wal_replay_lsn() >= '"+want+"'") == "t"
	})
}

// Promote makes a standby a server of its own.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	if s.Value(fmt.Sprintf("SELECT pg_promote(true, %d)", int(startTimeout.Seconds()))) != "t" {
		s.t.Fatalf("the standby was not promoted within %v:\n%s", startTimeout, s.Log())
	}
}

// Snapshot stops the server, copies its files and starts it again.
func (s *PostgresServer) Snapshot() {
	s.t.Helper()
	s.Stop()
	if err := s.server.run("cp", "-a", s.server.data(), s.server.data()+".saved"); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
}

// RestartFromSnapshot kills the server and starts it with the files that Snapshot
// copied, as after a backup of a disk was restored.
func (s *PostgresServer) RestartFromSnapshot() {
	s.t.Helper()
	s.Kill()
	if err := os.RemoveAll(s.server.data()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.server.run("cp", "-a", s.server.data()+".saved", s.server.data()); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
}

// Log is the end of the server's log.
func (s *PostgresServer) Log() string { return s.server.logTail() }

// postgresRole is the superuser that initdb makes.
const postgresRole = "postgres"

// postgresProcess is a server and its files.
type postgresProcess struct {
	bin      string // directory of the binaries
	dir      string
	port     int
	settings []string
	without  []string // names of settings

	mu   sync.Mutex
	proc *exec.Cmd // nil while it is down
	runs int
}

// postgresBinaries finds the directory of the binaries: $ASIDE_TEST_POSTGRES_BIN, where
// the postgres of PATH is, /usr/lib/postgresql/*/bin. The first time it says on standard
// error which version it found. One that is too old fails the test.
func postgresBinaries(t testing.TB) string {
	t.Helper()
	found := foundPostgres()
	if errors.Is(found.err, errNoPostgres) {
		Missing(t, "%v", found.err)
	}
	if found.err != nil {
		t.Fatal(found.err)
	}
	return found.dir
}

var errNoPostgres = errors.New("PostgreSQL's initdb, postgres and pg_basebackup are not on PATH: " +
	"run scripts/bootstrap.sh, or set ASIDE_TEST_POSTGRES_BIN to their directory")

type postgresFound struct {
	dir string
	err error
}

var foundPostgres = sync.OnceValue(func() (f postgresFound) {
	var dirs []string
	if dir := os.Getenv("ASIDE_TEST_POSTGRES_BIN"); dir != "" {
		dirs = []string{dir}
	} else {
		if path, err := exec.LookPath("postgres"); err == nil {
			if real, err := filepath.EvalSymlinks(path); err == nil {
				path = real
			}
			dirs = append(dirs, filepath.Dir(path))
		}
		packaged, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is right
		slices.Reverse(packaged)                                  // newest first, as long as versions have two digits
		dirs = append(dirs, packaged...)
	}
	for _, dir := range dirs {
		if !holds(dir, "initdb", "postgres", "pg_basebackup") {
			continue
		}
		f.dir = dir
		out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil {
			f.err = fmt.Errorf("%s/postgres --version: %w", dir, err)
			return f
		}
		version := strings.TrimSpace(string(out)) // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
		_, number, _ := strings.Cut(version, ") ")
		var major int
		if n, _ := fmt.Sscanf(number, "%d", &major); n != 1 || major < 15 {
			f.err = fmt.Errorf("%s is %q: the tests need PostgreSQL 15 or later; set ASIDE_TEST_POSTGRES_BIN", dir, version)
			return f
		}
		fmt.Fprintf(os.Stderr, "testserver: %s, %s\n", version, dir)
		return f
	}
	f.err = errNoPostgres
	return f
})

func holds(dir string, names ...string) bool {
	for _, name := range names {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.IsDir() {
			return false
		}
	}
	return true
}

// sharedPostgres is the server of Postgres.
func sharedPostgres(bin string) (*postgresProcess, error) {
	shared.once.Do(func() {
		shared.server, shared.err = initPostgres(bin, nil)
		if shared.err != nil {
			return
		}
		// Nobody is there to remove the files when the test binary is gone, but this
		// shell: its standard input closes then.
		rm := exec.Command("/bin/sh", "-c", `read -r _; sleep 1; rm -rf "$0"`, shared.server.dir)
		rm.Dir = "/"
		if shared.stdin, shared.err = rm.StdinPipe(); shared.err == nil {
			shared.err = rm.Start()
		}
		if shared.err == nil {
			shared.err = shared.server.startOnFreePort()
		}
	})
	return shared.server, shared.err
}

var shared struct {
	once   sync.Once
	server *postgresProcess
	stdin  io.Closer // kept so that the garbage collector does not close it
	err    error
}

// initPostgres makes the files of an empty server.
func initPostgres(bin string, settings []string) (*postgresProcess, error) {
	p := &postgresProcess{bin: bin, settings: settings}
	if err := p.makeDir(); err != nil {
		return nil, err
	}
	err := p.run("initdb", "-D", p.data(), "-U", postgresRole, "-A", "trust", "-E", "UTF8",
		"--no-locale", "--no-sync", "--no-instructions")
	if err != nil {
		_ = os.RemoveAll(p.dir)
		return nil, err
	}
	return p, nil
}

// makeDir makes the directory of the server's files. It is not the test's temporary
// directory, which another user cannot enter.
func (p *postgresProcess) makeDir() (err error) {
	cred, err := postgresCredential()
	if err != nil {
		return err
	}
	parent := os.TempDir()
	if cred != nil && !open(parent) {
		parent = "/tmp"
	}
	if p.dir, err = os.MkdirTemp(parent, "aside-postgres"); err != nil || cred == nil {
		return err
	}
	return os.Chown(p.dir, int(cred.Uid), int(cred.Gid))
}

// open reports whether every user can enter dir.
func open(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for {
		fi, err := os.Stat(dir)
		if err != nil || fi.Mode().Perm()&1 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// postgresCredential is of the user that the server runs as: nil for the test's own, and
// postgres or nobody for root, as whom PostgreSQL does not run.
func postgresCredential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and this system has neither a user postgres nor nobody")
}

func (p *postgresProcess) data() string { return filepath.Join(p.dir, "data") }

// command is one of PostgreSQL's, or of PATH, as the server's user.
func (p *postgresProcess) command(name string, args ...string) (*exec.Cmd, error) {
	cred, err := postgresCredential()
	if err != nil {
		return nil, err
	}
	if holds(p.bin, name) {
		name = filepath.Join(p.bin, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = p.dir // the test's own may be closed to the user
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "HOME="+p.dir)
	// At SIGQUIT a server ends at once, and its processes with it.
	cmd.SysProcAttr = dieWithParent(syscall.SIGQUIT)
	cmd.SysProcAttr.Credential = cred
	return cmd, nil
}

func (p *postgresProcess) run(name string, args ...string) error {
	cmd, err := p.command(name, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

func (p *postgresProcess) startOnFreePort() (err error) {
	// Another process may take the port between our look and the server's bind.
	for range 5 {
		if p.port, err = freePort(); err != nil {
			return err
		}
		if err = p.start(); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

func (p *postgresProcess) start() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil {
		return fmt.Errorf("PostgreSQL at %s runs already", p.addr())
	}
	// A process that was killed with the last server may not have ended yet.
	testsync.Poll(startTimeout, func() bool {
		err = p.startOnce()
		return err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block")
	})
	return err
}

func (p *postgresProcess) startOnce() error {
	p.runs++
	args := []string{"-D", p.data(), "-p", fmt.Sprint(p.port)}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"shared_buffers=16MB",
		"dynamic_shared_memory_type=mmap", // no files in /dev/shm after a kill
		"max_connections=60",
		"wal_level=logical",
		"max_replication_slots=40",
		"max_wal_senders=40",
		"max_slot_wal_keep_size=1GB",
		"fsync=off",
		"timezone=UTC",
	}, p.settings...) {
		if name, _, _ := strings.Cut(s, "="); !slices.Contains(p.without, name) {
			args = append(args, "-c", s)
		}
	}
	cmd, err := p.command("postgres", args...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	// As in RedisServer.start: the pipe is there to see the process end.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start %s/postgres: %w", p.bin, err)
	}
	ended := false
	ready := testsync.Poll(startTimeout, func() bool {
		_ = r.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		_, err := r.Read(make([]byte, 1))
		ended = err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		return ended || strings.Contains(p.logTail(), "ready to accept") && p.exec("postgres", "SELECT 1") == nil
	})
	if ready && !ended {
		p.proc = cmd
		return nil
	}
	p.kill(cmd)
	_ = cmd.Wait()
	if ended && strings.Contains(p.logTail(), "Address already in use") {
		return fmt.Errorf("%w: %d", errPortTaken, p.port)
	}
	if ended {
		return fmt.Errorf("postgres %s ended at once:\n%s", strings.Join(args, " "), p.logTail())
	}
	return fmt.Errorf("PostgreSQL was not ready within %v:\n%s", startTimeout, p.logTail())
}

// end ends the server by a signal to its first process, and reports whether that was
// enough.
func (p *postgresProcess) end(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return true
	}
	cmd := p.proc
	p.proc = nil
	if sig == syscall.SIGKILL {
		p.kill(cmd)
		_ = cmd.Wait()
		return true
	}
	_ = cmd.Process.Signal(sig)
	for _, pid := range append(childrenOf(cmd.Process.Pid), cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGCONT) // if it is paused
	}
	timer := time.AfterFunc(startTimeout, func() { p.kill(cmd) })
	_ = cmd.Wait()
	return timer.Stop()
}

// kill kills all processes of the server. The first one is stopped before, so that it
// starts no others meanwhile.
func (p *postgresProcess) kill(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGSTOP)
	for _, pid := range childrenOf(cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = cmd.Process.Kill()
}

// signal sends sig to all processes of the server.
func (p *postgresProcess) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return errors.New("it is not running")
	}
	if err := p.proc.Process.Signal(sig); err != nil {
		return err
	}
	for _, pid := range childrenOf(p.proc.Process.Pid) {
		_ = syscall.Kill(pid, sig) // one that is gone needs none
	}
	return nil
}

func (p *postgresProcess) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.port) }

func (p *postgresProcess) url(role, addr, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(postgresRole), Host: p.addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	if role != "" {
		u.User = url.User(role)
	}
	if addr != "" {
		u.Host = addr
	}
	return u.String()
}

func (p *postgresProcess) exec(database, sql string) error {
	return p.with(database, func(ctx context.Context, c *pgconn.PgConn) error {
		_, err := c.Exec(ctx, sql).ReadAll()
		return err
	})
}

func (p *postgresProcess) value(database, sql string) (v string, err error) {
	err = p.with(database, func(ctx context.Context, c *pgconn.PgConn) error {
		results, err := c.Exec(ctx, sql).ReadAll()
		if err == nil && len(results) > 0 && len(results[0].Rows) > 0 {
			v = string(results[0].Rows[0][0])
		}
		return err
	})
	return v, err
}

func (p *postgresProcess) with(database string, do func(context.Context, *pgconn.PgConn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := pgconn.Connect(ctx, p.url("", "", database))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	return do(ctx, c)
}

// drop drops a database with its replication slots.
func (p *postgresProcess) drop(database string) error {
	const slots = "FROM pg_replication_slots WHERE database = '%s'"
	err := p.exec("postgres", fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", database))
	if err != nil {
		return err
	}
	var last error
	if !testsync.Poll(startTimeout, func() bool {
		_, last = p.value("postgres", fmt.Sprintf("SELECT count(pg_terminate_backend(active_pid)) "+slots, database))
		if last == nil {
			_, last = p.value("postgres", fmt.Sprintf("SELECT count(pg_drop_replication_slot(slot_name)) "+slots, database))
		}
		return last == nil
	}) {
		return last
	}
	return p.exec("postgres", fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", database))
}

// logFile is a new one for each start.
func (p *postgresProcess) logFile() string {
	return filepath.Join(p.dir, fmt.Sprintf("postgres-%d.log", p.runs))
}

func (p *postgresProcess) logTail() string { return tail(p.logFile()) }
