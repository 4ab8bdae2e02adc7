package aside_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
)

// outside changes a record past the cache, and tells the feed.
func (p *primary) outside(l *asidetest.Log, k string) rec {
	r := p.put(k)
	l.Append(driver.Change{Key: k, Version: uint64(r.Version)})
	return r
}

func fedBy(l *asidetest.Log) func(*options) { return func(o *options) { o.Feed = l } }

// fed waits until the node is fed.
func (n *node) fed() {
	n.t.Helper()
	testsync.Eventually(n.t, "the cache is fed", func() bool { return n.Stats().Feed.Fed })
}

// awaitChanges waits until the node has handled so many changes in all.
func (n *node) awaitChanges(want uint64) {
	n.t.Helper()
	testsync.Eventually(n.t, "changes are handled", func() bool { return n.Stats().Feed.Changes >= want })
}

// A cache without L2 follows for itself. Caught: L1 that keeps what was changed past it.
func TestFeedWithoutL2(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k", "other")
	n := newNode(t, p, nil, fedBy(l))
	n.fed()
	n.want("k", 1, aside.SourceLoad)
	n.want("other", 1, aside.SourceLoad)
	p.outside(l, "k")
	n.awaitChanges(1)
	n.want("k", 2, aside.SourceLoad)
	n.want("other", 1, aside.SourceL1)
	p.del("k")
	l.Append(driver.Change{Key: "k", Deleted: true})
	n.awaitChanges(2)
	if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
		t.Errorf("a record that was deleted: %v", err)
	}
	p.outside(l, "k")
	n.awaitChanges(3)
	n.want("k", 1, aside.SourceLoad)
}

// A write through the cache is told too, and costs nothing.
func TestOwnWritesWithoutL2(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k")
	n := newNode(t, p, nil, fedBy(l))
	n.fed()
	r := n.update("k")
	n.want("k", 2, aside.SourceL1)
	l.Append(driver.Change{Key: "k", Version: uint64(r.Version)})
	n.awaitChanges(1)
	n.want("k", 2, aside.SourceL1)
	if s := n.Stats().Feed; s.OwnLeft != 1 {
		t.Errorf("%d changes left their entry, want 1", s.OwnLeft)
	}
}

// A load that read before a change does not store what it read. Caught: an entry that is
// dropped, and comes back with the load that was under way.
func TestFeedEndsLoadsWithoutL2(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k")
	g := testsync.NewGate(t)
	p.afterRead = g.Pass
	n := newNode(t, p, nil, fedBy(l))
	n.fed()
	read := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Await(t, "the load", g.Arrived)
	p.outside(l, "k")
	n.awaitChanges(1)
	g.Open()
	if v := testsync.Await(t, "the read", read); v != 1 {
		t.Errorf("version %d", v)
	}
	n.settled("k")
	n.want("k", 2, aside.SourceLoad)
}

