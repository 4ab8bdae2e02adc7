package redisl2_test

import (
	"context"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// forever is longer than a test waits: nothing is given up meanwhile, neither a
// connection that says nothing nor an attempt to make one.
const forever = 2 * minute

// One master of a cluster accepts connections and says nothing. An operation on
// its keys ends when its context does.
// Caught: without cancellable, one waits for a connection that another tries to make,
// for a minute.
func TestOperationsOnASilentMaster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3, "--cluster-require-full-coverage", "no")
	s := open(t, redisl2.Options{URL: c.URL(), SilenceTimeout: forever, DialTimeout: forever})
	silent, other := c.Tags(c.Nodes[1], 1)[0], c.Tags(c.Nodes[0], 1)[0]
	acquire := func(keys ...string) []driver.Grant {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var reqs []driver.LeaseRequest
		for _, k := range keys {
			reqs = append(reqs, driver.LeaseRequest{Key: k, Lease: envelope.NewToken(), TTL: minute})
		}
		return s.Acquire(ctx, reqs)
	}
	acquire(silent, other)

	// Somebody is in less of a hurry, and begins to connect: here it is Clear, in
	// the field the refresh of rueidis' topology, whenever a connection is lost.
	c.Nodes[1].KillClients("aside")
	c.Nodes[1].Pause()
	asked := commandCalls(c.Nodes[0], "cluster|nodes")
	ctx, cancel := context.WithTimeout(t.Context(), minute)
	cleared := testsync.Async(func() error { return s.Clear(ctx, prefix) })
	defer func() { cancel(); <-cleared }()
	testsync.Eventually(t, "Clear asks the servers", func() bool { return commandCalls(c.Nodes[0], "cluster|nodes") > asked })
	for range 30 {
		for _, keys := range [][]string{{silent}, {silent, other}} {
			start := time.Now()
			if r := acquire(keys...); r[0].Err == nil {
				t.Error("a server that is stopped answers")
			}
			if d := time.Since(start); d > slack {
				t.Fatalf("an operation on %v took %v", keys, d)
			}
		}
	}
	testsync.Eventually(t, "the other masters' keys are served", func() bool { return acquire(other)[0].Err == nil })
}

// A server, alone or found by Sentinel, accepts connections and says nothing. An
// operation ends when its context does: the first one after that, on a connection
// that stands, and those that come while another, in less of a hurry, tries to make
// a connection.
// Caught: without cancellable, one waits for that connection, for two minutes.
func TestOperationsOnASilentServer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"one server", "Sentinel"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var url string
			var srv *testserver.RedisServer
			if name == "Sentinel" {
				g := testserver.Sentinel(t, 0, 1)
				url, srv = g.URL(), g.Nodes[0]
			} else {
				srv = testserver.Redis(t)
				url = srv.URL()
			}
			s := open(t, redisl2.Options{URL: url, SilenceTimeout: silence, DialTimeout: forever})
			lost := make(chan struct{}, 10)
			if _, err := s.Watch(prefix, driver.Watcher{Changed: func(string) {}, Lost: func() { lost <- struct{}{} }}); err != nil {
				t.Fatal(err)
			}
			all := map[string]func(ctx context.Context) error{
				"acquire": func(ctx context.Context) error {
					return s.Acquire(ctx, []driver.LeaseRequest{{Key: "k", Lease: envelope.NewToken(), TTL: minute}})[0].Err
				},
				"acquire of many": func(ctx context.Context) error { return s.Acquire(ctx, expected(numbered("k", 8)...))[0].Err },
				"fence": func(ctx context.Context) error {
					return s.Fence(ctx, []driver.FenceRequest{{Key: "k", Token: envelope.NewToken(), Life: minute}})[0]
				},
				"ping": s.Ping,
			}
			check := func(when string) {
				t.Helper()
				for op, f := range all {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					start := time.Now()
					if err := f(ctx); err == nil {
						t.Errorf("%s, %s: a server that is stopped answers", when, op)
					}
					cancel()
					if d := time.Since(start); d > slack {
						t.Fatalf("%s, %s took %v", when, op, d)
					}
				}
			}
			for op, f := range all {
				if err := f(t.Context()); err != nil {
					t.Fatalf("%s: %v", op, err)
				}
			}
			srv.Pause()
			check("nobody has noticed")
			testsync.Await(t, "the connection is given up", lost)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			patient := testsync.Async(func() error {
				for ctx.Err() == nil {
					_ = s.Ping(ctx)
				}
				return ctx.Err()
			})
			for range 20 {
				check("another connects")
			}
			cancel()
			testsync.Await(t, "the one that was patient", patient)
			srv.Resume()
			testsync.Eventually(t, "the server is used again", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				return s.Ping(ctx) == nil
			})
		})
	}
}

// Ping needs one answer, whatever becomes of the others.
// Caught: a Ping that waits for all of them.
func TestPingOfAClusterWithASilentMaster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	s := open(t, redisl2.Options{URL: c.URL(), SilenceTimeout: forever})
	c.Nodes[1].Pause()
	within(t, slack, "Ping", func() {
		ctx, cancel := context.WithTimeout(t.Context(), minute)
		defer cancel()
		if err := s.Ping(ctx); err != nil {
			t.Error(err)
		}
	})
}
