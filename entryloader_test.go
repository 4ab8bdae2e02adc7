package aside_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/envelope"
)

type (
	recLoaded   = aside.Loaded[rec]
	recPrevious = aside.Previous[rec]
	entryLoader = aside.EntryLoaderFunc[string, rec]
)

// telling is a loader of p's records that tells more of each.
func telling(p *primary, more func(l *recLoaded)) entryLoader {
	return func(ctx context.Context, k string, _ recPrevious) (recLoaded, error) {
		v, err := p.Load(ctx, k)
		l := recLoaded{Value: v}
		more(&l)
		return l, err
	}
}

func decodeEntry(t *testing.T, b []byte) envelope.Entry {
	t.Helper()
	if len(b) < 4 {
		t.Fatalf("entry %q", b)
	}
	e, err := envelope.Reader{Codec: b[3], Type: 0}.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A record lives as long as its loader says: in L2, in the L1 of the node that loaded it
// and in those that find it in L2.
// Caught: an L1 that keeps it for L1TTL; a found entry that is given Options.TTL.
func TestLoaderSaysTTL(t *testing.T) {
	for name, c := range map[string]struct{ ttl, gone time.Duration }{"shorter": {4 * time.Second, 5 * time.Second}, "longer": {20 * time.Minute, 21 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k")
				change := func(o *options) { o.TTL, o.L1TTL = 10*time.Minute, 9*time.Minute }
				a, b := newNode(t, p, s, change), newNode(t, p, s, change)
				l := telling(p, func(l *recLoaded) { l.TTL = c.ttl })
				read := func(n *node, want int, from aside.Source) {
					t.Helper()
					r, err := n.Read(t.Context(), "k", l, aside.Default)
					if err != nil || r.Value.Version != want || r.Source != from {
						t.Errorf("version %d from %v, %v; want %d from %v", r.Value.Version, r.Source, err, want, from)
					}
				}
				read(a, 1, aside.SourceLoad)
				synctest.Wait()
				p.put("k") // behind the cache's back
				read(b, 1, aside.SourceL2)
				read(b, 1, aside.SourceL1)
				time.Sleep(c.ttl - time.Second)
				for _, n := range []*node{a, b} {
					r, _ := n.Read(t.Context(), "k", l, aside.Default)
					if r.Value.Version != 1 {
						t.Errorf("gone early: version %d from %v", r.Value.Version, r.Source)
					}
				}
				time.Sleep(c.gone - c.ttl + time.Second)
				read(b, 2, aside.SourceLoad)
				synctest.Wait()
				r, _ := a.Read(t.Context(), "k", l, aside.Default)
				if r.Value.Version != 2 {
					t.Errorf("kept too long: version %d from %v", r.Value.Version, r.Source)
				}
				_, _ = a.Close(t.Context()), b.Close(t.Context())
			})
		})
	}
}

// The TTL of a loader is shortened by the jitter too, in L2 and in a cache without L2.
// Caught: entries that were loaded together and ended together.
func TestJitterAppliesToTTLOfLoader(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary()
	n := newNode(t, p, s, func(o *options) { o.Jitter = 0.5 })
	lives := map[time.Duration]bool{}
	for i := range 20 {
		k := strings.Repeat("k", i+1)
		p.put(k)
		if _, err := n.Get(t.Context(), k, telling(p, func(l *recLoaded) { l.TTL = time.Hour })); err != nil {
			t.Fatal(err)
		}
		n.settled(k)
		e := decodeEntry(t, s.Entry(testPrefix+k))
		if e.Life < 30*time.Minute || e.Life > time.Hour {
			t.Errorf("a life of %v", e.Life)
		}
		lives[e.Life] = true
	}
	if len(lives) < 10 {
		t.Errorf("%d lives of 20 records differ", len(lives))
	}
}

