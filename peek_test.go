package aside_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
)

// wantPeek peeks; version 0 means that nothing is found.
func (n *node) wantPeek(k string, mode aside.Mode, version int, from aside.Source) aside.Result[rec] {
	n.t.Helper()
	r, ok := n.Peek(context.Background(), k, mode)
	if ok != (version > 0) || r.Value.Version != version || r.Source != from || r.Err != nil {
		n.t.Errorf("peek %s: %+v, %v; want version %d from %v", k, r, ok, version, from)
	}
	return r
}

// A Peek finds what the tiers have, and changes nothing: nobody waits for it, nothing is
// loaded, and L1 stays as it is.
// Caught: a lease that it took, for which the next read waited.
func TestPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		change := func(o *options) { o.Node = "peeked" }
		a, b := newNode(t, p, s, change), newNode(t, p, s)
		for _, mode := range []aside.Mode{aside.Default, aside.Strong, aside.SkipL2} {
			a.wantPeek("k", mode, 0, aside.SourceNone)
		}
		l := telling(p, func(l *recLoaded) { l.Tags = []string{"t"} })
		if _, err := a.Get(t.Context(), "k", l); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(3 * time.Second)
		a.wantPeek("k", aside.Default, 1, aside.SourceL1)
		a.wantPeek("k", aside.SkipL2, 1, aside.SourceL1)
		a.wantPeek("k", aside.SkipL2|aside.Strong, 0, aside.SourceNone)
		for range 2 {
			r := b.wantPeek("k", aside.Default, 1, aside.SourceL2)
			if r.Age != 3*time.Second || r.Left != 5*time.Minute-3*time.Second || !slices.Equal(r.Tags, []string{"t"}) || r.Node != aside.NodeIDOf("peeked") {
				t.Errorf("%+v", r.Info)
			}
			b.wantPeek("k", aside.SkipL2, 0, aside.SourceNone)
		}
		b.wantPeek("k", aside.Strong, 1, aside.SourceL2)

		_, _ = a.Get(t.Context(), "absent", p)
		synctest.Wait()
		for _, n := range []*node{a, b} {
			if r, ok := n.Peek(t.Context(), "absent", aside.Default); !ok || !r.Negative || !errors.Is(r.Err, aside.ErrNotFound) {
				t.Errorf("%+v, %v", r, ok)
			}
		}
		if got := p.reads.Load(); got != 2 {
			t.Errorf("%d loads", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if r, ok := b.Peek(ctx, "k", aside.Default); ok || !errors.Is(r.Err, context.Canceled) {
			t.Errorf("%+v, %v", r, ok)
		}
		_, _ = a.Close(t.Context()), b.Close(t.Context())
		if r, ok := b.Peek(t.Context(), "k", aside.Default); ok || !errors.Is(r.Err, aside.ErrClosed) {
			t.Errorf("%+v, %v", r, ok)
		}
	})
}

// A value that is kept although it is stale is marked so. A Strong Peek does not find it.
// Caught: Stale by the clock of the node, which knows nothing of the jitter.
func TestPeekAtAStaleValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleFor, o.L1Size = time.Minute, time.Hour, -1 })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(59 * time.Second)
		if r := n.wantPeek("k", aside.Strong, 1, aside.SourceL2); r.Stale {
			t.Errorf("%+v", r)
		}
		time.Sleep(2 * time.Second)
		if r := n.wantPeek("k", aside.Default, 1, aside.SourceL2); !r.Stale || r.Left != -time.Second {
			t.Errorf("%+v", r)
		}
		n.wantPeek("k", aside.Strong, 0, aside.SourceNone)
		_ = n.Close(t.Context())
	})
}

// While another node writes, a Peek finds nothing; after the write, nothing older.
func TestPeekBesideAWrite(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	g := testsync.NewGate(t)
	done := testsync.Async(func() error {
		return a.Write(context.Background(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			r := p.put("k")
			g.Pass("w")
			w.Publish("k", r)
			return nil
		})
	})
	testsync.Await(t, "the write", g.Arrived)
	b.wantPeek("k", aside.Strong, 0, aside.SourceNone)
	a.wantPeek("k", aside.Default, 0, aside.SourceNone)
	g.Open()
	if err := testsync.Await(t, "the write", done); err != nil {
		t.Fatal(err)
	}
	b.wantPeek("k", aside.Strong, 2, aside.SourceL2)
}

// deaf is a connection that never tells of others' changes.
type deaf struct{ *asidetest.Client }

func (d deaf) Watch(prefix string, _ driver.Watcher) (stop func(), err error) {
	return d.Client.Watch(prefix, driver.Watcher{Changed: func(string) {}, Lost: func() {}})
}

