package aside_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/gate"
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
	type product struct{ SKU string }
	s := &asidetest.Server{}
	n := newNode(t, newPrimary("k"), s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	_, _ = n.Read(t.Context(), "absent", n.p, aside.Default)
	c, err := aside.New(aside.Options[string, product]{Name: "test", L2: s.NewClient(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, k := range []string{"k", "absent"} {
		r, err := c.Read(t.Context(), k, aside.LoaderFunc[string, product](func(context.Context, string) (product, error) { return product{"x"}, nil }), aside.Default)
		if err != nil || r.Value.SKU != "x" || r.Source != aside.SourceLoad {
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
		gate.Eventually(t, "fill", func() bool { return aside.Flights(c) == 0 })
	}
	if err := b.Write(t.Context(), func(context.Context, *aside.Writing[key, string]) error { return nil }, k); err != nil {
		t.Fatal(err)
	}
	if r, _ := a.Read(t.Context(), k, ld, aside.Default); r.Source == aside.SourceL1 {
		t.Error("a's L1 did not hear of b's write")
	}
}
