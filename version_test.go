package aside_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
)

// Where Options.Version tells the version, a loader's other one does not count: it could
// be of another scale than that of writes and of the feed. That is logged.
// Caught: the loader's version, so that a change was taken for older than what it made old.
func TestVersionOfTheValueCounts(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p, feed := newPrimary("k"), &asidetest.Log{}
		var logs bytes.Buffer
		n := newNode(t, p, s, fedBy(feed), func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
		n.fed()
		l := telling(p, func(l *recLoaded) { l.Version = 1e9 })
		for _, from := range []aside.Source{aside.SourceLoad, aside.SourceL1} {
			if r, err := n.Read(t.Context(), "k", l, aside.Default); err != nil || r.Version != 1 || r.Source != from {
				t.Errorf("version %d from %v, %v", r.Version, r.Source, err)
			}
			n.settled("k")
		}
		p.outside(feed, "k")
		n.awaitChanges(1)
		n.want("k", 2, aside.SourceLoad)
		n.settled("k")
		_ = n.Close(t.Context())
		if !strings.Contains(logs.String(), "another version") {
			t.Errorf("logged: %s", &logs)
		}
	})
}

// Versions that loaders alone tell are compared with those of the feed, in L1 too.
// Caught: an L1 that drops all that changes are told of.
func TestToldVersionsAndTheFeed(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p, feed := newPrimary("k"), &asidetest.Log{}
		n := newNode(t, p, s, fedBy(feed), unversioned)
		n.fed()
		l := telling(p, func(l *recLoaded) { l.Version = uint64(l.Value.Version) + 5 })
		want := func(version int, from aside.Source) {
			t.Helper()
			r, err := n.Read(t.Context(), "k", l, aside.Default)
			if err != nil || r.Value.Version != version || r.Version != uint64(version)+5 || r.Source != from {
				t.Errorf("%+v, %v; want version %d from %v", r, err, version, from)
			}
			n.settled("k")
		}
		want(1, aside.SourceLoad)
		for i, version := range []uint64{5, 6} {
			feed.Append(driver.Change{Key: "k", Version: version})
			n.awaitChanges(uint64(i) + 1)
			want(1, aside.SourceL1)
		}
		p.put("k")
		feed.Append(driver.Change{Key: "k", Version: 7})
		n.awaitChanges(3)
		if s != nil {
			testsync.Eventually(t, "L1 is told", func() bool { return n.Len() == 0 })
		}
		want(2, aside.SourceLoad)
	})
}

// The loader of one release tells versions of a larger scale than that of the next. While
// the cache has the old record, stale, the new one is not stored over it, but answered;
// then it is stored.
// Caught: versions that are not compared: the load was stored over the other.
func TestScaleOfVersionsGetsSmaller(t *testing.T) {
	for _, tier := range []*asidetest.Server{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, tier, unversioned, func(o *options) { o.TTL, o.StaleFor = time.Minute, time.Minute })
			read := func(told uint64, version int, from aside.Source) {
				t.Helper()
				r, err := n.Read(t.Context(), "k", telling(p, func(l *recLoaded) { l.Version = told }), aside.Default)
				if err != nil || r.Value.Version != version || r.Version != told || r.Source != from || r.Stale {
					t.Errorf("%+v, %v; want version %d from %v", r, err, version, from)
				}
				synctest.Wait()
			}
			read(1e9, 1, aside.SourceLoad)
			p.put("k")
			time.Sleep(70 * time.Second)
			read(2, 2, aside.SourceLoad)
			read(2, 2, aside.SourceLoad)
			if got := n.Stats().OlderLoads; got != 2 {
				t.Errorf("%d older loads, want 2", got)
			}
			time.Sleep(51 * time.Second)
			read(2, 2, aside.SourceLoad)
			read(2, 2, aside.SourceL1)
			_ = n.Close(t.Context())
		})
	}
}

// The same of what L1 has beside a newer record in L2: that is loaded once more, and then
// both tiers have it.
// Caught: a told version in L1 that is not compared.
func TestScaleOfVersionsGetsSmallerInL2(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	a := newNode(t, p, s, unversioned)
	b := newNode(t, p, s, unversioned, func(o *options) { o.L2 = deaf{o.L2.(*asidetest.Client)} })
	old := telling(p, func(l *recLoaded) { l.Version = 1e9 })
	if _, err := b.Get(t.Context(), "k", old); err != nil {
		t.Fatal(err)
	}
	b.settled("k")
	err := a.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		w.PublishEntry("k", recLoaded{Value: p.put("k"), Version: 2})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, from := range []aside.Source{aside.SourceLoad, aside.SourceL2, aside.SourceL2} {
		r, err := b.Read(t.Context(), "k", telling(p, func(l *recLoaded) { l.Version = 2 }), aside.Strong)
		if err != nil || r.Value.Version != 2 || r.Source != from {
			t.Errorf("strong read %d: %+v, %v; want it from %v", i, r, err, from)
		}
		b.settled("k")
	}
	if r, err := b.Read(t.Context(), "k", old, aside.Default); err != nil || r.Version != 2 || r.Source != aside.SourceL1 {
		t.Errorf("%+v, %v", r, err)
	}
}
