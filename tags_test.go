package aside_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

const testTable = "aside:test:tags:table"

// tagNode is a node whose loader gives every record the tags that the test says.
type tagNode struct {
	*node
	tags []string
}

func (n tagNode) LoadEntry(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
	r, err := n.p.Load(ctx, k)
	return aside.Loaded[rec]{Value: r, Tags: n.tags}, err
}

func (n tagNode) Load(ctx context.Context, k string) (rec, error) { return n.p.Load(ctx, k) }

// newTagNode makes a node; its records have the tags t and the record's key.
func newTagNode(t testing.TB, p *primary, s *asidetest.Server, change ...func(*options)) tagNode {
	t.Helper()
	return tagNode{newNode(t, p, s, change...), []string{"t", "other"}}
}

func tagsOfEntry(t *testing.T, b []byte) []string {
	t.Helper()
	e, err := envelope.Reader{Codec: b[3]}.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return e.Tags
}

func (n tagNode) wants(k string, version int, from aside.Source, mode aside.Mode) {
	n.t.Helper()
	r, err := n.Read(context.Background(), k, n, mode)
	if err != nil && !errors.Is(err, aside.ErrNotFound) || r.Value.Version != version || r.Source != from {
		n.t.Errorf("read %s: version %d from %v (%v), want %d from %v", k, r.Value.Version, r.Source, err, version, from)
	}
	if !fakeTime() {
		n.settled(k)
		return
	}
	synctest.Wait()
}

func (n tagNode) invalidates(tags ...string) {
	n.t.Helper()
	if err := n.InvalidateTag(context.Background(), tags...); err != nil {
		n.t.Errorf("InvalidateTag %v: %v", tags, err)
	}
}

// On every node and in both tiers, an entry with the tag is gone, and one of another tag
// is not. Caught: L1 of the other node; L2; a strong read that trusts the node's mirror.
func TestInvalidateTag(t *testing.T) {
	for _, mode := range []aside.Mode{aside.Default, aside.Strong} {
		t.Run(fmt.Sprint("mode ", mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k", "u")
				a, b := newTagNode(t, p, s), newTagNode(t, p, s)
				u := tagNode{b.node, []string{"u"}}
				for _, n := range []tagNode{a, b} {
					n.wants("k", 1, map[bool]aside.Source{true: aside.SourceLoad, false: aside.SourceL2}[n.node == a.node], aside.Default)
				}
				u.wants("u", 1, aside.SourceLoad, aside.Default)
				p.put("k") // past the cache
				p.put("u")
				b.wants("k", 1, aside.SourceL1, aside.Default)
				a.invalidates("t")
				if mode == aside.Default {
					synctest.Wait() // b is told
				}
				b.wants("k", 2, aside.SourceLoad, mode)
				u.wants("u", 1, aside.SourceL1, aside.Default)
				a.wants("k", 2, aside.SourceL2, aside.Default)
				a.wants("k", 2, aside.SourceL1, aside.Default)
				if n := b.Stats().TagMisses; n != 1 {
					t.Errorf("%d entries of no use", n)
				}
			})
		})
	}
}

func (n tagNode) String() string { return n.t.Name() }

// The caller's own default reads see it at once. Caught: a node that waits for its push.
func TestInvalidateTagIsSeenByItsOwnProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*asidetest.Server{{}, nil} {
			p := newPrimary("k")
			n := newTagNode(t, p, s)
			n.wants("k", 1, aside.SourceLoad, aside.Default)
			for v := 2; v < 5; v++ {
				p.put("k")
				n.invalidates("t")
				n.wants("k", v, aside.SourceLoad, aside.Default)
				n.wants("k", v, aside.SourceL1, aside.Default)
			}
		}
	})
}

