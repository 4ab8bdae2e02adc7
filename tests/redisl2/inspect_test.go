package redisl2_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Redis does not track a key for who inspects it, and what the cache reads it tracks as
// before. Nothing is read over the connection of the cache, and none is left open.
// Caught: Inspect by GET and PTTL over that connection.
func TestInspectTracksNothing(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	a := newNode(t, p, srv.URL())
	b := newNode(t, p, srv.URL())
	a.warm("k")
	b.warm("other")
	before := srv.Info("stats")["tracking_total_items"]
	for range 20 {
		i, err := b.Inspect(t.Context(), "k")
		if err != nil || i.L2Err != nil || i.L2 == nil || i.L2.Kind != aside.EntryValue || i.L2.Value.Version != 1 || i.L2.Node != aside.NodeIDOf(a.Node()) {
			t.Fatalf("%+v, %+v, %v", i, i.L2, err)
		}
		if i.L2.Left <= 0 || i.L2.Left > minute*5 {
			t.Fatalf("%v left", i.L2.Left)
		}
	}
	if now := srv.Info("stats")["tracking_total_items"]; now != before {
		t.Errorf("%s items are tracked, were %s", now, before)
	}
	testsync.Eventually(t, "no connection is left", func() bool {
		clients, err := srv.Do("CLIENT", "LIST").ToString()
		return err == nil && !strings.Contains(clients, "admits")
	})
	a.update("k")
	if n := b.Stats().Invalidations; n != 0 {
		t.Errorf("%d invalidations of a key that was only inspected", n)
	}
}

// inspect shows a key as the tier has it.
func inspect(t *testing.T, s *redisl2.Store, key string) (driver.Raw, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), minute)
	defer cancel()
	return s.Inspect(ctx, key, 1<<20)
}

// What a list, a hash, a key without an end and an empty string look like; and a server
// that is full, or may not write, shows what it has.
// Caught: the WRONGTYPE of Redis for an answer; a script that is refused when memory is full.
func TestInspectOfWhatRedisHas(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "it sets what no cache does")
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	srv.Do("RPUSH", prefix+"list", "x")
	srv.Do("HSET", prefix+"hash", "f", "x", "g", "y")
	srv.Do("PEXPIRE", prefix+"hash", "60000")
	srv.Do("SET", prefix+"empty", "")
	srv.Do("SET", prefix+"foreign", "\x00\xff\r\n", "PX", "60000")
	srv.Do("SET", prefix+"large", strings.Repeat("V", 3<<20))
	look := func(what string) {
		t.Helper()
		for key, want := range map[string]struct {
			foreign, ends bool
			entry         string
			size          int
		}{
			"absent": {}, "list": {foreign: true}, "hash": {foreign: true, ends: true}, "empty": {},
			"foreign": {ends: true, entry: "\x00\xff\r\n", size: 4}, "large": {entry: strings.Repeat("V", 1<<20), size: 3 << 20},
		} {
			r, err := inspect(t, s, prefix+key)
			if err != nil {
				t.Errorf("%s, %s: %v", what, key, err)
				continue
			}
			if r.Foreign != want.foreign || string(r.Entry) != want.entry || r.Size != want.size || (r.Entry == nil) != (key == "absent" || want.foreign) ||
				key != "absent" && (r.Left >= 0) != want.ends || r.Left > minute || time.Since(r.Now).Abs() > minute {
				t.Errorf("%s, %s: %d bytes of %d, foreign %v, %v left, at %v", what, key, len(r.Entry), r.Size, r.Foreign, r.Left, r.Now)
			}
		}
	}
	announce := func(what string) {
		t.Helper()
		got, err := s.Announce(t.Context(), driver.AnnounceRequest{Key: roster, Node: "n", Data: []byte(what), TTL: minute})
		if err != nil || len(got) != 1 || string(got["n"]) != what {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	look("in good health")
	announce("in good health")
	srv.Do("CONFIG", "SET", "maxmemory", "1")
	look("memory full")
	announce("memory full")
	srv.Do("CONFIG", "SET", "maxmemory", "0")
	srv.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	look("no replicas")
	if _, err := s.Announce(t.Context(), driver.AnnounceRequest{Key: roster, Node: "n", TTL: minute}); !errors.Is(err, driver.ErrRefused) {
		t.Errorf("announced without the replicas: %v", err)
	}
	srv.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	srv.Do("SET", roster, "x") // nobody's, without an end
	announce("over a foreign string")
	srv.Do("DEL", roster)
	srv.Do("RPUSH", roster, "x")
	announce("over a list")
}

const roster = "aside:t:nodes:roster"

// A cache shows what it has under a list, which a read takes for absent.
func TestInspectOfAList(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "it sets what no cache does")
	srv := testserver.Redis(t)
	n := newNode(t, newPrimary("k"), srv.URL())
	n.warm("k")
	srv.Do("DEL", prefix+"k")
	srv.Do("RPUSH", prefix+"k", "x")
	i, err := n.Inspect(t.Context(), "k")
	if err != nil || i.L2Err != nil || i.L2 == nil || i.L2.Kind != aside.EntryUnknown || i.L2.Err == nil || i.L2.Left >= 0 {
		t.Errorf("%+v, %+v, %v", i, i.L2, err)
	}
	n.wantStrong("k", 1)
}

