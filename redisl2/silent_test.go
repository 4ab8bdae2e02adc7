package redisl2_test

import (
	"context"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/gate"
	"github.com/asidecache/aside/internal/testserver"
	"github.com/asidecache/aside/redisl2"
)

// forever is longer than a test waits: nothing is given up meanwhile, neither a
// connection that says nothing nor an attempt to make one.
const forever = 2 * minute

// One master of a cluster accepts connections and says nothing. An operation on
// its keys ends when its context does.
// Caught: without prompt, one waits for a connection that another tries to make,
// for a minute.
func TestOperationsOnASilentMaster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3, "--cluster-require-full-coverage", "no")
	s := open(t, redisl2.Options{URL: c.URL(), SilenceTimeout: forever, DialTimeout: forever})
	silent, other := c.Tags(c.Nodes[1], 1)[0], c.Tags(c.Nodes[0], 1)[0]
	acquire := func(keys ...string) []aside.Acquired {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var reqs []aside.LeaseRequest
		for _, k := range keys {
			reqs = append(reqs, aside.LeaseRequest{Key: k, Lease: envelope.NewToken(), TTL: minute})
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
	cleared := gate.Async(func() error { return s.Clear(ctx, prefix) })
	defer func() { cancel(); <-cleared }()
	gate.Eventually(t, "Clear asks the servers", func() bool { return commandCalls(c.Nodes[0], "cluster|nodes") > asked })
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
	gate.Eventually(t, "the other masters' keys are served", func() bool { return acquire(other)[0].Err == nil })
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