// A load that read before the invalidation, and fills after it, does not bring the record
// back: with a tag that its node had never seen too. Those who came after the invalidation
// do not share it. Caught: a stamp taken after the load; a follower that is content with
// the accepted fill.
func TestLoadFromBeforeInvalidateTag(t *testing.T) {
	for _, mode := range []aside.Mode{aside.Default, aside.Strong} {
		for _, own := range []bool{true, false} {
			late := mode == aside.Strong && !own // with notices that are late
			t.Run(fmt.Sprint("mode ", mode, " own ", own), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, p := &asidetest.Server{}, newPrimary("k")
					a, b := newTagNode(t, p, s), newTagNode(t, p, s)
					by := a
					if !own {
						by = b
					}
					if late {
						a = newDeafNode(t, p, s)
					}
					go1, read := make(chan struct{}), make(chan struct{})
					p.afterRead = func(string) {
						p.mu.Lock()
						first := p.afterRead != nil
						p.mu.Unlock()
						if first {
							close(read)
							<-go1
						}
					}
					done := make(chan aside.Result[rec])
					go func() {
						r, _ := a.Read(t.Context(), "k", a, aside.Default)
						done <- r
					}()
					<-read
					p.mu.Lock()
					p.afterRead = nil
					p.mu.Unlock()
					p.put("k")
					by.invalidates("t")
					came := make(chan aside.Result[rec])
					if own || mode == aside.Strong {
						go func() {
							r, _ := a.Read(t.Context(), "k", a, mode)
							came <- r
						}()
						synctest.Wait()
					}
					close(go1)
					if r := <-done; r.Value.Version != 1 {
						t.Errorf("the load: %+v", r)
					}
					if own || mode == aside.Strong {
						if r := <-came; r.Value.Version != 2 {
							t.Errorf("who came after the invalidation got version %d", r.Value.Version)
						}
					}
					synctest.Wait()
					for _, n := range []tagNode{a, b} {
						if r, _ := n.Read(t.Context(), "k", n, aside.Strong); r.Value.Version != 2 {
							t.Errorf("brought back: version %d", r.Value.Version)
						}
						synctest.Wait()
						if r, _ := n.Read(t.Context(), "k", n, aside.Default); r.Value.Version != 2 {
							t.Errorf("brought back: version %d in a default read", r.Value.Version)
						}
					}
				})
			})
		}
	}
}

// deafToTags is an L2 whose notices of the table come late: never.
type deafToTags struct{ *asidetest.Client }

func (d deafToTags) Watch(prefix string, w driver.Watcher) (func(), error) {
	if strings.HasSuffix(prefix, ":tags:") {
		w.Changed = func(string) {}
	}
	return d.Client.Watch(prefix, w)
}

func newDeafNode(t *testing.T, p *primary, s *asidetest.Server) tagNode {
	conn := s.NewClient()
	n := newTagNode(t, p, s, func(o *options) { o.L2 = deafToTags{conn} })
	n.conn = conn
	return n
}

// A node whose notices are late: strong reads see the invalidation, and default reads
// after them do too. Caught: a strong read that is content with what its node knows.
func TestStrongReadWhileNoticesOfTagsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newDeafNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.wants("k", 1, aside.SourceL2, aside.Default)
		p.put("k")
		a.invalidates("t")
		b.wants("k", 1, aside.SourceL1, aside.Default)
		b.wants("k", 2, aside.SourceLoad, aside.Strong)
		b.wants("k", 2, aside.SourceL1, aside.Default)
		p.put("k")
		a.invalidates("t")
		if r, err := b.ReadMany(t.Context(), []string{"k"}, p, aside.Strong); err != nil || r["k"].Value.Version != 3 {
			t.Errorf("a bulk read: %+v, %v", r, err)
		}
	})
}

