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
// Caught: without prompt, one waits for the connection that the refresh of the
// topology tries to make, for two minutes.
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

	// A lost connection has rueidis refresh its topology within a second; it
	// then asks the silent server too, over a new connection.
	c.Nodes[1].KillClients("aside")
	c.Nodes[1].Pause()
	within(t, slack, "60 operations on its keys", func() {
		for range 30 {
			if r := acquire(silent); r[0].Err == nil {
				t.Error("a server that is stopped answers")
			}
			if r := acquire(silent, other); r[0].Err == nil {
				t.Error("in a batch, a server that is stopped answers")
			}
		}
	})
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