// Several changes of one record at once are one, and the order of its life counts.
// Caught: a new record with a low version, whose entry of the old one was left.
func TestChangesOfOneKey(t *testing.T) {
	up := func(v uint64) driver.Change { return driver.Change{Key: "k", Version: v} }
	gone := driver.Change{Key: "k", Deleted: true}
	own := driver.Change{Key: "k", Version: 3, Writer: driver.Token{1}}
	for _, c := range []struct {
		name string
		in   []driver.Change
		want driver.Change
	}{
		{"one", []driver.Change{up(2)}, up(2)},
		{"the last counts", []driver.Change{up(2), up(3)}, up(3)},
		{"deleted", []driver.Change{up(2), gone}, gone},
		{"made anew", []driver.Change{up(7), gone, up(1)}, up(0)},
		{"made anew and changed", []driver.Change{gone, up(1), up(2)}, up(0)},
		{"made anew and deleted", []driver.Change{gone, up(1), gone}, gone},
		{"the last writer", []driver.Change{up(2), own}, own},
		{"then somebody else", []driver.Change{own, up(4)}, up(4)},
	} {
		in := append([]driver.Change{{Key: "a", Version: 1}}, c.in...)
		if got := aside.LastOfEach(in); len(got) != 2 || got[0].Key != "a" || got[1] != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestFeedOptions(t *testing.T) {
	l := &asidetest.Log{}
	s := &asidetest.Server{}
	for _, c := range []struct {
		change func(*options)
		want   string
	}{
		{func(o *options) { o.FeedGoBack = 51 * time.Second }, "FeedGoBack is 51s, want at most 50s"},
		{func(o *options) { o.FeedSilence = -1 }, "FeedSilence is -1ns"},
		{func(o *options) { o.L2 = struct{ driver.Tier }{s.NewClient()} }, "is not a driver.Fed"},
		{func(o *options) { o.Key = func(k string) string { return k } }, "Feed is set, and Key without its inverse"},
	} {
		o := options{Name: "test", Feed: l}
		c.change(&o)
		if _, err := aside.New(o); !errors.Is(err, aside.ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// Close ends the stream, and returns although the feed does not.
func TestCloseEndsTheFeed(t *testing.T) {
	l := &asidetest.Log{}
	n := newNode(t, newPrimary(), nil, fedBy(l))
	n.fed()
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if l.Streams() != 0 {
		t.Errorf("%d streams are open", l.Streams())
	}
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		n := newNode(t, newPrimary(), nil, func(o *options) { o.Feed = hangingFeed{never} })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		close(never)
	})
}

// hangingFeed does not heed its context.
type hangingFeed struct{ never chan struct{} }

func (f hangingFeed) Open(context.Context, driver.Position) (driver.Stream, error) {
	<-f.never
	return nil, errors.New("opened at last")
}

// A feed that names records by keys that are none stops nothing.
func TestStrangeKeysOfChanges(t *testing.T) {
	l := &asidetest.Log{}
	c, err := aside.New(aside.Options[int, string]{Feed: l})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	testsync.Eventually(t, "the cache is fed", func() bool { return c.Stats().Feed.Fed })
	load := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "v", nil })
	if _, err := c.Get(t.Context(), 7, load); err != nil {
		t.Fatal(err)
	}
	l.Append(driver.Change{Key: "seven"}, driver.Change{Key: "7"})
	testsync.Eventually(t, "changes are handled", func() bool { return c.Stats().Feed.Changes == 2 })
	if r, _ := c.Read(t.Context(), 7, load, aside.Default); r.Source != aside.SourceLoad {
		t.Errorf("the answer came from %v", r.Source)
	}
}

// twoNodes are two nodes of one cache that follow a feed; the first leads.
func twoNodes(t *testing.T, p *primary, l *asidetest.Log, change ...func(*options)) (a, b *node) {
	t.Helper()
	s := &asidetest.Server{}
	change = append(change, fedBy(l))
	a = newNode(t, p, s, change...)
	a.fed()
	b = newNode(t, p, s, change...)
	b.fed()
	return a, b
}

// What was changed past the cache is gone from both tiers of all nodes. Caught: L1 of
// another node, or L2, that keeps it.
func TestFeed(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k", "other")
	a, b := twoNodes(t, p, l)
	for _, n := range []*node{a, b} {
		n.read("k", aside.Default)
		n.read("other", aside.Default)
		n.settled("k")
	}
	p.outside(l, "k")
	a.awaitChanges(1)
	b.want("k", 2, aside.SourceLoad)
	a.wantStrong("k", 2)
	a.want("other", 1, aside.SourceL1)
	b.want("other", 1, aside.SourceL1)
	if s := b.Stats().Feed; s.Leads || s.Changes != 0 {
		t.Errorf("the other node follows too: %+v", s)
	}
}

// Of a load that read before a change, on any node, nothing is stored.
func TestFeedEndsLoads(t *testing.T) {
	for _, by := range []string{"the leader", "another node"} {
		t.Run(by, func(t *testing.T) {
			l, p := &asidetest.Log{}, newPrimary("k")
			a, b := twoNodes(t, p, l)
			loads, reads := a, b
			if by != "the leader" {
				loads, reads = b, a
			}
			g := testsync.NewGate(t)
			p.afterRead = g.Pass
			read := testsync.Async(func() int { v, _ := loads.read("k", aside.Default); return v })
			testsync.Await(t, "the load", g.Arrived)
			p.outside(l, "k")
			a.awaitChanges(1)
			g.Open()
			testsync.Await(t, "the read", read)
			loads.settled("k")
			if s := loads.Stats(); s.FillsRefused != 1 {
				t.Errorf("%d fills refused, want 1", s.FillsRefused)
			}
			loads.want("k", 2, aside.SourceLoad)
			loads.settled("k")
			reads.want("k", 2, aside.SourceL2)
		})
	}
}

// What a write has published stays when the feed tells of it: by its version, and without
// versions by its token. Caught: a miss for every write.
func TestOwnWritesStay(t *testing.T) {
	for _, how := range []string{"version", "token"} {
		t.Run(how, func(t *testing.T) {
			l, p := &asidetest.Log{}, newPrimary("k")
			a, b := twoNodes(t, p, l, func(o *options) {
				if how == "token" {
					o.Version = nil
				}
			})
			var ch driver.Change
			if err := b.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				r := p.put("k")
				if ch = (driver.Change{Key: "k"}); how == "token" {
					ch.Writer = w.Token()
				} else {
					ch.Version = uint64(r.Version)
				}
				l.Append(ch) // before the release
				a.awaitChanges(1)
				w.Publish("k", r)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			a.want("k", 2, aside.SourceL2)
			l.Append(ch) // and after it
			a.awaitChanges(2)
			a.want("k", 2, aside.SourceL1)
			b.wantStrong("k", 2)
			if s := b.Stats(); s.Published != 1 {
				t.Errorf("%d published", s.Published)
			}
			if n := p.reads.Load(); n != 0 {
				t.Errorf("%d loads, want none", n)
			}
		})
	}
}

// A change of somebody else between a write's commit and its release: what the write
// publishes is older, and is not stored. Caught: a fence that the feed leaves as it is.
func TestChangeUnderAFence(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k")
	a, b := twoNodes(t, p, l)
	if err := b.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		w.Publish("k", p.put("k"))
		p.outside(l, "k")
		a.awaitChanges(1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	a.want("k", 3, aside.SourceLoad)
	b.wantStrong("k", 3)
	if s := b.Stats(); s.Published != 0 {
		t.Errorf("%d published", s.Published)
	}
}

// While L2 cannot be told, the change is owed to it, and no place behind it is kept.
func TestFeedWhileL2Fails(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k")
	a, b := twoNodes(t, p, l, func(o *options) { o.BreakerFailures = 1000 })
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	fails := errors.New("not now")
	a.conn.Intercept(func(_ context.Context, op, _ string) error {
		if op == "DropOlder" || op == "Invalidate" || op == "Release" {
			return fails
		}
		return nil
	})
	p.outside(l, "k")
	a.awaitChanges(1)
	handled := l.Handled()
	if s := a.Stats(); s.Pending != 1 || !s.Degraded || handled != 0 {
		t.Errorf("%d pending, degraded %v, %d handled", s.Pending, s.Degraded, handled)
	}
	a.conn.Intercept(nil)
	testsync.Eventually(t, "the change is told", func() bool { return a.Stats().Pending == 0 })
	b.want("k", 2, aside.SourceLoad)
	testsync.Eventually(t, "it is handled", func() bool { return l.Handled() == 1 })
}

// When notices may have been lost, changes are told again: a failover brought an older
// entry back, of a write through the cache too. Caught: an older entry that stays for its
// TTL.
func TestFeedAfterAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p, s := &asidetest.Log{}, newPrimary("out", "own"), &asidetest.Server{}
		n := newNode(t, p, s, fedBy(l), func(o *options) { o.TTL, o.L1TTL = time.Hour, time.Hour })
		n.fed()
		time.Sleep(2 * time.Minute)
		n.want("out", 1, aside.SourceLoad)
		n.want("own", 1, aside.SourceLoad)
		n.settled("own")
		replica := map[string][]byte{}
		for _, k := range []string{testPrefix + "out", testPrefix + "own", "aside:test:feed:leader"} {
			replica[k] = s.Entry(k)
		}
		p.outside(l, "out")
		r := n.update("own")
		l.Append(driver.Change{Key: "own", Version: uint64(r.Version)})
		n.awaitChanges(2)
		n.wantStrong("out", 2)
		n.wantStrong("own", 2)
		n.settled("out")
		for k, b := range replica {
			s.Restore(k, b, time.Hour)
		}
		n.conn.Disconnect()
		n.want("own", 1, aside.SourceL2) // it is as bad as that
		time.Sleep(3 * time.Second)
		synctest.Wait()
		n.wantStrong("out", 2)
		n.wantStrong("own", 2)
		if f := n.Stats().Feed; f.WentBack != 1 || f.Clears != 1 {
			t.Errorf("%+v", f)
		}
	})
}

// The cache is cleared when everything may have changed.
func TestFeedClears(t *testing.T) {
	l, p := &asidetest.Log{}, newPrimary("k")
	a, b := twoNodes(t, p, l)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	p.put("k")
	l.AppendAll()
	testsync.Eventually(t, "the cache is cleared", func() bool { return a.Stats().Feed.Clears == 2 })
	b.want("k", 2, aside.SourceLoad)
}