// A strong read joins the flight of a default read that waits for another node's load,
// and so came before the lookup that finds its entry. The default read judges that by what
// its node knows of tags. Caught: a strong read that is answered with it.
func TestStrongReadDoesNotShareADefaultLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k", "l")
		a, b, c := newTagNode(t, p, s), newDeafNode(t, p, s), newTagNode(t, p, s)
		b.wants("l", 1, aside.SourceLoad, aside.Default) // it has met tags
		read, goOn := make(chan struct{}), make(chan struct{})
		p.afterRead = func(string) { close(read); <-goOn }
		results := make([]chan aside.Result[rec], 3)
		start := func(i int, n tagNode, mode aside.Mode) {
			results[i] = make(chan aside.Result[rec], 1)
			go func() {
				r, _ := n.Read(t.Context(), "k", n, mode)
				results[i] <- r
			}()
		}
		start(0, a, aside.Default)
		<-read
		p.afterRead = nil
		start(1, b, aside.Default)
		time.Sleep(10 * time.Millisecond)
		p.put("k")
		c.invalidates("t")
		start(2, b, aside.Strong)
		time.Sleep(10 * time.Millisecond)
		close(goOn)
		if r := <-results[2]; r.Value.Version != 2 {
			t.Errorf("the strong read got version %d", r.Value.Version)
		}
		<-results[0]
		<-results[1]
	})
}

// A load that hangs is answered with the stale value meanwhile, and whoever comes while it
// goes on gets that too: but not once its tag was invalidated.
func TestTagOfAValueThatIsRevalidated(t *testing.T) {
	for name, s := range map[string]*asidetest.Server{"L2": {}, "L1 only": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPrimary("k")
				n := newTagNode(t, p, s, func(o *options) { o.TTL, o.StaleWhileRevalidate = time.Minute, time.Hour })
				n.wants("k", 1, aside.SourceLoad, aside.Default)
				time.Sleep(2 * time.Minute)
				goOn := make(chan struct{})
				p.afterRead = func(string) { <-goOn }
				for range 2 {
					if r, err := n.Read(t.Context(), "k", n, aside.Default); err != nil || !r.Stale || r.Value.Version != 1 {
						t.Errorf("%+v, %v", r, err)
					}
					synctest.Wait()
				}
				p.put("k")
				n.invalidates("t")
				got := make(chan aside.Result[rec])
				go func() {
					r, _ := n.Read(t.Context(), "k", n, aside.Default)
					got <- r
				}()
				synctest.Wait()
				close(goOn)
				if r := <-got; r.Value.Version != 2 {
					t.Errorf("after the invalidation: version %d, stale %v", r.Value.Version, r.Stale)
				}
			})
		})
	}
}

// What a write publishes without L2 has tags too. Caught: an entry without them.
func TestTagOfAWriteWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newTagNode(t, p, nil)
		err := n.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			w.PublishEntry("k", aside.Loaded[rec]{Value: p.put("k"), Tags: []string{"t"}})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		n.wants("k", 2, aside.SourceL1, aside.Default)
		p.put("k")
		n.invalidates("t")
		n.wants("k", 3, aside.SourceLoad, aside.Default)
	})
}

// A write that runs while a tag is invalidated publishes what may be from before it, and
// one that begins after it what is not. Caught: a stamp taken when the write ends.
func TestWriteWhileATagIsInvalidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		write := func(during func()) {
			err := a.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				r := p.put("k")
				during()
				w.PublishEntry("k", aside.Loaded[rec]{Value: r, Tags: []string{"t"}})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		write(func() {})
		a.wants("k", 2, aside.SourceL1, aside.Default)
		b.wants("k", 2, aside.SourceL2, aside.Strong)
		write(func() { p.put("k"); b.invalidates("t") })
		synctest.Wait()
		a.wants("k", 4, aside.SourceLoad, aside.Default)
		b.wants("k", 4, aside.SourceL2, aside.Strong)
	})
}

// A node that has met no tags writes its first record with some: it is not stored without
// them. Caught: an entry that nobody can invalidate by its tag.
func TestFirstTagOfAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		for i := range 3 {
			err := a.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				w.PublishEntry("k", aside.Loaded[rec]{Value: p.put("k"), Tags: []string{"t"}})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if e := s.Entry(testPrefix + "k"); i > 0 && len(e) == 0 {
				t.Error("not published")
			} else if len(e) > 0 && len(tagsOfEntry(t, e)) != 1 {
				t.Error("published without its tag")
			}
			synctest.Wait()
		}
		p.put("k")
		b.invalidates("t")
		a.wants("k", 5, aside.SourceLoad, aside.Strong)
	})
}

