package aside_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// totals is a cache of another type of record than rec, with another type of key, on the
// client of a node.
func totals(t testing.TB, n *node, change ...func(*aside.Options[int, int])) *aside.Cache[int, int] {
	t.Helper()
	o := aside.Options[int, int]{Name: "totals", Logger: slog.New(slog.DiscardHandler)}
	if n.conn != nil {
		o.L2 = n.conn
	}
	if !fakeTime() {
		o.L2Timeout = time.Minute
	}
	for _, f := range change {
		f(&o)
	}
	c, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

const totalsKey = "aside:totals:0:1"

// Both keys are fenced while the write runs, and both records are published.
// Caught: a write of one cache within that of the other published nothing in the
// outer one if the inner one was not acknowledged.
func TestWriteTogether(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	at, bt := totals(t, a), totals(t, b)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	one, tot := a.Part("k"), at.Part(1)
	err := aside.WriteTogether(t.Context(), []aside.WritePart{one, tot}, func(ctx context.Context) error {
		for _, k := range []string{testPrefix + "k", totalsKey} {
			if e := s.Entry(k); len(e) == 0 || e[0] != 'F' {
				t.Errorf("%s is not fenced: %q", k, e)
			}
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		one.Publish("k", p.put("k"))
		tot.Publish(1, 2)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	loads := p.reads.Load()
	b.wantStrong("k", 2)
	r, err := bt.Read(t.Context(), 1, aside.LoaderFunc[int, int](func(context.Context, int) (int, error) { return 0, errors.New("loaded") }), aside.Strong)
	if err != nil || r.Value != 2 || p.reads.Load() != loads {
		t.Errorf("%v, %v, %d loads", r.Value, err, p.reads.Load()-loads)
	}
	// A part is for one write.
	if err := aside.WriteTogether(t.Context(), []aside.WritePart{one, at.Part(1)}, func(context.Context) error { t.Error("ran"); return nil }); err == nil {
		t.Error("a part was used twice")
	}
	if err := aside.WriteTogether(t.Context(), nil, func(context.Context) error { t.Error("ran"); return nil }); err == nil {
		t.Error("a write without parts succeeded")
	}
	for _, k := range []string{testPrefix + "k", totalsKey} {
		if e := s.Entry(k); len(e) == 0 || e[0] == 'F' {
			t.Errorf("%s stays fenced: %q", k, e)
		}
	}
}

// The outcome is that of the one transaction, for both caches.
func TestWriteTogetherOutcomes(t *testing.T) {
	refused, lost := errors.New("unique violation"), errors.New("connection lost")
	for name, tt := range map[string]struct {
		err   error
		stays bool
	}{
		"aborted":                      {aside.Aborted(refused), false},
		"definite for one of them":     {refused, false}, // caught: the other cache stayed fenced
		"unknown":                      {lost, true},
		"the write function panicked":  {nil, true}, // caught: the fences were lifted
		"the context ends, not begun":  {context.Canceled, false},
		"the second cannot be fenced":  {aside.ErrL2Unavailable, false}, // caught: the first stayed fenced
		"the first one's cache closed": {aside.ErrClosed, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary("k")
				n := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed })
				tc := totals(t, n, func(o *aside.Options[int, int]) {
					o.OnL2Down = aside.FailClosed
					o.DefiniteError = func(err error) bool { return errors.Is(err, refused) }
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				down := errors.New("down")
				n.conn.Intercept(func(_ context.Context, op, key string) error {
					switch {
					case op != "Fence":
					case errors.Is(tt.err, context.Canceled):
						cancel()
					case errors.Is(tt.err, aside.ErrL2Unavailable) && key == totalsKey:
						return down
					}
					return nil
				})
				if errors.Is(tt.err, aside.ErrClosed) {
					_ = n.Close(ctx)
				}
				ran := false
				var err error
				func() {
					defer func() {
						if v := recover(); (v != nil) != (tt.err == nil) {
							t.Errorf("panic: %v", v)
						}
					}()
					err = aside.WriteTogether(ctx, []aside.WritePart{n.Part("k"), tc.Part(1)}, func(context.Context) error {
						ran = true
						if tt.err == nil {
							panic("bug")
						}
						return tt.err
					})
				}()
				if !errors.Is(err, tt.err) || errors.Is(err, aside.ErrAborted) != (name == "aborted") {
					t.Errorf("got %v", err)
				}
				if begun := tt.stays || errors.Is(tt.err, refused); ran != begun {
					t.Errorf("the write ran: %v", ran)
				}
				for _, k := range []string{testPrefix + "k", totalsKey} {
					if e := s.Entry(k); (len(e) > 0) != tt.stays {
						t.Errorf("%s: %q", k, e)
					}
				}
				_, _ = n.Close(t.Context()), tc.Close(t.Context())
			})
		})
	}
}

// L2 confirms the release of one key and not of the other: the write is not
// acknowledged, and the first one's record is published all the same.
// Caught: a nil error.
func TestWriteTogetherHalfAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed })
		tc := totals(t, n, func(o *aside.Options[int, int]) { o.OnL2Down = aside.FailClosed })
		down := errors.New("down")
		n.conn.Intercept(func(_ context.Context, op, key string) error {
			if op == "Release" && key == totalsKey {
				return down
			}
			return nil
		})
		k, tot := n.Part("k"), tc.Part(1)
		err := aside.WriteTogether(t.Context(), []aside.WritePart{k, tot}, func(context.Context) error {
			k.Publish("k", p.put("k"))
			tot.Publish(1, 5)
			return nil
		})
		if !errors.Is(err, aside.ErrUnacknowledged) || !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
		if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'V' {
			t.Errorf("the acknowledged record: %q", e)
		}
		if e := s.Entry(totalsKey); len(e) == 0 || e[0] != 'F' {
			t.Errorf("the other key is not fenced: %q", e)
		}
		n.conn.Intercept(nil)
		time.Sleep(3 * time.Second)
		if e := s.Entry(totalsKey); e != nil {
			t.Errorf("the fence was not lifted later: %q", e)
		}
		_, _ = n.Close(t.Context()), tc.Close(t.Context())
	})
}

