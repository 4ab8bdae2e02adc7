package aside_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// A read tells how old its answer is, how long it lives, its tags and who stored it.
// Caught: a Left of the cache's TTL for a record with one of its own; the Node of the
// reader.
func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		change := func(name string) func(o *options) {
			return func(o *options) { o.Node, o.TTL, o.L1TTL = name, time.Hour, time.Minute }
		}
		a, b := newNode(t, p, s, change("a")), newNode(t, p, s, change("b"))
		l := telling(p, func(l *recLoaded) { l.TTL, l.Tags = 30*time.Minute, []string{"t"} })
		check := func(n *node, key string, mode aside.Mode, want aside.Info) {
			t.Helper()
			r, err := n.Read(t.Context(), key, l, mode)
			if err != nil && !errors.Is(err, aside.ErrNotFound) {
				t.Fatal(err)
			}
			// L1 counts in units of a ms, and its clock is 10 ms behind.
			if d := r.Left - want.Left; r.Source != want.Source || r.Age != want.Age || d.Abs() > 20*time.Millisecond || !slices.Equal(r.Tags, want.Tags) || r.Node != want.Node {
				t.Errorf("%s: %+v, want %+v", key, r.Info, want)
			}
			synctest.Wait()
		}
		na, nb, tags := aside.NodeIDOf("a"), aside.NodeIDOf("b"), []string{"t"}
		for _, key := range []string{"k", "absent"} {
			check(a, key, aside.Default, aside.Info{Source: aside.SourceLoad, Left: 30 * time.Minute, Tags: tags, Node: na})
			time.Sleep(10 * time.Second)
			check(b, key, aside.Strong, aside.Info{Source: aside.SourceL2, Age: 10 * time.Second, Left: 30*time.Minute - 10*time.Second, Tags: tags, Node: na})
			check(b, key, aside.Default, aside.Info{Source: aside.SourceL1, Left: time.Minute, Tags: tags, Node: nb})
			time.Sleep(10 * time.Second)
			check(b, key, aside.Default, aside.Info{Source: aside.SourceL1, Left: 50 * time.Second, Tags: tags, Node: nb})
		}
		_, _ = a.Close(t.Context()), b.Close(t.Context())
	})
}

// What is not stored has nothing left, and what was not found nobody stored.
func TestInfoOfWhatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleFor = time.Minute, time.Hour })
		r, _ := n.Read(t.Context(), "k", telling(p, func(l *recLoaded) { l.NoStore = true }), aside.Default)
		if r.Left != 0 || r.Node.IsZero() {
			t.Errorf("%+v", r.Info)
		}
		synctest.Wait()
		if r, _ = n.Read(t.Context(), "k", p, aside.Default); r.Left != time.Minute {
			t.Errorf("%+v", r.Info)
		}
		time.Sleep(90 * time.Second)
		p.fail(errors.New("down"))
		if r, _ = n.Read(t.Context(), "k", p, aside.Default); !r.Stale || r.Left != -30*time.Second || r.Age != 90*time.Second || r.Node.IsZero() {
			t.Errorf("%+v", r.Info)
		}
		synctest.Wait()
		if r, _ = n.Read(t.Context(), "none", p, aside.Default); r.Err == nil || !r.Node.IsZero() || r.Left != 0 {
			t.Errorf("%+v", r.Info)
		}
		_ = n.Close(t.Context())
	})
}
