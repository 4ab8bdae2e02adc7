// Package ownredis runs a Redis server for this process alone: empty, without
// persistence, with limited memory, in a temporary directory. It ends with this process.
// Its clients reach it through a proxy on a loopback port, which can be cut to see how
// they do without it.
package ownredis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// ErrMissing: no server is installed.
var ErrMissing = errors.New("no redis-server or valkey-server is on PATH")

const (
	// memory is what the server may use. Redis refuses what does not fit.
	memory = "256mb"
	// startTime limits a start, which takes some 10 ms.
	startTime  = 10 * time.Second
	startPause = 2 * time.Millisecond
	// oldest is the oldest supported major version of Redis.
	oldest = 7
	// maxDir is how long the path of the directory may be: the path of a socket is
	// limited to some 100 bytes.
	maxDir = 70

	dirPrefix  = "aside-redis-"
	socketName = "redis.sock"
	// startsWithin is how long a directory may have no server yet.
	startsWithin = time.Minute
)

// Find returns the path of a server, redis-server or valkey-server, and its name and
// version, such as "Redis server 7.0.15". Without one the error matches ErrMissing.
func Find(ctx context.Context) (path, version string, err error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if err != nil {
		return "", "", ErrMissing
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("%s --version: %w", path, err)
	}
	if version, err = versionOf(string(out)); err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	return path, version, nil
}

// versionOf reads what the server prints for --version, such as
//
//	Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0
func versionOf(out string) (string, error) {
	what, rest, ok := strings.Cut(strings.TrimSpace(out), " v=")
	version, _, _ := strings.Cut(rest, " ")
	var major int
	if n, _ := fmt.Sscanf(version, "%d.", &major); !ok || n != 1 {
		return "", fmt.Errorf("it is no Redis, or says its version in another way: %.80q", out)
	}
	if major < oldest {
		return "", fmt.Errorf("it is %s %s; version %d or later is needed", what, version, oldest)
	}
	return what + " " + version, nil
}

// Server is a running server. Close ends it.
type Server struct {
	Version string // such as "Redis server 7.0.15"

	dir   string
	cmd   *exec.Cmd
	out   bytes.Buffer  // what it printed; valid when ended is closed
	ended chan struct{} // closed when the process has ended
	*proxy
}

// Start starts a server and waits until it answers.
func Start(ctx context.Context) (_ *Server, err error) {
	path, version, err := Find(ctx)
	if err != nil {
		return nil, err
	}
	sweep(base())
	s := &Server{Version: version, ended: make(chan struct{})}
	if s.dir, err = os.MkdirTemp(base(), dirPrefix); err != nil {
		return nil, fmt.Errorf("a directory for %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.dir)
		}
	}()
	socket := filepath.Join(s.dir, socketName)
	s.cmd = exec.Command(path,
		"--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--maxmemory", memory, "--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "notice")
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = endsWithThread()
	if err := s.launch(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := s.await(ctx, socket); err != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.proxy, err = newProxy(socket); err != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		return nil, err
	}
	return s, nil
}

// base returns the directory for temporary files, unless the path of a socket in it would
// be too long.
func base() string {
	if dir := os.TempDir(); len(dir) <= maxDir {
		return dir
	}
	return "/tmp"
}

// sweep removes the directories of servers whose processes were killed. A socket on which
// nobody listens refuses connections.
func sweep(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*")) // the pattern is valid
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < startsWithin {
			continue
		}
		conn, err := net.Dial("unix", filepath.Join(dir, socketName))
		switch {
		case err == nil:
			_ = conn.Close()
		case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist):
			_ = os.RemoveAll(dir) // it fails for those of other users
		}
	}
}

// launch starts the process from a thread that lives as long as the process: Linux ends
// the process with the thread that started it, and so also when this process is killed.
func (s *Server) launch() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(s.ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
	}()
	return <-started
}

// await waits until the server answers on its socket.
func (s *Server) await(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if answers(ctx, socket) {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("it ended at once: %s", lastLine(s.out.String()))
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", context.Cause(ctx))
		case <-time.After(startPause):
		}
	}
}

func answers(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	pong := make([]byte, 5)
	n, err := conn.Read(pong)
	return err == nil && bytes.Equal(pong[:n], []byte("+PONG"))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// URL returns the URL for the server's clients. It stays the same while the proxy is cut.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Ended is closed when the process has ended, by Close or by itself.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Close ends the server and removes its files.
func (s *Server) Close() error {
	s.proxy.close()
	_ = s.cmd.Process.Kill() // it has nothing to keep
	<-s.ended
	return os.RemoveAll(s.dir)
}
