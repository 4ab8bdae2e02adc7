package aside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// An entry that this release cannot read counts as a miss and is replaced.
// Caught: an undecodable entry answered as an error, for ever.
func TestUndecodableEntryIsReplaced(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	good := s.Entry(testPrefix + "k")
	for name, entry := range map[string][]byte{
		"other format": append([]byte{'V', 99}, good[2:]...),
		"other codec":  append([]byte{'V', 1, 0, 200}, good[4:]...),
		"not JSON":     append(good[:len(good)-1:len(good)-1], '!'),
		"cut off":      good[:10],
		"foreign":      []byte(`{"id":"1"}`),
	} {
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		m := newNode(t, p, s)
		m.want("k", 1, aside.SourceL2)
		if t.Failed() {
			t.Fatalf("after an entry with %s", name)
		}
	}
	if st := n.Stats(); st.Undecodable != 4 { // a foreign kind is replaced by L2 itself
		t.Errorf("%d undecodable entries counted, want 4", st.Undecodable)
	}
}

// Two caches of different names know nothing of each other.
func TestNamesAreApart(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	for _, name := range []string{"one", "two"} {
		n := newNode(t, p, s, func(o *options) { o.Name = name })
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
	}
}

// Two releases side by side whose values differ in shape do not read each
// other's values, and see each other's writes at once, at all levels.
// Caught: the version as a part of the keys, under which a strong read of the one
// release is stale after a write of the other, until the TTL.
func TestSchemaVersionsSideBySide(t *testing.T) {
	for _, policy := range []aside.Policy{aside.FailOpen, aside.FailClosed} {
		s := &asidetest.Server{}
		p := newPrimary("k")
		before := newNode(t, p, s, func(o *options) { o.SchemaVersion, o.OnL2Down = 1, policy })
		after := newNode(t, p, s, func(o *options) { o.SchemaVersion, o.OnL2Down = 2, policy })
		before.want("k", 1, aside.SourceLoad)
		before.settled("k")
		after.want("k", 1, aside.SourceLoad) // not the other's bytes
		after.settled("k")
		for version, n := range []*node{before, after, before, after} {
			n.update("k") // to version+2, and back and forth between the releases
			for _, m := range []*node{before, after} {
				m.wantStrong("k", version+2)
				if v, _ := m.read("k", aside.Default); v != version+2 {
					t.Errorf("a default read: version %d, want %d", v, version+2)
				}
				m.settled("k")
			}
		}
	}
}

