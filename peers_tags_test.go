package aside_test

import (
	"testing"
	"testing/synctest"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// What other libraries test of tags, and nothing here did.

// An entry has the tags of its last load, and no others. Caught: tags that were added to those
// of the load before.
func TestTagsChangeWithTheLoad(t *testing.T) {
	for _, l2 := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			n := newTagNode(t, newPrimary("k"), s)
			loads := 0
			for i, step := range []struct {
				tags []string // that the loader says from now on
				end  []string // that are then invalidated
				load bool     // whether the next read loads
			}{
				{[]string{"t1", "t2"}, nil, true},
				{[]string{"t1", "t2", "t3"}, []string{"t1"}, true},
				{[]string{"t1"}, []string{"t3"}, true},
				{[]string{"t4"}, []string{"t2"}, false}, // it had t2 once
				{nil, []string{"t1", "t2", "t3", "t4"}, true},
				{nil, []string{"t1", "t2", "t3", "t4"}, false}, // it has none now
			} {
				n.tags = step.tags
				if step.end != nil {
					n.invalidates(step.end...)
				}
				from := aside.SourceL1
				if step.load {
					loads++
					from = aside.SourceLoad
				}
				n.wants("k", 1, from, aside.Default)
				if got := n.p.reads.Load(); got != int64(loads) {
					t.Fatalf("with L2 %v, step %d: %d loads, want %d", l2, i, got, loads)
				}
			}
			_ = n.Close(t.Context())
		})
	}
}

// Several tags at once: every entry that has one of them is gone, on another node too, and
// a tag that nobody has does no harm. Caught: a call that ends the first of its tags only.
func TestSeveralTagsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("foo", "bar", "baz")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		tags := map[string][]string{"foo": {"x", "y"}, "bar": {"y"}, "baz": {"z"}}
		read := func(n tagNode, k string, version int, from aside.Source) {
			t.Helper()
			n.tags = tags[k]
			n.wants(k, version, from, aside.Default)
		}
		for k := range tags {
			read(a, k, 1, aside.SourceLoad)
			read(b, k, 1, aside.SourceL2)
			p.put(k) // past the cache
		}
		a.invalidates("nobody", "x", "z")
		synctest.Wait() // b is told
		for _, n := range []tagNode{b, a} {
			read(n, "bar", 1, aside.SourceL1)
		}
		read(b, "foo", 2, aside.SourceLoad)
		read(b, "baz", 2, aside.SourceLoad)
		read(a, "foo", 2, aside.SourceL2)
		read(a, "baz", 2, aside.SourceL2)
		b.invalidates("y")
		synctest.Wait()
		for _, k := range []string{"foo", "bar"} {
			a.tags = tags[k]
			a.wants(k, 2, aside.SourceLoad, aside.Strong)
		}
		read(a, "baz", 2, aside.SourceL1)
		_, _ = a.Close(t.Context()), b.Close(t.Context())
	})
}
