package aside_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// With Options.Tags a record has its tags however it came into the cache, and InvalidateTag
// reaches it. Tags of a Loaded count in their place.
// Caught: a record of Update, Create, Publish or Set without tags; the first one of a node
// that is not stored.
func TestTagsOfTheRecord(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		for name, store := range map[string]func(n *node, p *primary) error{
			"a load": func(n *node, p *primary) error { _, err := n.Get(t.Context(), "k", p); return err },
			"a bulk load": func(n *node, p *primary) error {
				_, err := n.GetMany(t.Context(), []string{"k"}, p)
				return err
			},
			"Update": func(n *node, p *primary) error {
				_, err := n.Update(t.Context(), "k", func(context.Context) (rec, error) { return p.put("k"), nil })
				return err
			},
			"Create": func(n *node, p *primary) error {
				_, _, err := n.Create(t.Context(), func(_ context.Context, w *aside.WriteTx[string, rec]) (string, rec, error) {
					err := w.Fence("k")
					return "k", p.put("k"), err
				})
				return err
			},
			"Publish": func(n *node, p *primary) error {
				return n.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
					w.Publish("k", p.put("k"))
					return nil
				})
			},
			"Set": func(n *node, p *primary) error { return n.Set(t.Context(), "k", p.put("k")) },
			"a Loaded without tags": func(n *node, p *primary) error {
				return n.SetEntry(t.Context(), "k", aside.Loaded[rec]{Value: p.put("k")})
			},
		} {
			t.Run(name, func(t *testing.T) {
				p := newPrimary("k")
				n := newNode(t, p, s, func(o *options) {
					o.Name = "tags-" + strings.ReplaceAll(name, " ", "-")
					o.Tags = func(r rec) []string { return []string{"of " + r.Key, "all"} }
				})
				for _, tag := range []string{"of k", "all"} {
					if err := store(n, p); err != nil {
						t.Fatal(err)
					}
					n.settled("k")
					v, i := n.read("k", aside.Default)
					if i.Source == aside.SourceLoad || !slices.Equal(slices.Sorted(slices.Values(i.Tags)), []string{"all", "of k"}) {
						t.Errorf("from %v with the tags %q", i.Source, i.Tags)
					}
					p.put("k") // past the cache
					if err := n.InvalidateTag(t.Context(), tag); err != nil {
						t.Fatal(err)
					}
					for _, m := range []aside.Mode{aside.Default, aside.Strong} {
						if got, i := n.read("k", m); got != v+1 {
							t.Errorf("after InvalidateTag(%q): version %d from %v, want %d", tag, got, i.Source, v+1)
						}
					}
				}
			})
		}
	})
}

// A Loaded with tags of its own has those alone, an absence has no others, and a record whose
// tags cannot be told is not stored.
func TestOtherTagsOfTheRecord(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) {
			o.Tags = func(r rec) []string {
				if r.Version == 3 {
					panic("no tags")
				}
				return []string{"mine"}
			}
		})
		set := func(l aside.Loaded[rec], want ...string) {
			t.Helper()
			if err := n.SetEntry(t.Context(), "k", l); err != nil {
				t.Fatal(err)
			}
			r, err := n.Read(t.Context(), "k", p, aside.Default)
			if err != nil && !errors.Is(err, aside.ErrNotFound) || r.Source == aside.SourceLoad || !slices.Equal(r.Tags, want) {
				t.Errorf("%+v: from %v with the tags %q, want %q; %v", l, r.Source, r.Tags, want, err)
			}
		}
		set(aside.Loaded[rec]{Value: p.put("k"), Tags: []string{"given"}}, "given")
		set(aside.Loaded[rec]{Absent: true})
		if err := n.Set(t.Context(), "k", p.put("k")); err != nil {
			t.Fatal(err)
		}
		if v, i := n.read("k", aside.Default); v != 3 || i.Source != aside.SourceLoad {
			t.Errorf("version %d from %v", v, i.Source)
		}
		if v, i := n.read("k", aside.Default); v != 3 || i.Source != aside.SourceLoad || n.Stats().Panics == 0 {
			t.Errorf("again: version %d from %v, %d panics", v, i.Source, n.Stats().Panics)
		}
	})
}

// A loader may use its slice of tags again. Caught: an entry whose tags change with that.
func TestTagsAreCopied(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		tags := []string{"a", "b"}
		loader := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
			r, err := p.Load(ctx, k)
			return aside.Loaded[rec]{Value: r, Tags: tags}, err
		})
		if _, err := n.Get(t.Context(), "k", loader); err != nil {
			t.Fatal(err)
		}
		n.settled("k")
		tags[0], tags[1] = "x", "y"
		p.put("k")
		if err := n.InvalidateTag(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if v, i := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d from %v", v, i.Source)
		}
	})
}