// What a Peek has found in L2 is not followed by something older from L1, which a read
// was about to put there.
// Caught: the answer of a slow lookup, in L1 after the Peek.
func TestNothingOlderAfterAPeek(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s, func(o *options) { o.L2 = deaf{o.L2.(*asidetest.Client)} })
	a.want("k", 1, aside.SourceLoad)
	a.settled("k")
	g := testsync.NewGate(t)
	b.conn.Answer(func(op, _ string) error {
		if op == "Acquire" {
			g.Pass(op)
		}
		return nil
	})
	slow := testsync.Async(func() int { v, _ := b.read("k", aside.Default); return v })
	testsync.Await(t, "the lookup", g.Arrived)
	a.update("k")
	b.wantPeek("k", aside.Default, 2, aside.SourceL2)
	g.Open()
	testsync.Await(t, "the slow read", slow)
	b.settled("k")
	if v, i := b.read("k", aside.Default); v != 2 {
		t.Errorf("version %d from %v after the Peek had 2", v, i.Source)
	}
}

// Of an L2 that cannot be used, a Peek says so, at once while its breaker is open. L1 is
// asked all the same.
func TestPeekWithoutAnL2ThatAnswers(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	down := errors.New("down")
	n := newNode(t, p, s, func(o *options) { o.BreakerFailures, o.BreakerDelay = 2, time.Hour })
	n.conn.Intercept(func(context.Context, string, string) error { return down })
	for i, want := range []error{down, down, aside.ErrL2Unavailable} {
		if r, ok := n.Peek(t.Context(), "k", aside.Default); ok || !errors.Is(r.Err, want) {
			t.Errorf("peek %d: %+v, %v; want %v", i, r, ok, want)
		}
	}
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	n.wantPeek("k", aside.Default, 1, aside.SourceL1)
	plain := newNode(t, p, s, func(o *options) { o.L2 = struct{ driver.Tier }{o.L2} })
	if r, ok := plain.Peek(t.Context(), "k", aside.Default); ok || r.Err == nil {
		t.Errorf("%+v, %v", r, ok)
	}
	newNode(t, p, nil).wantPeek("k", aside.Default, 0, aside.SourceNone)
}

// An entry that a read would replace is not found.
func TestPeekAtAnEntryOfNoUse(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	n := newNode(t, p, s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	good := s.Entry(testPrefix + "k")
	for name, entry := range map[string][]byte{
		"other format": append([]byte{'V', 99}, good[2:]...), "not JSON": append(good[:len(good)-1:len(good)-1], '!'), "foreign": []byte("{}"),
	} {
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		if r, ok := n.Peek(t.Context(), "k", aside.Strong); ok || r.Err != nil {
			t.Errorf("%s: %+v, %v", name, r, ok)
		}
	}
}

// A Peek at an entry that is due leaves its refresh to the next read, and is no use of it.
// Caught: a Peek that takes the one turn there is, after which no read refreshes the entry.
func TestPeekLeavesTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.RefreshAhead = time.Minute, 0.5 })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		p.put("k")
		time.Sleep(40 * time.Second)
		before := n.Stats()
		n.wantPeek("k", aside.Default, 1, aside.SourceL1)
		synctest.Wait()
		if s := n.Stats(); s.HitsL1 != before.HitsL1+1 || s.Loads != before.Loads {
			t.Errorf("%d hits and %d loads after a Peek", s.HitsL1-before.HitsL1, s.Loads-before.Loads)
		}
		n.want("k", 1, aside.SourceL1)
		synctest.Wait()
		n.wantPeek("k", aside.Default, 2, aside.SourceL1)
		_ = n.Close(t.Context())
	})
}

// In a cache without L2 a Peek finds what L1 keeps for StaleFor, marked as stale.
// Caught: nothing, since a read would not be answered with it before its load had failed.
func TestPeekAtAStaleValueOfL1(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, nil, func(o *options) { o.TTL, o.StaleFor = time.Minute, time.Hour })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(61 * time.Second)
		if r := n.wantPeek("k", aside.Default, 1, aside.SourceL1); !r.Stale || r.Left >= 0 {
			t.Errorf("%+v", r.Info)
		}
		if s := n.Stats(); s.HitsL1 != 1 || s.Stale != 1 {
			t.Errorf("%d hits, %d stale", s.HitsL1, s.Stale)
		}
		_ = n.Close(t.Context())
	})
}

// A Peek beside the probe of a circuit breaker says that L2 is unavailable. Caught: an
// error that nobody can ask for.
func TestPeekWhileL2IsProbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) { o.BreakerFailures = 1 })
		defer closeAll(n)
		n.conn.Intercept(func(context.Context, string, string) error { return errors.New("down") })
		n.read("k", aside.Strong)
		n.conn.Intercept(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		time.Sleep(1500 * time.Millisecond) // until the breaker lets a probe through
		for range 40 {
			time.Sleep(70 * time.Millisecond)
			r, _ := n.Peek(t.Context(), "k", aside.Strong)
			if r.Err != nil && !errors.Is(r.Err, aside.ErrL2Unavailable) && !errors.Is(r.Err, context.DeadlineExceeded) {
				t.Fatal(r.Err)
			}
		}
	})
}
