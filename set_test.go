package aside_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// What was set is read without a load, on all nodes, and takes the place of what was there.
// Caught: a cache without L2, where a write published nothing.
func TestSet(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		if err := n.Set(t.Context(), "k", rec{"k", 7}); err != nil {
			t.Fatal(err)
		}
		n.want("k", 7, aside.SourceL1)
		if s != nil {
			other := newNode(t, p, s)
			other.want("k", 7, aside.SourceL2)
			if err := n.Set(t.Context(), "k", rec{"k", 8}); err != nil {
				t.Fatal(err)
			}
			other.wantStrong("k", 8)
		} else if err := n.Set(t.Context(), "k", rec{"k", 8}); err != nil {
			t.Fatal(err)
		}
		n.want("k", 8, aside.SourceL1)
		if p.reads.Load() != 0 {
			t.Error("the primary was asked")
		}
		if err := n.SetEntry(t.Context(), "k", recLoaded{Absent: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
			t.Errorf("set absent: %v", err)
		}
		if err := n.SetEntry(t.Context(), "k", recLoaded{NoStore: true}); err != nil {
			t.Fatal(err)
		}
		n.want("k", 1, aside.SourceLoad)
		if err := n.SetEntry(t.Context(), "k", recLoaded{NotModified: true}); err == nil || !strings.Contains(err.Error(), "NotModified") {
			t.Errorf("got %v", err)
		}
	})
}

// A record lives for as long as SetEntry says.
func TestSetEntryTTL(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary("k")
			n := newNode(t, p, s)
			if err := n.SetEntry(t.Context(), "k", recLoaded{Value: rec{"k", 7}, TTL: 5 * time.Second}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(4 * time.Second)
			n.want("k", 7, aside.SourceL1)
			time.Sleep(2 * time.Second)
			n.want("k", 1, aside.SourceLoad)
			_ = n.Close(t.Context())
		})
	}
}

// What was set with tags goes with them, in a cache without L2 too.
// Caught: an entry that had lost its tags.
func TestSetEntryTags(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		n := newNode(t, newPrimary("k"), s)
		if err := n.SetEntry(t.Context(), "k", recLoaded{Value: rec{"k", 7}, Tags: []string{"t"}}); err != nil {
			t.Fatal(err)
		}
		n.want("k", 7, aside.SourceL1)
		if err := n.InvalidateTag(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		n.want("k", 1, aside.SourceLoad)
	})
}

// In a cache without L2, a write that another one overlapped publishes nothing, whichever
// began first and whichever ends first.
// Caught: the record of the write that ended last, which had committed first.
func TestPublishWithoutL2(t *testing.T) {
	for name, c := range map[string]struct{ firstEndsFirst bool }{"first in, first out": {true}, "first in, last out": {false}} {
		t.Run(name, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, nil)
			gates := [2]*testsync.Gate{testsync.NewGate(t), testsync.NewGate(t)}
			var done [2]<-chan error
			for i := range 2 {
				done[i] = testsync.Async(func() error {
					return n.Write(context.Background(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
						w.Publish("k", p.put("k"))
						gates[i].Pass("w")
						return nil
					})
				})
				testsync.Await(t, "the write", gates[i].Arrived)
			}
			order := [2]int{0, 1}
			if !c.firstEndsFirst {
				order = [2]int{1, 0}
			}
			for _, i := range order {
				gates[i].Open()
				if err := testsync.Await(t, "the write", done[i]); err != nil {
					t.Error(err)
				}
				if _, ok := maps.Collect(n.All())["k"]; ok {
					t.Errorf("write %d has published", i)
				}
			}
			n.want("k", 3, aside.SourceLoad)
		})
	}
}

// All and Hottest go through the values of L1, and change nothing.
// Caught: a loop body that used the cache, and waited for the lock of the loop for ever.
func TestAllAndHottest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary()
		n := newNode(t, p, nil, func(o *options) { o.L1Size = 100 })
		want := map[string]rec{}
		for i := range 20 {
			k := fmt.Sprint("k", i)
			want[k] = p.put(k)
			n.want(k, 1, aside.SourceLoad)
		}
		_, _ = n.Get(t.Context(), "absent", p)
		_ = n.SetEntry(t.Context(), "short", recLoaded{Value: rec{"short", 1}, TTL: time.Second})
		synctest.Wait()
		if l := n.Len(); l != 22 {
			t.Errorf("%d entries, want 22", l)
		}
		for range 500 {
			n.want("k7", 1, aside.SourceL1)
		}
		time.Sleep(2 * time.Second) // the end of short
		before := n.Stats()
		if got := maps.Collect(n.All()); !maps.Equal(got, want) {
			t.Errorf("All: %v", got)
		}
		if got := maps.Collect(n.Hottest()); !maps.Equal(got, want) {
			t.Errorf("Hottest: %v", got)
		}
		if after := n.Stats(); after.HitsL1 != before.HitsL1 {
			t.Errorf("%d hits were counted", after.HitsL1-before.HitsL1)
		}
		seen := 0
		for k, v := range n.Hottest() {
			if err := n.Set(t.Context(), k, rec{k, v.Version + 1}); err != nil {
				t.Error(err)
			}
			if err := n.Invalidate(t.Context(), "k1"); err != nil {
				t.Error(err)
			}
			if seen++; seen == 5 {
				break
			}
		}
		for range n.All() {
			break
		}
		_ = n.Close(t.Context())
		for k := range n.All() {
			t.Errorf("%s after Close", k)
		}
		none := newNode(t, p, nil, func(o *options) { o.L1Size = -1 })
		for k := range none.Hottest() {
			t.Errorf("%s without L1", k)
		}
		_ = none.Close(t.Context())
	})
}

// A closed cache watches nothing. Caught: the watch of the table of tags, which a later
// cache of the name then could not have.
func TestSetEntryAfterClose(t *testing.T) {
	n := newNode(t, newPrimary("k"), &asidetest.Server{})
	if err := n.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := n.SetEntry(context.Background(), "k", aside.Loaded[rec]{Value: rec{"k", 1}, Tags: []string{"t"}}); !errors.Is(err, aside.ErrClosed) {
		t.Fatal(err)
	}
	c, err := aside.New(options{Name: "test", L2: n.conn})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.InvalidateTag(context.Background(), "t"); err != nil || c.Stats().Pending != 0 {
		t.Errorf("%v, pending %d", err, c.Stats().Pending)
	}
}
