package aside_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// unversioned has the versions be told by loaders alone.
func unversioned(o *options) { o.Version = nil }

// A hit in L1 tells the version that the loader told, as the load and a hit in L2 do.
// Caught: L1 knows the value alone.
func TestToldVersionIsInL1(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k", "tagged", "written")
		l := telling(p, func(l *recLoaded) {
			if l.Version = 77; l.Value.Key == "tagged" {
				l.Tags = []string{"t"}
			}
		})
		nodes := []*node{newNode(t, p, s, unversioned)}
		if s != nil {
			nodes = append(nodes, newNode(t, p, s, unversioned))
		}
		read := func(n *node, k string, from aside.Source) {
			t.Helper()
			r, err := n.Read(t.Context(), k, l, aside.Default)
			if err != nil || r.Version != 77 || r.Source != from || len(r.Tags) != len(tagsOf(k)) {
				t.Errorf("%s: version %d from %v, tags %v, %v; want 77 from %v", k, r.Version, r.Source, r.Tags, err, from)
			}
			n.settled(k)
		}
		for _, k := range []string{"k", "tagged"} {
			from := aside.SourceLoad
			for _, n := range nodes {
				read(n, k, from)
				read(n, k, aside.SourceL1)
				if r, ok := n.Peek(t.Context(), k, aside.SkipL2); !ok || r.Version != 77 {
					t.Errorf("%s: peeked at %+v, %v", k, r.Info, ok)
				}
				if i, err := n.Inspect(t.Context(), k); err != nil || i.L1 == nil || i.L1.Version != 77 {
					t.Errorf("%s: inspected %+v, %v", k, i.L1, err)
				}
				from = aside.SourceL2
			}
		}
		err := nodes[0].Write(t.Context(), "written", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			w.PublishEntry("written", recLoaded{Value: p.put("written"), Version: 77})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		read(nodes[0], "written", aside.SourceL1)
	})
}

func tagsOf(k string) []string {
	if k == "tagged" {
		return []string{"t"}
	}
	return nil
}

// A load in place of what L1 alone has gets what was told of that, so "not modified" can
// be asked: in a cache without L2, and while L2 is down.
// Caught: no ETag and no version; both gone after the first NotModified; tags that were.
func TestPreviousFromL1(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		for _, tag := range [][]string{nil, {"t"}} {
			if s != nil && tag != nil {
				continue // nobody can tell whether the tags are good
			}
			k := "k" + strings.Join(tag, "")
			p := newPrimary(k)
			n := newNode(t, p, s, unversioned, func(o *options) { o.BreakerFailures, o.DegradedL1TTL = 1, time.Hour })
			var olds []recPrevious
			l := entryLoader(func(ctx context.Context, k string, old recPrevious) (recLoaded, error) {
				olds = append(olds, old)
				if old.OK {
					return recLoaded{NotModified: true}, nil
				}
				v, err := p.Load(ctx, k)
				return recLoaded{Value: v, ETag: "e", Version: 5, Tags: tag}, err
			})
			if _, err := n.Get(t.Context(), k, l); err != nil {
				t.Fatal(err)
			}
			n.settled(k)
			if s != nil {
				n.conn.Intercept(func(context.Context, string, string) error { return errors.New("down") })
				_, _ = n.Get(t.Context(), "other", p) // opens the breaker
			}
			for range 2 {
				r, err := n.Read(t.Context(), k, l, aside.Refresh)
				if err != nil || r.Version != 5 || r.Source != aside.SourceLoad || !slices.Equal(r.Tags, tag) {
					t.Errorf("%+v, %v", r, err)
				}
				n.settled(k)
			}
			if len(olds) != 3 || olds[0].OK {
				t.Fatalf("%+v", olds)
			}
			for _, o := range olds[1:] {
				if !o.OK || o.ETag != "e" || o.Version != 5 || o.Value.Version != 1 {
					t.Errorf("the loader was given %+v", o)
				}
			}
		}
	})
}

// untagged is a connection that knows nothing of tags.
type untagged struct{ driver.Tier }

// What is told of a record without tags binds it to nothing that is said about tags.
// Caught: an entry with an ETag that lives in L1 for DegradedL1TTL, since nobody tells of tags.
func TestToldWithoutTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, &asidetest.Server{}, unversioned, func(o *options) { o.L2, o.L1TTL = untagged{o.L2}, time.Minute })
		l := telling(p, func(l *recLoaded) { l.ETag, l.Version = "e", 5 })
		want := func(from aside.Source) {
			t.Helper()
			r, err := n.Read(t.Context(), "k", l, aside.Default)
			if err != nil || r.Version != 5 || r.Source != from {
				t.Errorf("version %d from %v, %v; want it from %v", r.Version, r.Source, err, from)
			}
			synctest.Wait()
		}
		want(aside.SourceLoad)
		time.Sleep(30 * time.Second)
		want(aside.SourceL1)
		_ = n.Close(t.Context())
	})
}

// L1 keeps nothing beside the value where its loader told nothing more.
// Caught: marks for each entry.
func TestPlainEntriesHaveNoMarks(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("plain", "told", "written")
		a := newNode(t, p, s)
		nodes := []*node{a}
		if s != nil {
			nodes = append(nodes, newNode(t, p, s))
		}
		for _, n := range nodes {
			if _, err := n.Get(t.Context(), "plain", p); err != nil {
				t.Error(err)
			}
			// The value has the same version.
			if _, err := n.Get(t.Context(), "told", telling(p, func(l *recLoaded) { l.Version = 1 })); err != nil {
				t.Error(err)
			}
			n.settled("plain")
			n.settled("told")
		}
		a.update("written")
		for _, n := range nodes {
			for _, k := range []string{"plain", "told", "written"} {
				if there, marked := aside.Marked(n.Cache, k); !there && k != "written" || marked {
					t.Errorf("%s: there %v, marked %v", k, there, marked)
				}
			}
		}
	})
}
