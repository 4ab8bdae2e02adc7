package redisl2

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/asidetest/testsync"
)

// redisServer is a redis-server for the tests that look inside. All others are in
// ../tests, with more servers: what they need must not become a requirement of
// this module.
type redisServer struct {
	t    testing.TB
	addr string
}

func startRedis(t testing.TB) *redisServer {
	t.Helper()
	binary := os.Getenv("ASIDE_TEST_REDIS_SERVER")
	if binary == "" {
		binary = "redis-server"
	}
	// Another process may take the port between our look and the server's bind.
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		_ = l.Close()
		cmd := exec.Command(binary, "--bind", "127.0.0.1", "--port", strconv.Itoa(addr.Port), "--dir", t.TempDir(), "--save", "")
		if err := cmd.Start(); err != nil {
			t.Fatalf("%v: run scripts/bootstrap.sh, or set ASIDE_TEST_REDIS_SERVER", err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		s := &redisServer{t, addr.String()}
		if testsync.Poll(5*time.Second, func() bool { return s.is(cmd.Process.Pid) }) {
			return s
		}
	}
	t.Fatalf("%s did not start in five tries", binary)
	panic("unreachable")
}

// is reports whether the server that answers is that process.
func (s *redisServer) is(pid int) bool {
	info, err := s.do("INFO", "server").ToString()
	return err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid))
}

func (s *redisServer) URL() string { return "redis://" + s.addr }

// Do runs one command and fails the test if that fails.
func (s *redisServer) Do(args ...string) {
	s.t.Helper()
	if err := s.do(args...).Error(); err != nil {
		s.t.Fatalf("%q: %v", args, err)
	}
}

func (s *redisServer) do(args ...string) rueidis.RedisResult {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true,
	})
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	defer c.Close()
	return c.Do(s.t.Context(), c.B().Arbitrary(args...).Build())
}