// Caches of one name whose values have different types answer each other with
// nothing. Caught: an entry decoded into fields that it does not have.
func TestAnotherTypeIsAMiss(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, newPrimary("k"), s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	_, _ = n.Read(t.Context(), "absent", n.p, aside.Default)
	c, err := aside.New(aside.Options[string, *todo]{Name: "test", L2: s.NewClient(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, k := range []string{"k", "absent"} {
		r, err := c.Read(t.Context(), k, aside.LoaderFunc[string, *todo](func(context.Context, string) (*todo, error) { return &todo{ID: "x"}, nil }), aside.Default)
		if err != nil || r.Value.ID != "x" || r.Source != aside.SourceLoad {
			t.Errorf("%s: %+v, %v", k, r, err)
		}
	}
}

// A ParseKey that is not Key's inverse would leave entries in L1 that no
// invalidation finds. Caught: inserting without the check keeps version 1.
func TestKeyFunctionsThatDoNotFit(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("K")
	bad := func(o *options) {
		o.Key = strings.ToLower
		o.ParseKey = func(s string) (string, error) { return s, nil }
	}
	a, b := newNode(t, p, s, bad), newNode(t, p, s, bad)
	for range 2 {
		a.read("K", aside.Default)
		a.settled("K")
	}
	b.update("K")
	if v, _ := a.read("K", aside.Default); v != 2 {
		t.Errorf("version %d after another node's write", v)
	}
}

func TestCompositeKeys(t *testing.T) {
	type key struct{ tenant, id string }
	s := &asidetest.Server{}
	mk := func() *aside.Cache[key, string] {
		c, err := aside.New(aside.Options[key, string]{
			Name: "composite", L2: s.NewClient(),
			Key: func(k key) string { return k.tenant + "/" + k.id },
			ParseKey: func(s string) (key, error) {
				tenant, id, ok := strings.Cut(s, "/")
				if !ok {
					return key{}, errors.New("no slash")
				}
				return key{tenant, id}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	a, b := mk(), mk()
	ld := aside.LoaderFunc[key, string](func(_ context.Context, k key) (string, error) { return k.tenant + k.id, nil })
	k := key{"acme", "1"}
	for _, c := range []*aside.Cache[key, string]{a, b} {
		if v, err := c.Get(t.Context(), k, ld); err != nil || v != "acme1" {
			t.Fatalf("%q, %v", v, err)
		}
		testsync.Eventually(t, "fill", func() bool { return aside.Flights(c) == 0 })
	}
	if err := b.Write(t.Context(), k, func(context.Context, *aside.WriteTx[key, string]) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if r, _ := a.Read(t.Context(), k, ld, aside.Default); r.Source == aside.SourceL1 {
		t.Error("a's L1 did not hear of b's write")
	}
}

// A value too large for L2 is kept in L1 alone, coherent like any other, and costs
// nobody else anything. Caught: it is sent; it is kept without a watch, so that
// another node's write leaves it in L1.
func TestBoundsLargeValue(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k", "small")
	large := func(o *options) { o.MaxEntrySize = 20; o.StaleFor = time.Hour } // a rec has some 25 bytes as JSON
	var log bytes.Buffer
	a := newNode(t, p, s, large, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b := newNode(t, p, s, large)
	for _, n := range []*node{a, b} {
		r, err := n.Read(t.Context(), "k", p, aside.Default)
		if err != nil || r.Value.Version != 1 || r.Source != aside.SourceLoad {
			t.Fatalf("%+v, %v", r, err)
		}
		n.settled("k")
		n.want("k", 1, aside.SourceL1)
	}
	if r, _ := b.Read(t.Context(), "k", p, aside.Strong); r.Miss != aside.MissTooLarge || r.Value.Version != 1 {
		t.Errorf("a strong read: %+v", r)
	}
	b.settled("k")
	if e := s.Entry(testPrefix + "k"); len(e) != envelope.HeaderLen {
		t.Errorf("%d bytes in L2", len(e))
	}
	a.update("k")
	b.wantStrong("k", 2)
	b.settled("k")
	b.want("k", 2, aside.SourceL1)
	a.want("k", 2, aside.SourceL1)
	p.del("k")
	b.update("k")
	if v, _ := a.read("k", aside.Default); v != 1 {
		t.Errorf("after another node's write: version %d", v)
	}
	if st := a.Stats(); st.TooLarge == 0 || strings.Count(log.String(), "larger than MaxEntrySize") != 1 || !strings.Contains(log.String(), "key_hash=") {
		t.Errorf("%d counted; log: %s", st.TooLarge, log.String())
	}
	// A node that takes larger ones replaces the mark by the value; to this one that
	// is too large then.
	c := newNode(t, p, s, func(o *options) { o.L1Size = -1 })
	c.update("k")
	c.want("k", 2, aside.SourceL2)
	b.wantStrong("k", 2)
}

// What takes long to decode holds up nobody who was looked up in the same batch.
// Caught: decoding in the batch's goroutine.
func TestBoundsSlowDecode(t *testing.T) {
	slow, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := &asidetest.Server{}
	mk := func(decode func()) *aside.Cache[string, *user] {
		c, err := aside.New(aside.Options[string, *user]{Name: "u", L2: s.NewClient(), L1Size: -1, L2Timeout: time.Minute,
			Codec: userCodec{encode: func() {}, decode: decode}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	fill := mk(func() {})
	defer fill.Close(t.Context())
	loader := aside.LoaderFunc[string, *user](func(_ context.Context, k string) (*user, error) { return &user{Name: k}, nil })
	for i := range 20 {
		_, _ = fill.Get(t.Context(), fmt.Sprint(i), loader)
	}
	testsync.Eventually(t, "fills", func() bool { return aside.Flights(fill) == 0 })
	var first atomic.Bool
	c := mk(func() {
		if first.CompareAndSwap(false, true) {
			close(slow)
			<-release
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { _, _ = c.Get(ctx, fmt.Sprint(i), loader) })
	}
	<-slow
	testsync.Eventually(t, "the others are answered", func() bool { return c.Stats().HitsL2 == 19 })
	release <- struct{}{}
	wg.Wait()
	_ = c.Close(t.Context())
}

// evictCalls counts batches, where the client counts keys.
type evictCalls struct {
	*asidetest.Client
	n atomic.Int64
}

func (e *evictCalls) Evict(ctx context.Context, reqs []driver.EvictRequest) []error {
	e.n.Add(1)
	return e.Client.Evict(ctx, reqs)
}

// Entries that are of no use are removed in one batch. Caught: one call each.
func TestBoundsUselessEntries(t *testing.T) {
	s := &asidetest.Server{}
	var keys []string
	for i := range 1000 {
		k := fmt.Sprint("k", i)
		keys = append(keys, k)
		s.SetEntry(testPrefix+k, []byte("V\x02\x00\x63"+strings.Repeat("x", 60)), time.Hour) // of another codec
	}
	l2 := &evictCalls{Client: s.NewClient()}
	n := newNode(t, newPrimary(keys...), s, func(o *options) { o.L2 = l2 })
	got, err := n.GetMany(t.Context(), keys, n.p)
	if err != nil || len(got) != 1000 || l2.n.Load() != 1 {
		t.Errorf("%d values, %v; %d calls", len(got), err, l2.n.Load())
	}
}

// An entry of L2 that is older than what L1 holds, as after a failover or a restart
// from a snapshot, is replaced. A load that is older than the stale value it is to
// replace is not stored. Info tells the version.
// Caught: Options.Version without a use.
func TestVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s)
		n.read("k", aside.Default)
		synctest.Wait()
		old := s.Entry(testPrefix + "k")
		n.update("k")
		// L2 brings the entry back without a word.
		s.Restore(testPrefix+"k", old, time.Minute)
		r, err := n.Read(t.Context(), "k", n.p, aside.Strong)
		if err != nil || r.Value.Version != 2 || r.Version != 2 || r.Source != aside.SourceLoad {
			t.Errorf("%+v, %v", r, err)
		}
		if r, _ := n.Read(t.Context(), "k", n.p, aside.Default); r.Version != 2 {
			t.Errorf("from %v: version %d", r.Source, r.Version)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s, func(o *options) { o.StaleFor, o.TTL, o.L1TTL = time.Hour, time.Minute, time.Second })
		n.update("k")
		n.read("k", aside.Default)
		synctest.Wait()
		lagging := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return rec{"k", 1}, nil })
		time.Sleep(2 * time.Minute)
		if r, err := n.Read(t.Context(), "k", lagging, aside.Default); err != nil || r.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		synctest.Wait()
		if st := n.Stats(); st.OlderLoads != 1 || st.L1Entries != 0 {
			t.Errorf("%d older loads, %d entries in L1", st.OlderLoads, st.L1Entries)
		}
		n.want("k", 2, aside.SourceLoad)
	})
}

// An entry says itself how long it is served when stale, so nodes that are
// configured differently agree. Caught: a node without StaleFor serves, as fresh,
// what another one keeps for that.
func TestStaleForOfOneNodeIsNotTakenForFreshByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		a := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.StaleFor = time.Minute, time.Minute, time.Hour })
		b := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL = time.Minute, time.Minute })
		a.read("k", aside.Default)
		p.put("k") // past the cache
		time.Sleep(30 * time.Minute)
		p.fail(errDown)
		if r, err := b.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, errDown) {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := a.Read(t.Context(), "k", p, aside.Default); err != nil || !r.Stale || r.Value.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		p.fail(nil)
		b.wantStrong("k", 2)
	})
}
