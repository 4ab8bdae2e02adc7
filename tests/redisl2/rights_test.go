package redisl2_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// The rights in SECURITY.md are enough: for one server, for the servers behind
// sentinels and the sentinels themselves, and for a cluster, in operation and when
// another server takes over.
// Caught: a script that had come to need PEXPIRE, which the list did not have;
// sentinels that are sent CLIENT TRACKING.
func TestRightsInSecurityMD(t *testing.T) {
	t.Parallel()
	conforms := func(t *testing.T, o redisl2.Options) {
		asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) { return open(t, o), open(t, o) })
		s := open(t, o)
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		keys := numbered("k", 8)
		p := newPrimary(keys...)
		n := newNodeOn(t, p, s, &testsync.Buffer{}, func(o *options) { o.L1Size = -1 })
		for range 20 { // so that values are expected, and asked for with MGET
			if got, err := n.GetMany(t.Context(), keys, p); err != nil || len(got) != 8 {
				t.Fatalf("%d of 8: %v", len(got), err)
			}
		}
		n.update("k0")
		if err := n.Clear(t.Context()); err != nil {
			t.Error(err)
		}
		if s := n.Stats(); s.L2Errors != 0 || s.HitsL2 == 0 {
			t.Errorf("%d errors, %d hits: %s", s.L2Errors, s.HitsL2, s.DegradedReason)
		}
	}
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		srv := testserver.Redis(t)
		grant("aside", ofTheSuite(srv.Rights("aside")), srv)
		conforms(t, redisl2.Options{URL: as("aside", srv.URL())})
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		g := testserver.Sentinel(t, 1, 3)
		grant("aside", ofTheSuite(g.Nodes[0].Rights("aside-sentinel")), g.Nodes...)
		grant("watch", g.Nodes[0].Rights("aside-watch"), g.Sentinels...)
		o := redisl2.Options{URL: as("aside", g.URL()), SentinelUsername: "watch", SentinelPassword: "secret"}
		conforms(t, o)
		p := newPrimary("k")
		n := newNodeOn(t, p, open(t, o), &testsync.Buffer{}, impatient)
		n.warm("k")
		g.Nodes[1].InStep(g.Nodes[0])
		g.FailOver()
		n.healthy()
		n.warm("k")
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := testserver.ClusterWithReplicas(t, 3, 1)
		grant("aside", ofTheSuite(c.Nodes[0].Rights("aside-cluster")), c.Nodes...)
		o := redisl2.Options{URL: as("aside", c.URL())}
		conforms(t, o)
		k := c.Tags(c.Nodes[0], 1)[0]
		p := newPrimary(k)
		n := newNodeOn(t, p, open(t, o), &testsync.Buffer{}, impatient)
		n.warm(k)
		m := c.Migrate(c.Slot(k), c.Nodes[1])
		n.takes(k) // where it is not any more, if MIGRATE has taken it, so this asks the other (ASKING)
		m.Finish()
		c.FailOver(c.Nodes[2])
		n.healthy()
		n.takes(k)
		if s := n.store.State(); s != nil {
			testsync.Eventually(t, "all masters are there", func() bool { return n.store.State() == nil })
		}
	})
}

// ofTheSuite allows the keys of the conformance suite.
func ofTheSuite(rights []string) []string {
	rights = slices.Clone(rights)
	rights[slices.Index(rights, "~aside:*")] = "~aside*"
	return rights
}

// Each sentinel's own right, taken away, is told with the sentinel's address.
// Caught: "NOPERM" without a word of who said so, and advice to set DisableCache.
func TestEachRightOfASentinelIsMissedByName(t *testing.T) {
	t.Parallel()
	g := testserver.Sentinel(t, 0, 1)
	grant("aside", g.Nodes[0].Rights("aside-sentinel"), g.Nodes...)
	all := g.Nodes[0].Rights("aside-watch")
	for i, right := range all {
		if !strings.HasPrefix(right, "+") || slices.Contains(notNeeded, right) || strings.Contains(right, "subscribe") {
			continue
		}
		grant("watch", slices.Concat(all[:i], all[i+1:]), g.Sentinels...)
		s := open(t, redisl2.Options{URL: as("aside", g.URL()), SentinelUsername: "watch", SentinelPassword: "secret", Logger: slog.New(slog.DiscardHandler)})
		want := "the sentinel at " + g.Sentinels[0].Addr() + ": the Redis user may not run " + strings.ToUpper(strings.ReplaceAll(right[1:], "|", " "))
		if err := s.Check(t.Context()); !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v", right, err)
		}
		s.Close()
	}
	grant("watch", all, g.Sentinels...)
	for what, o := range map[string]redisl2.Options{
		"the sentinel at " + g.Sentinels[0].Addr() + ": Redis refuses the user name": {URL: as("aside", g.URL()), SentinelUsername: "watch", SentinelPassword: "other"},
		"the sentinel knows no master of this name":                                  {URL: strings.Replace(as("aside", g.URL()), testserver.MasterSet, "other", 1), SentinelUsername: "watch", SentinelPassword: "secret"},
		"the master at " + g.Nodes[0].Addr() + ": Redis refuses the user name":       {URL: strings.Replace(as("aside", g.URL()), "secret", "other", 1), SentinelUsername: "watch", SentinelPassword: "secret"},
		"this is a sentinel": {URL: "redis://watch:secret@" + g.Sentinels[0].Addr()},
	} {
		o.Logger = slog.New(slog.DiscardHandler)
		s := open(t, o)
		if err := s.Check(t.Context()); !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), what) {
			t.Errorf("want %q: %v", what, err)
		}
		s.Close()
	}
}
