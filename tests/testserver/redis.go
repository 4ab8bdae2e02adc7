package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/asidetest/testsync"
)

// RedisServer is one redis-server process, a Sentinel's too.
type RedisServer struct {
	t        testing.TB
	binary   string
	port     int
	dir      string
	args     []string
	password string
	sentinel string // configuration file, of a Sentinel
	newer    *Newer // listens in the server's place, if the environment asks for it
	inner    int    // the port that the server has then

	isSentinel bool

	mu     sync.Mutex
	proc   *exec.Cmd // nil while it is down
	paused bool
	runs   int
}

// redisBinary finds a server: $ASIDE_TEST_REDIS_SERVER, redis-server, valkey-server.
// The first time it says on standard error which one and of which version. One that
// is too old fails the test at once.
func redisBinary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ASIDE_TEST_REDIS_SERVER")
	for _, name := range []string{"redis-server", "valkey-server"} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	if path == "" {
		Missing(t, "redis-server is not on PATH: run scripts/bootstrap.sh, or set ASIDE_TEST_REDIS_SERVER")
	}
	servers.Lock()
	defer servers.Unlock()
	v, ok := servers.of[path]
	if !ok {
		v.name, v.err = redisVersion(path)
		if servers.of == nil {
			servers.of = map[string]serverVersion{}
		}
		servers.of[path] = v
		if v.err == nil {
			fmt.Fprintf(os.Stderr, "testserver: %s, %s\n", v.name, path)
		}
	}
	if v.err != nil {
		t.Fatalf("%v: the tests need Redis 7.0 or later, or Valkey; put one on PATH, or set ASIDE_TEST_REDIS_SERVER", v.err)
	}
	return path
}

type serverVersion struct {
	name string // such as "Redis server 7.0.15"
	err  error
}

// servers are the binaries that were asked for their versions.
var servers struct {
	sync.Mutex
	of map[string]serverVersion
}

// redisVersion asks a binary, which prints such as
//
//	Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0
func redisVersion(path string) (string, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	what, rest, ok := strings.Cut(strings.TrimSpace(string(out)), " v=")
	version, _, _ := strings.Cut(rest, " ")
	var major int
	if n, err := fmt.Sscanf(version, "%d.", &major); !ok || n != 1 || err != nil {
		return "", fmt.Errorf("%s is no Redis: its version is %q", path, out)
	}
	if major < 7 {
		return "", fmt.Errorf("%s is %s %s", path, what, version)
	}
	return what + " " + version, nil
}

// Redis starts an empty server without persistence, in a few milliseconds, and
// kills it when the test ends. args are further arguments of redis-server, such
// as "--maxmemory", "1mb"; a "--requirepass" becomes part of URL.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, binary: redisBinary(t), args: args}
	if i := slices.Index(args, "--requirepass"); i >= 0 && i+1 < len(args) {
		s.password = args[i+1]
	}
	s.launch(func() {})
	return s
}

// launch starts s on a free port, and kills it when the test ends. configure is
// called when port and directory are known.
func (s *RedisServer) launch(configure func()) {
	s.t.Helper()
	// Another process may take the port between our look and redis's bind.
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		s.dir = s.t.TempDir()
		if s.hasNewer() {
			if s.inner, err = freePort(); err != nil {
				break
			}
			s.newer = newNewer(s.t, fmt.Sprintf("127.0.0.1:%d", s.inner), newerAsked())
		}
		configure()
		if err = s.start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.Kill)
}

// Plain is which commands the server has that compare before they change, by itself or
// by what the environment puts before it: SET .. IFEQ, and DELIFEQ, DELEX or none.
func (s *RedisServer) Plain() (setIf bool, delIf string) {
	s.t.Helper()
	const absent = "aside:nobody:0:plain"
	if _, err := s.do("SET", absent, "v", "IFEQ", "x"); !rueidis.IsRedisNil(err) {
		return false, ""
	}
	if _, err := s.do("DELIFEQ", absent, "x"); err == nil {
		return true, "DELIFEQ"
	}
	if _, err := s.do("DELEX", absent, "IFEQ", "x"); err == nil {
		return true, "DELEX"
	}
	return true, ""
}

// Newer is what the environment puts before this server, or nil.
func (s *RedisServer) Newer() *Newer { return s.newer }

// listensAt is where the process itself listens.
func (s *RedisServer) listensAt() string {
	if s.newer != nil {
		return s.newer.to
	}
	return s.Addr()
}

// hasNewer reports whether a newer server is asked for. Those of a cluster tell others
// where they listen.
func (s *RedisServer) hasNewer() bool {
	return newerAsked() != "" && s.sentinel == "" && !s.isSentinel && !slices.Contains(s.args, "--cluster-enabled")
}

// Addr is host:port.
func (s *RedisServer) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// URL is a redis:// URL, with the password if the server asks for one, or with the
// user that has the least rights, if the environment asks for that.
func (s *RedisServer) URL() string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), User: userinfo(s.t)}
	if s.password != "" {
		u.User = url.UserPassword("", s.password)
	}
	return u.String()
}

// Kill ends the server as kill -9 does. It is a no-op if the server is down.
func (s *RedisServer) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	if s.newer != nil {
		s.newer.close()
	}
	_ = s.proc.Process.Kill()
	err := s.proc.Wait()
	s.proc, s.paused = nil, false
	if ee := (*exec.ExitError)(nil); errors.As(err, &ee) {
		if ws, ok := ee.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return
		}
	}
	s.t.Logf("redis-server at %s had ended before it was killed (%v):\n%s", s.Addr(), err, s.logTail())
}

// Restart kills the server if it runs and starts an empty one on the same port.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Kill()
	if err := os.Remove(s.snapshot()); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	s.RestartFromSnapshot()
}

