package redisl2

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/internal/envelope"
)

// Nodes that use tags beside one of 0.1.0, which knows none. An entry with tags is of a
// format that 0.1.0 does not know, so it replaces it; what it stores has no tags. With the
// schema raised, as docs/guide/tags.md says, that is nothing to later nodes, and an
// invalidated tag holds between them. Without, it is a hit that no tag reaches, and a key
// still does. Caught: an entry of another schema taken for a hit.
func TestTagsBesideRelease010(t *testing.T) {
	t.Parallel()
	for _, schema := range []uint32{0, 1} {
		t.Run(fmt.Sprint("schema ", schema), func(t *testing.T) {
			x := newMixed(t)
			var record atomic.Int64 // the one of the primary
			open := func(schema uint32) *aside.Cache[string, int64] {
				l2, err := Open(Options{URL: x.url})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(l2.Close)
				c, err := aside.New(aside.Options[string, int64]{Name: "t", L2: l2, SchemaVersion: schema, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close(context.Background()) })
				return c
			}
			a, b := open(schema), open(schema)
			tagged := aside.EntryLoaderFunc[string, int64](func(context.Context, string, aside.Previous[int64]) (aside.Loaded[int64], error) {
				return aside.Loaded[int64]{Value: record.Load(), Tags: []string{"tag"}}, nil
			})
			want := func(what string, c *aside.Cache[string, int64], v int64, from aside.Source) {
				t.Helper()
				r, err := c.Read(t.Context(), "k", tagged, aside.Strong)
				if err != nil || r.Value != v || r.Source != from {
					t.Errorf("%s: %d from %v, want %d from %v; %v", what, r.Value, r.Source, v, from, err)
				}
				settle(t, c)
			}
			old := x.entryOf010(open(0))

			want("the first", a, 0, aside.SourceLoad)
			want("the first", b, 0, aside.SourceL2)
			found := x.run(x.acquire[2], lease(envelope.NewToken()), "60000")
			if found[0] != envelope.KindValue || found[1] <= old[1] {
				t.Fatalf("0.1.0 finds %q, which it could take for an entry of its own format %d", found, old[1])
			}
			x.remove() // of no use to it
			l := lease(envelope.NewToken())
			if granted := x.run(x.acquire[2], l, "60000"); granted != "" {
				t.Fatalf("0.1.0 is not granted the lease: %q", granted)
			}
			record.Store(1)
			if err := a.InvalidateTag(t.Context(), "tag"); err != nil {
				t.Fatal(err)
			}
			if x.run(x.fill[2], l, old, "60000") != "1" {
				t.Fatal("0.1.0 cannot fill")
			}
			if schema == 0 {
				want("no tag reaches it", b, 0, aside.SourceL2)
				if err := a.Invalidate(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
			}
			want("after", b, 1, aside.SourceLoad)
			want("after", a, 1, aside.SourceL2)
			record.Store(2)
			if err := b.InvalidateTag(t.Context(), "tag"); err != nil {
				t.Fatal(err)
			}
			want("once more", a, 2, aside.SourceLoad)
		})
	}
}

// entryOf010 returns what 0.1.0 stores: what c does without tags, which is of a format
// that 0.1.0 has.
func (x *mixed) entryOf010(c *aside.Cache[string, int64]) string {
	x.Helper()
	if _, err := c.Get(x.Context(), "k", aside.LoaderFunc[string, int64](func(context.Context, string) (int64, error) { return 0, nil })); err != nil {
		x.Fatal(err)
	}
	settle(x.T, c)
	e := x.get()
	if len(e) < 2 || e[0] != envelope.KindValue || e[1] > 2 {
		x.Fatalf("no entry of 0.1.0: %q", e)
	}
	x.remove()
	return e
}

func (x *mixed) remove() {
	x.Helper()
	c := x.client()
	if err := c.Do(x.Context(), c.B().Arbitrary("DEL").Keys(mixedKey).Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
		x.Fatal(err)
	}
}

// settle waits for the fill that a load has left behind.
func settle(t *testing.T, c *aside.Cache[string, int64]) {
	t.Helper()
	testsync.Eventually(t, "the fill", func() bool { s := c.Stats(); return s.Fills+s.FillsRefused >= s.Loads })
}