// A server that was not cleared, a replica, and one that does not answer show nothing:
// what they have is not used.
// Caught: an entry from before a restart shown as if it were the cache's.
func TestInspectWhereNothingIsUsed(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "it sets what no cache does")
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	srv.Do("SET", prefix+"k", "V", "PX", "60000")
	if r, err := inspect(t, s, prefix+"k"); err == nil || !strings.Contains(err.Error(), "not used") || r.Entry != nil {
		t.Errorf("a server that is new to the cache: %+v, %v", r, err)
	}
	if n, err := srv.Do("EXISTS", prefix+"k").AsInt64(); err != nil || n != 1 {
		t.Errorf("the look removed the key: %d, %v", n, err)
	}
	admitted(t, s)
	if r, err := inspect(t, s, prefix+"k"); err != nil || r.Entry != nil {
		t.Errorf("cleared: %+v, %v", r, err)
	}

	master := testserver.Redis(t)
	srv.ReplicaOf(master)
	if _, err := inspect(t, s, prefix+"k"); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("a replica: %v", err)
	}

	srv.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Inspect(ctx, prefix+"k", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that does not answer: %v", err)
	}
	// As many as may be on their way at once wait for it; the next one waits for them.
	for range 20 {
		if _, err := s.Inspect(ctx, prefix+"k", 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that does not answer: %v", err)
		}
	}
	srv.Resume()
	s.Close()
	if _, err := s.Inspect(t.Context(), prefix+"k", 0); err == nil {
		t.Error("closed: no error")
	}
}

// In a cluster the server that has the key's slot is asked, also when the slot has just
// gone to another. The roster is one key, on one server.
// Caught: MOVED for an answer.
func TestInspectInACluster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	p := newPrimary()
	a, b := newNode(t, p, c.URL()), newNode(t, p, c.URL())
	shows := func(k string, version int) bool {
		t.Helper()
		i, err := b.Inspect(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if i.L2Err != nil || i.L2 == nil {
			t.Logf("%s: %v", k, i.L2Err)
			return false
		}
		return i.L2.Value.Version == version
	}
	for n, node := range c.Nodes {
		k := c.Tags(node, 1)[0]
		p.put(k)
		a.warm(k)
		if !shows(k, 1) {
			t.Errorf("the key of server %d is not shown", n)
		}
	}
	k := c.Tags(c.Nodes[0], 1)[0]
	c.Migrate(c.Slot(k), c.Nodes[1]).Finish()
	if !shows(k, 1) {
		t.Error("the key of a slot that went to another server is not shown")
	}
	for i, n := range []*node{a, b, a} {
		got, err := n.store.Announce(t.Context(), driver.AnnounceRequest{Key: roster, Node: fmt.Sprint(i % 2), TTL: minute})
		if err != nil || len(got) != min(i+1, 2) {
			t.Errorf("announced: %q, %v", got, err)
		}
	}
}