// A loader says how long an absence is kept, also where absences are not kept otherwise.
// Caught: NegativeTTL of the cache for all.
func TestLoaderSaysNegativeTTL(t *testing.T) {
	for name, absent := range map[string]func(l *recLoaded) error{
		"Absent":      func(l *recLoaded) error { l.Absent = true; return nil },
		"ErrNotFound": func(*recLoaded) error { return aside.ErrNotFound },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				n := newNode(t, newPrimary(), s, func(o *options) { o.NegativeTTL, o.L1TTL = -1, time.Hour })
				loads := 0
				l := entryLoader(func(context.Context, string, recPrevious) (recLoaded, error) {
					loads++
					l := recLoaded{TTL: time.Minute, Value: rec{Version: 9}, Version: 9}
					return l, absent(&l)
				})
				for i, want := range []int{1, 1, 2} {
					if v, err := n.Get(t.Context(), "k", l); !errors.Is(err, aside.ErrNotFound) || v.Version != 0 {
						t.Errorf("%v, %v", v, err)
					}
					synctest.Wait()
					if loads != want {
						t.Errorf("%d loads after %d reads, want %d", loads, i+1, want)
					}
					time.Sleep(time.Duration(i) * 61 * time.Second)
				}
				_ = n.Close(t.Context())
			})
		})
	}
}

// What a loader says not to store is answered, and is in no tier.
// Caught: a lease that was kept until it ran out.
func TestLoaderSaysNoStore(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		for name, more := range map[string]func(l *recLoaded){
			"NoStore":       func(l *recLoaded) { l.NoStore = true },
			"expired":       func(l *recLoaded) { l.TTL = -time.Second },
			"too many tags": func(l *recLoaded) { l.Tags = make([]string, 17) },
			"an empty tag":  func(l *recLoaded) { l.Tags = []string{""} },
			"a long tag":    func(l *recLoaded) { l.Tags = []string{strings.Repeat("t", 129)} },
		} {
			p := newPrimary(name)
			n := newNode(t, p, s)
			for range 2 {
				r, err := n.Read(t.Context(), name, telling(p, more), aside.Default)
				if err != nil || r.Value.Version != 1 || r.Source != aside.SourceLoad {
					t.Errorf("%s: %+v, %v", name, r, err)
				}
				n.settled(name)
			}
			if s != nil && s.Entry(testPrefix+name) != nil {
				t.Errorf("%s: there is %q", name, s.Entry(testPrefix+name))
			}
		}
	})
}

// What a loader tells is stored with the record: nothing for a loader that tells nothing.
// Caught: an entry without the ETag; one with an ETag that is too long.
func TestWhatALoaderTellsIsStored(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("plain", "told", "long")
	n := newNode(t, p, s, unversioned)
	n.want("plain", 1, aside.SourceLoad)
	tags := []string{"a", strings.Repeat("t", 128)}
	for k, more := range map[string]func(l *recLoaded){
		"told": func(l *recLoaded) { l.ETag, l.Tags, l.Version = strings.Repeat("e", 256), tags, 77 },
		"long": func(l *recLoaded) { l.ETag = strings.Repeat("e", 257) },
	} {
		r, err := n.Read(t.Context(), k, telling(p, more), aside.Default)
		if want := map[string]uint64{"told": 77}[k]; err != nil || r.Version != want {
			t.Errorf("%s: version %d, %v; want %d", k, r.Version, err, want)
		}
		n.settled(k)
	}
	n.settled("plain")
	for k, format := range map[string]byte{"plain": 2, "told": 3, "long": 2} {
		b := s.Entry(testPrefix + k)
		if e := decodeEntry(t, b); b[1] != format || k == "told" && (len(e.ETag) != 256 || e.Version != 77 || !slices.Equal(e.Tags, tags)) {
			t.Errorf("%s: format %d, %+v", k, b[1], e)
		}
	}
}

