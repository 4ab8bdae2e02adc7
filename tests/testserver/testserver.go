// Package testserver starts the real servers that tests talk to: Redis (one
// server, a master with replicas and sentinels, or a cluster), a server that
// speaks MongoDB's wire protocol, PostgreSQL (one server, with standbys), and toxiproxy
// to cut, silence or slow the way to each.
//
// A server is looked for in the environment, then on PATH; if there is none the
// test is skipped, or fails if ASIDE_TEST_REQUIRE_SERVERS is 1, as it is in CI.
// Every server listens on a free port of 127.0.0.1, keeps its files in the
// test's temporary directory and ends with the test. Only tests may import this
// package. Methods that take no context and return no error fail the test; call
// them from the test's own goroutine.
package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

// startTimeout bounds every wait for a server; a server on a busy machine of
// two cores takes a small part of it.
const startTimeout = 30 * time.Second

// RequireServers reports whether a missing server must fail the test.
func RequireServers() bool { return os.Getenv("ASIDE_TEST_REQUIRE_SERVERS") == "1" }

// Missing skips the test, or fails it where servers are required.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if RequireServers() {
		t.Fatalf("ASIDE_TEST_REQUIRE_SERVERS=1: "+format, args...)
	}
	t.Skipf(format, args...)
}

// freePort returns a port nobody listens on. It lies below the range from which
// systems pick ports for outgoing connections, so none of those takes it while
// a server that a test killed is down.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port in 100 tries, last: %w", last)
}

// Eventually polls cond until it returns true, and fails the test with what if
// it has not done so within limit.
func Eventually(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	if !testsync.Poll(limit, cond) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}