// A stale value is not served once its tag was invalidated. Caught: StaleFor alone looked
// at; the stale value that a lease was granted over, given to the loader as Previous.
func TestStaleValueOfAnInvalidatedTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newTagNode(t, p, s, func(o *options) { o.TTL, o.StaleFor = time.Minute, time.Hour })
		n.wants("k", 1, aside.SourceLoad, aside.Default)
		time.Sleep(2 * time.Minute)
		p.fail(errors.New("down"))
		if r, _ := n.Read(t.Context(), "k", n, aside.Default); !r.Stale || r.Value.Version != 1 || len(r.Tags) != 2 {
			t.Fatalf("not stale: %+v", r)
		}
		synctest.Wait()
		n.invalidates("t")
		if r, err := n.Read(t.Context(), "k", n, aside.Default); err == nil {
			t.Errorf("stale and invalidated: %+v", r)
		}
		synctest.Wait()
		p.fail(nil)
		given := false
		_, err := n.Get(t.Context(), "k", aside.EntryLoaderFunc[string, rec](func(_ context.Context, _ string, old aside.Previous[rec]) (aside.Loaded[rec], error) {
			given = old.OK
			return aside.Loaded[rec]{Value: rec{"k", 9}}, nil
		}))
		if err != nil || given {
			t.Errorf("%v; the loader was given what was invalidated: %v", err, given)
		}
	})
}

// What "not modified" keeps has the tags that it had, with and without L2.
// Caught: a record that is renewed for ever, past every invalidation of its tag.
func TestNotModifiedKeepsTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, s := range map[string]*asidetest.Server{"L2": {}, "L1 only": nil} {
			p := newPrimary("k")
			n := newTagNode(t, p, s, func(o *options) { o.TTL, o.StaleFor = time.Minute, time.Hour })
			loads := 0
			loader := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, old aside.Previous[rec]) (aside.Loaded[rec], error) {
				if old.OK {
					return aside.Loaded[rec]{NotModified: true}, nil
				}
				loads++
				r, err := p.Load(ctx, k)
				return aside.Loaded[rec]{Value: r, Tags: []string{"t"}}, err
			})
			read := func() int {
				r, err := n.Get(t.Context(), "k", loader)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				return r.Version
			}
			read()
			for range 3 {
				time.Sleep(70 * time.Second)
				read()
			}
			p.put("k")
			n.invalidates("t")
			before := loads
			if v := read(); v != 2 || loads != before+1 {
				t.Errorf("%s: version %d after the invalidation, %d loads", name, v, loads-before)
			}
		}
	})
}

// Absences have tags too. Caught: an entry of kind N without them.
func TestTagOfAnAbsence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary()
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		a.wants("k", 0, aside.SourceLoad, aside.Default)
		b.wants("k", 0, aside.SourceL2, aside.Default)
		p.put("k")
		a.invalidates("t")
		b.wants("k", 1, aside.SourceLoad, aside.Strong)
		a.wants("k", 1, aside.SourceL2, aside.Default)
	})
}

// A cache that uses no tags asks for none. Caught: a table, or a watch, that every cache
// has; a strong read that asks for it.
func TestNoTagsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.update("k")
		for range 3 {
			n.wantStrong("k", 2)
		}
		if c := n.conn.Calls("Tags"); c != 0 || s.Entry(testTable) != nil {
			t.Errorf("asked %d times", c)
		}
	})
}

// A default hit of an entry with tags asks L2 for the entry alone, a strong read for the
// table too, once. Caught: a question for each read.
func TestQuestionsForTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s, func(o *options) { o.L1Size = -1 })
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.wants("k", 1, aside.SourceL2, aside.Default)
		asked := b.conn.Calls("Tags")
		for range 10 {
			b.wants("k", 1, aside.SourceL2, aside.Default)
		}
		if n := b.conn.Calls("Tags") - asked; n != 0 {
			t.Errorf("10 default reads ask %d times", n)
		}
		for range 10 {
			b.wants("k", 1, aside.SourceL2, aside.Strong)
		}
		if n := b.conn.Calls("Tags") - asked; n != 10 {
			t.Errorf("10 strong reads ask %d times", n)
		}
		if n := b.conn.Calls("Evict"); n != 0 {
			t.Errorf("%d evicted", n)
		}
	})
}

