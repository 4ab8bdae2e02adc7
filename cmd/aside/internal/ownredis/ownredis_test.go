package ownredis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// With this variable set, the test binary starts a server, prints its process and directory,
// and waits to be killed.
const childEnv = "OWNREDIS_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		s, err := Start(context.Background())
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.cmd.Process.Pid)
		select {}
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start(t.Context())
	if errors.Is(err, ErrMissing) {
		testserver.Missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a command over a connection and returns the first line of the answer.
func ask(conn net.Conn, command string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestServer(t *testing.T) {
	s := start(t)
	closed := false
	defer func() {
		if !closed {
			_ = s.Close()
		}
	}()
	conn := dial(t, s)
	for _, c := range []struct{ command, want string }{{"SET k v", "+OK"}, {"EXISTS k", ":1"}, {"LASTSAVE", ":"}} {
		if got, err := ask(conn, c.command); err != nil || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, %v", c.command, got, err)
		}
	}
	// A cut ends the connections, and does not let new ones in.
	s.Cut()
	if got, err := ask(conn, "PING"); err == nil {
		t.Errorf("after the cut: %q", got)
	}
	if got, err := ask(dial(t, s), "PING"); err == nil {
		t.Errorf("a new connection after the cut: %q", got)
	}
	s.Restore()
	if got, err := ask(dial(t, s), "EXISTS k"); err != nil || got != ":1" {
		t.Errorf("after the cut ended: %q, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	closed = true
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
	if err := syscall.Kill(s.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("its process: %v", err)
	}
}

// A process that is killed takes its server along.
func TestServerEndsWithAKilledProcess(t *testing.T) {
	if _, _, err := Find(t.Context()); errors.Is(err, ErrMissing) {
		testserver.Missing(t, "%v", err)
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux ends it")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+short(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, parseErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || parseErr != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%q, %v", line, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("it does not run: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !testsync.Poll(10*time.Second, func() bool { return gone(pid) }) {
		t.Error("the server runs on")
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// gone reports whether a process has ended. A child of a killed process may stay as a zombie
// where nobody waits for it.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// short returns a directory that is removed with the test, with a short path.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(base(), "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Without a server, with one that cannot be used, and with one that ends at once, the error
// says why.
func TestServersThatCannotBeUsed(t *testing.T) {
	bin := short(t)
	t.Setenv("PATH", bin)
	if _, err := Start(t.Context()); !errors.Is(err, ErrMissing) {
		t.Errorf("without a server: %v", err)
	}
	for script, want := range map[string]string{
		`echo "Redis server v=5.0.7 sha=0"`: "version 7",
		`echo "hello"`:                      "no Redis",
		`exit 3`:                            "exit status 3",
		`case $1 in --version) echo "Valkey server v=8.0.1 sha=0";; *) echo "# Bad directive"; exit 1;; esac`: "Bad directive",
	} {
		if err := os.WriteFile(filepath.Join(bin, "valkey-server"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if s, err := Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", script, err, want)
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

// What a killed process left behind is removed by the next one; what is in use, or just
// begun, is not.
func TestSweep(t *testing.T) {
	base := short(t)
	old := time.Now().Add(-2 * startsWithin)
	folder := func(name string, listen, keep bool, at time.Time) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if listen {
			l, err := net.Listen("unix", filepath.Join(dir, socketName))
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			if keep {
				t.Cleanup(func() { _ = l.Close() })
			} else {
				_ = l.Close()
			}
		}
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	stays := map[string]bool{
		folder(dirPrefix+"dead", true, false, old):        false,
		folder(dirPrefix+"empty", false, false, old):      false,
		folder(dirPrefix+"lives", true, true, old):        true,
		folder(dirPrefix+"new", false, false, time.Now()): true,
		folder("other", false, false, old):                true,
	}
	sweep(base)
	for dir, want := range stays {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, want it to stay: %v", filepath.Base(dir), err, want)
		}
	}
}