func (s *RedisServer) snapshot() string { return filepath.Join(s.dir, "dump.rdb") }

// RestartFromSnapshot kills the server if it runs and starts it again with what it
// has saved last (SAVE), if it has.
func (s *RedisServer) RestartFromSnapshot() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the process (SIGSTOP): connections stay open and nobody answers.
func (s *RedisServer) Pause() { s.t.Helper(); s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on; what was sent meanwhile is answered then.
func (s *RedisServer) Resume() { s.t.Helper(); s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		s.t.Fatalf("redis-server at %s is not running", s.Addr())
	}
	if err := s.proc.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal %v to redis-server: %v", sig, err)
	}
	s.paused = sig == syscall.SIGSTOP
}

// up reports whether the process runs and answers.
func (s *RedisServer) up() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && !s.paused
}

// Info returns one section of INFO.
func (s *RedisServer) Info(section string) map[string]string {
	s.t.Helper()
	m, err := s.info(section)
	if err != nil {
		s.t.Fatalf("INFO %s of %s: %v", section, s.Addr(), err)
	}
	return m
}

// Role returns what the server takes itself for, or "" if it does not answer, as
// while a sentinel changes that.
func (s *RedisServer) Role() string {
	m, err := s.info("replication")
	if err != nil {
		return ""
	}
	return m["role"]
}

func (s *RedisServer) info(section string) (map[string]string, error) {
	res, err := s.do("INFO", section)
	if err != nil {
		return nil, err
	}
	text, err := res.ToString()
	return fields(text), err
}

// fields reads lines of the form "name:value".
func fields(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			m[name] = value
		}
	}
	return m
}

// KillClients closes the connections that call themselves name (CLIENT
// SETNAME), as an operator would, and returns how many those were.
func (s *RedisServer) KillClients(name string) (killed int) {
	s.t.Helper()
	list, err := s.Do("CLIENT", "LIST").ToString()
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		client := strings.Fields(strings.TrimPrefix(line, "txt:")) // RESP3 says that it is text
		if !slices.Contains(client, "name="+name) {
			continue
		}
		for _, f := range client {
			if id, ok := strings.CutPrefix(f, "id="); ok {
				if _, err := s.do("CLIENT", "KILL", "ID", id); err == nil {
					killed++
				}
			}
		}
	}
	return killed
}

// Do runs one command over a connection of its own and fails the test if it
// does not succeed. A nil reply is no failure.
func (s *RedisServer) Do(args ...string) rueidis.RedisResult {
	s.t.Helper()
	res, err := s.do(args...)
	if err != nil && !rueidis.IsRedisNil(err) {
		s.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return res
}

func (s *RedisServer) do(args ...string) (rueidis.RedisResult, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{s.Addr()},
		Password:          s.password,
		ForceSingleClient: true,
		DisableCache:      true,
		DisableRetry:      true,
	})
	if err != nil {
		return rueidis.RedisResult{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	res := client.Do(ctx, client.B().Arbitrary(args...).Build())
	return res, res.Error()
}

var errPortTaken = errors.New("port already in use")

func (s *RedisServer) start(extra ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	listens := s.port
	if s.newer != nil {
		listens = s.inner
	}
	args := []string{
		"--bind", "127.0.0.1",
		"--port", fmt.Sprint(listens),
		"--dir", s.dir,
		"--logfile", s.logFile(),
	}
	readyLine := "eady to accept connections"
	if s.sentinel != "" {
		args = append([]string{s.sentinel, "--sentinel"}, args...)
		readyLine = "+monitor master"
	} else {
		args = append(args, "--save", "", "--appendonly", "no")
	}
	if s.newer != nil {
		args = append(args, "--replica-announce-port", fmt.Sprint(s.port))
	}
	args = slices.Concat(args, s.args, extra)
	cmd := exec.Command(s.binary, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = dieWithParent(syscall.SIGKILL)
	// The log goes to a file. The pipe is there to see the process end without a
	// goroutine that waits for it, which tests that count goroutines would find.
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	var printed []byte
	buf := make([]byte, 4096)
	ended := false
	ready := testsync.Poll(startTimeout, func() bool {
		_ = r.SetReadDeadline(time.Now().Add(time.Millisecond))
		n, err := r.Read(buf)
		printed = append(printed, buf[:n]...)
		ended = err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		return ended || strings.Contains(s.logTail(), readyLine)
	})
	if ready && !ended && s.newer != nil {
		if err := s.newer.listen(s.Addr()); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return fmt.Errorf("%w: %w", errPortTaken, err)
		}
	}
	if ready && !ended {
		s.proc = cmd
		if leastRights() && s.sentinel == "" && s.password == "" {
			return s.grantLeast()
		}
		return nil
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	log := string(printed) + s.logTail()
	if strings.Contains(log, "in use") {
		return fmt.Errorf("%w: %d", errPortTaken, s.port)
	}
	if ended {
		return fmt.Errorf("%s %s ended at once:\n%s", s.binary, strings.Join(args, " "), log)
	}
	return fmt.Errorf("%s was not ready within %v:\n%s", s.binary, startTimeout, log)
}

// logFile is a new one for each start, so that an old "ready" is not taken for
// the new process's.
func (s *RedisServer) logFile() string {
	return filepath.Join(s.dir, fmt.Sprintf("redis-%d.log", s.runs))
}

func (s *RedisServer) logTail() string { return tail(s.logFile()) }

// tail is the end of a file, "" if there is none.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const size = 8 << 10
	if fi, err := f.Stat(); err == nil && fi.Size() > size {
		_, _ = f.Seek(-size, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return string(b)
}