// Entries that must not be read by those who look into L1. Caught: each of these.
func TestInvalidatedTagIsNotLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTagNode(t, newPrimary("k"), nil)
		n.wants("k", 1, aside.SourceLoad, aside.Default)
		if r, _ := n.Read(t.Context(), "k", n, aside.Default); len(r.Tags) != 2 {
			t.Errorf("tags %v", r.Tags)
		}
		n.invalidates("t")
		if i, err := n.Inspect(t.Context(), "k"); err != nil || i.L1 != nil {
			t.Errorf("inspected: %+v, %v", i.L1, err)
		}
	})
}

func TestInvalidateTagRefuses(t *testing.T) {
	n := newTagNode(t, newPrimary(), nil)
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for _, tags := range [][]string{{""}, {"a", string(make([]byte, 129))}, many} {
		if n.InvalidateTag(t.Context(), tags...) == nil {
			t.Errorf("taken: %.20q", tags)
		}
	}
	if err := n.InvalidateTag(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.InvalidateTag(ctx, "t"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = n.Close(t.Context())
	if err := n.InvalidateTag(t.Context(), "t"); !errors.Is(err, aside.ErrClosed) {
		t.Error(err)
	}
}

// An L2 that keeps no table: entries with tags are not stored, and InvalidateTag says so.
// Caught: an entry that nobody can invalidate.
func TestL2WithoutTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newTagNode(t, p, s, func(o *options) { o.L2 = struct{ driver.Tier }{s.NewClient()} })
		for range 2 {
			n.wants("k", 1, aside.SourceLoad, aside.Default)
		}
		if n.InvalidateTag(t.Context(), "t") == nil {
			t.Error("InvalidateTag says nothing")
		}
	})
}

// The loader of a strong read does not get what was invalidated on another node, although
// this node was not told. Caught: a strong read with "not modified" of what is old.
func TestPreviousOfAStrongRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		stale := func(o *options) { o.TTL, o.StaleFor = 30*time.Second, time.Hour }
		conn := s.NewClient()
		a, b := newTagNode(t, p, s, stale), newTagNode(t, p, s, stale, func(o *options) { o.L2 = deafToTags{conn} })
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.wants("k", 1, aside.SourceL2, aside.Default)
		time.Sleep(40 * time.Second)
		p.put("k")
		a.invalidates("t")
		conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Tags" {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		r, err := b.Read(t.Context(), "k", aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, old aside.Previous[rec]) (aside.Loaded[rec], error) {
			if old.OK {
				return aside.Loaded[rec]{NotModified: true}, nil
			}
			v, err := p.Load(ctx, k)
			return aside.Loaded[rec]{Value: v, Tags: b.tags}, err
		}), aside.Strong)
		if err != nil || r.Value.Version != 2 {
			t.Errorf("version %d, %v", r.Value.Version, err)
		}
		synctest.Wait()
	})
}

// Many entries with tags, for a node that has not met tags: one question for all.
// Caught: one for each entry of a strong read.
func TestOneQuestionForManyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprint("k", i))
		}
		s, p := &asidetest.Server{}, newPrimary(keys...)
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		defer closeAll(a.node, b.node)
		for _, k := range keys {
			a.wants(k, 1, aside.SourceLoad, aside.Default)
		}
		rs, err := b.ReadMany(t.Context(), keys, p, aside.Strong)
		if err != nil || len(rs) != len(keys) || rs["k7"].Source != aside.SourceL2 {
			t.Fatalf("%d of %d, %v", len(rs), len(keys), err)
		}
		if n := b.conn.Calls("Tags"); n > 2 {
			t.Errorf("%d questions", n)
		}
	})
}