// A load over a stale value gets it, with what was told of it, and may say that it is
// still the record: it is then stored again, and lives anew.
// Caught: a version and an ETag that were gone after the first NotModified.
func TestNotModified(t *testing.T) {
	for _, bulk := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, p := &asidetest.Server{}, newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleFor, o.Version = time.Minute, time.Hour, nil })
			var olds []recPrevious
			one := func(k string, old recPrevious) (recLoaded, error) {
				olds = append(olds, old)
				if old.OK {
					return recLoaded{NotModified: true, Value: rec{Version: 9}}, nil
				}
				v, err := p.Load(context.Background(), k)
				return recLoaded{Value: v, ETag: "e1", Version: 5, Tags: []string{"t"}}, err
			}
			read := func() (r aside.Result[rec], err error) {
				if !bulk {
					return n.Read(t.Context(), "k", entryLoader(func(_ context.Context, k string, old recPrevious) (recLoaded, error) { return one(k, old) }), aside.Default)
				}
				rs, err := n.ReadMany(t.Context(), []string{"k", "absent"}, aside.BulkEntryLoaderFunc[string, rec](
					func(_ context.Context, keys []string, old map[string]recPrevious) (map[string]recLoaded, error) {
						all := map[string]recLoaded{}
						if slices.Contains(keys, "k") {
							l, err := one("k", old["k"])
							if all["k"] = l; err != nil {
								return nil, err
							}
						}
						return all, nil
					}), aside.Default)
				if r := rs["absent"]; !r.Negative {
					t.Errorf("absent: %+v", r)
				}
				return rs["k"], err
			}
			start := time.Now()
			for range 3 {
				r, err := read()
				if err != nil || r.Value.Version != 1 || r.Version != 5 || r.Source != aside.SourceLoad {
					t.Errorf("bulk %v: %+v, %v", bulk, r, err)
				}
				synctest.Wait()
				if e := decodeEntry(t, s.Entry(testPrefix+"k")); e.ETag != "e1" || e.Version != 5 || !slices.Equal(e.Tags, []string{"t"}) || !e.Stored.Equal(time.Now()) {
					t.Errorf("stored: %+v", e)
				}
				time.Sleep(61 * time.Second)
			}
			if len(olds) != 3 || olds[0].OK {
				t.Fatalf("bulk %v: %+v", bulk, olds)
			}
			if o := olds[2]; o.ETag != "e1" || o.Version != 5 || o.Value.Version != 1 || !o.Stored.Equal(start.Add(61*time.Second)) {
				t.Errorf("the third load had %+v", o)
			}
			_ = n.Close(t.Context())
		})
	}
}

// A loader that says that nothing has changed, and had nothing, has a fault.
// Caught: the zero value, answered and stored.
func TestNotModifiedWithoutPrevious(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		n := newNode(t, newPrimary("k"), s)
		_, err := n.Get(t.Context(), "k", entryLoader(func(_ context.Context, _ string, old recPrevious) (recLoaded, error) {
			if old.OK {
				t.Error("there is something previous")
			}
			return recLoaded{NotModified: true}, nil
		}))
		if err == nil || errors.Is(err, aside.ErrNotFound) || !strings.Contains(err.Error(), "NotModified") {
			t.Errorf("got %v", err)
		}
		n.settled("k")
		n.want("k", 1, aside.SourceLoad)
	})
}

// An entry loader that panics, or ends its goroutine, fails its load and nothing else.
// Caught: an absence, answered and stored.
func TestEntryLoaderPanics(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		n := newNode(t, newPrimary("k"), s)
		for name, f := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
			_, err := n.Get(t.Context(), "k", entryLoader(func(context.Context, string, recPrevious) (recLoaded, error) {
				f()
				return recLoaded{}, nil
			}))
			if !errors.Is(err, aside.ErrLoadPanicked) {
				t.Errorf("%s: %v", name, err)
			}
			n.settled("k")
		}
		n.want("k", 1, aside.SourceLoad)
	})
}

// A write can tell what a loader can.
// Caught: an entry of Options.TTL.
func TestPublishEntry(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k", "gone", "unstored")
	n := newNode(t, p, s, unversioned, func(o *options) { o.NegativeTTL = -1 })
	// A node stores records with tags once it knows the table of tags.
	if _, err := n.Get(t.Context(), "other", telling(p, func(l *recLoaded) { l.Tags = []string{"t"} })); !errors.Is(err, aside.ErrNotFound) {
		t.Fatal(err)
	}
	err := n.WriteMany(t.Context(), []string{"k", "gone", "unstored"}, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		w.PublishEntry("k", recLoaded{Value: p.put("k"), TTL: time.Hour, Version: 8, ETag: "e", Tags: []string{"t"}})
		p.del("gone")
		w.PublishEntry("gone", recLoaded{Absent: true, TTL: time.Minute})
		w.PublishEntry("unstored", recLoaded{Value: p.put("unstored"), NoStore: true})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := decodeEntry(t, s.Entry(testPrefix+"k")); e.Life != time.Hour || e.Version != 8 || e.ETag != "e" || !slices.Equal(e.Tags, []string{"t"}) {
		t.Errorf("k: %+v", e)
	}
	if e := decodeEntry(t, s.Entry(testPrefix+"gone")); e.Life != time.Minute || !e.Negative {
		t.Errorf("gone: %+v", e)
	}
	if b := s.Entry(testPrefix + "unstored"); b != nil {
		t.Errorf("unstored: %q", b)
	}
	n.want("k", 2, aside.SourceL1)
}
