package redisl2_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Caught: Clear of one node alone.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	one := c.Nodes[0].URL() // the others are found through it

	t.Run("conformance", func(t *testing.T) {
		asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) {
			return open(t, redisl2.Options{URL: one}), open(t, redisl2.Options{URL: c.URL()})
		})
	})
	t.Run("odd keys", func(t *testing.T) { checkOddKeys(t, one) })
	t.Run("many keys", func(t *testing.T) {
		keys := numbered("k", 1500)
		p := newPrimary(keys...)
		named := func(o *options) { o.Name = "many"; o.L1Size = 10_000 }
		a, b := newNode(t, p, one, named), newNode(t, p, one, named)
		m, err := a.GetMany(context.Background(), keys, p)
		if err != nil || len(m) != len(keys) || p.loads.Load() != 2 { // calls of at most 1,000 keys
			t.Fatalf("%d values, %d loads, %v", len(m), p.loads.Load(), err)
		}
		for _, k := range keys[:50] {
			a.warm(k)
		}
		res, err := b.ReadMany(context.Background(), keys, p, aside.Default)
		if err != nil {
			t.Fatal(err)
		}
		for k, r := range res {
			if r.Source != aside.SourceL2 || r.Value.Key != k {
				t.Fatalf("%s: %+v", k, r)
			}
		}
		for i, n := range c.Nodes {
			if size, _ := n.Do("DBSIZE").AsInt64(); size < 300 {
				t.Errorf("node %d holds %d of 1500 keys", i, size)
			}
		}
		if err := a.WriteMany(context.Background(), keys, func(context.Context, *aside.WriteTx[string, rec]) error {
			for _, k := range keys {
				p.put(k)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, k := range keys[:50] {
			b.wantStrong(k, 2)
			testsync.Eventually(t, "the push", func() bool { v, _ := b.read(k, aside.Default); return v == 2 })
		}
		if err := b.Clear(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, n := range c.Nodes {
			for _, k := range must(n.Do("KEYS", "aside:many:*").AsStrSlice()) {
				t.Errorf("node %d still has %s", i, k)
			}
		}
	})
	t.Run("script flush", func(t *testing.T) {
		keys := numbered("k", 100)
		p := newPrimary(keys...)
		n := newNode(t, p, one, func(o *options) { o.Name = "flush" })
		n.warm("k0")
		for _, node := range c.Nodes {
			node.Do("SCRIPT", "FLUSH")
		}
		if _, err := n.GetMany(context.Background(), keys, p); err != nil {
			t.Error(err)
		}
		if s := n.Stats(); s.L2Errors != 0 {
			t.Errorf("%d L2 errors: %s", s.L2Errors, s.DegradedReason)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Caught: Ping that asks for an answer of every master.
func TestClusterWithADeadMaster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3, "--cluster-require-full-coverage", "no")
	s := open(t, redisl2.Options{URL: c.URL()})
	acquire := func(keys []string) (granted, failed int) {
		reqs := make([]driver.LeaseRequest, len(keys))
		for i, k := range keys {
			reqs[i] = driver.LeaseRequest{Key: k, Lease: envelope.NewToken(), TTL: minute}
		}
		ctx, cancel := context.WithTimeout(t.Context(), slack)
		defer cancel()
		for _, r := range s.Acquire(ctx, reqs) {
			if r.Err != nil {
				failed++
			} else {
				granted++
			}
		}
		return granted, failed
	}
	if _, failed := acquire(numbered("before", 300)); failed != 0 {
		t.Fatalf("%d of 300 keys failed", failed)
	}

	p := newPrimary(numbered("k", 300)...)
	n := newNode(t, p, c.URL(), impatient, func(o *options) { o.BreakerFailures = 1000 })
	for i := range 300 {
		n.read(fmt.Sprint("k", i), aside.Default)
	}
	c.Nodes[1].Kill()
	round := 0
	testsync.Eventually(t, "the keys of the other masters are served, and only those", func() bool {
		round++
		granted, failed := acquire(numbered(fmt.Sprint("after", round, "-"), 300))
		return granted > 150 && failed > 50
	})
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping with two of three masters: %v", err)
	}
	hits := 0
	for i := range 300 {
		if _, info := n.read(fmt.Sprint("k", i), aside.Strong); info.Source == aside.SourceL2 {
			hits++
		}
	}
	if hits < 150 {
		t.Errorf("%d of 300 reads were answered by the two masters left", hits)
	}
	for i := range 20 {
		k := fmt.Sprint("k", i)
		n.wantStrong(k, n.update(k).Version)
	}
	for _, node := range []int{0, 2} {
		c.Nodes[node].Kill()
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping with no master left succeeds")
	}
}
