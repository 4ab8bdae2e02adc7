// Package redisproc starts redis-server processes for a measurement: each peer
// has its own, so no peer sees another's keys, connections or tracking table.
package redisproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const startTimeout = 30 * time.Second

// Server is one process, empty and without persistence.
type Server struct {
	Addr string

	cmd    *exec.Cmd
	client *redis.Client // for questions about the server, not for what is measured
}

// Binary finds redis-server, or valkey-server, on PATH, unless
// ASIDE_TEST_REDIS_SERVER names one.
func Binary() (string, error) {
	if path := os.Getenv("ASIDE_TEST_REDIS_SERVER"); path != "" {
		return path, nil
	}
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("redis-server is not on PATH: run scripts/bootstrap.sh, or set ASIDE_TEST_REDIS_SERVER")
}

// Start starts a server on a free port. It ends with Stop, and on Linux with
// this process.
func Start(ctx context.Context) (*Server, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	// Another process may take the port before the server binds it.
	for range 5 {
		var s *Server
		if s, err = start(ctx, binary); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func start(ctx context.Context, binary string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
	cmd.SysProcAttr = dieWithParent()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	var log strings.Builder
	ready := make(chan bool, 1)
	go func() { // ends with the process
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "eady to accept connections") {
				ready <- true
				_, _ = io.Copy(io.Discard, out)
				return
			}
			fmt.Fprintln(&log, lines.Text())
		}
		ready <- false
	}()
	s := &Server{Addr: addr, cmd: cmd}
	select {
	case ok := <-ready:
		if ok {
			s.client = redis.NewClient(&redis.Options{Addr: addr})
			return s, nil
		}
		_ = cmd.Wait()
		return nil, fmt.Errorf("%s ended at once:\n%s", binary, log.String())
	case <-time.After(startTimeout):
		err = fmt.Errorf("%s was not ready within %v", binary, startTimeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.kill()
	return nil, err
}

func (s *Server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.client.Close()
	s.kill()
}

// Info returns all fields of INFO.
func (s *Server) Info(ctx context.Context) (map[string]string, error) { return Info(ctx, s.client) }

// Used is what a server has used and done since it started.
type Used struct {
	CPU      time.Duration // in user and system time
	Commands int64
}

// Used asks for both. That is a command too.
func (s *Server) Used(ctx context.Context) (u Used, err error) {
	info, err := s.Info(ctx)
	if err != nil {
		return u, err
	}
	for _, f := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info[f], 64)
		if err != nil {
			return u, fmt.Errorf("INFO: %s is %q", f, info[f])
		}
		u.CPU += time.Duration(seconds * float64(time.Second))
	}
	u.Commands, err = strconv.ParseInt(info["total_commands_processed"], 10, 64)
	return u, err
}

// Info asks a server for all fields of INFO, those of every command included.
func Info(ctx context.Context, c *redis.Client) (map[string]string, error) {
	text, err := c.Info(ctx, "everything").Result()
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// Calls returns how often each command was called since the server started,
// from the fields of INFO. Subcommands count apart, as "client|tracking".
func Calls(info map[string]string) map[string]int64 {
	calls := map[string]int64{}
	for name, value := range info {
		command, ok := strings.CutPrefix(name, "cmdstat_")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut(value, ",")
		if n, err := strconv.ParseInt(strings.TrimPrefix(first, "calls="), 10, 64); err == nil {
			calls[command] = n
		}
	}
	return calls
}