// Two writes name the same records in opposite order and run at the same time: both
// finish. Neither publishes, since nobody knows which was the last.
// Caught: fences that wait for other writes: neither write ended, nor did the test.
func TestWriteTogetherDoesNotDeadlock(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	g := testsync.NewGate(t)
	write := func(n *node, turned bool) <-chan error {
		k, tot := n.Part("k"), totals(t, n).Part(1)
		parts := []aside.WritePart{k, tot}
		if turned {
			parts = []aside.WritePart{tot, k}
		}
		return testsync.Async(func() error {
			return aside.WriteTogether(context.Background(), parts, func(context.Context) error {
				g.Pass("in")
				k.Publish("k", p.put("k"))
				tot.Publish(1, 1)
				return nil
			})
		})
	}
	first, second := write(a, false), write(b, true)
	testsync.Await(t, "the first", g.Arrived)
	testsync.Await(t, "the second, while the first runs", g.Arrived)
	g.Open()
	for _, w := range []<-chan error{first, second} {
		if err := testsync.Await(t, "a write", w); err != nil {
			t.Error(err)
		}
	}
	for _, k := range []string{testPrefix + "k", totalsKey} {
		if e := s.Entry(k); e != nil {
			t.Errorf("%s after overlapping writes: %q", k, e)
		}
	}
	a.wantStrong("k", 3)
}

// writeSomehow writes k in one of the ways that there are, or of those that can publish a
// record with tags.
func (n *node) writeSomehow(k string, tagged bool, put func() rec) (r rec, err error) {
	ctx := context.Background()
	way := rand.N(5)
	if tagged {
		way = 3
	}
	switch way {
	case 0:
		return n.Update(ctx, k, func(context.Context) (rec, error) { return put(), nil })
	case 1: // the key comes while the write runs
		_, r, err = n.Create(ctx, func(_ context.Context, w *aside.WriteTx[string, rec]) (string, rec, error) {
			if err := w.Fence(k); err != nil {
				return k, rec{}, err
			}
			return k, put(), nil
		})
		return r, err
	case 2: // with another key, and another part of the same cache
		one, other := n.Part(k), n.Part("other", "k0")
		err = aside.WriteTogether(ctx, []aside.WritePart{other, one}, func(context.Context) error {
			r = put()
			one.Publish(k, r)
			return nil
		})
		return r, err
	}
	err = n.Write(ctx, k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		r = put()
		switch how := rand.N(3); {
		case how == 0 && !tagged:
			w.Publish(k, r)
		case how == 1:
			l := recLoaded{Value: r}
			tellAnything(k, tagged, &l)
			w.PublishEntry(k, l)
		}
		return nil
	})
	return r, err
}
