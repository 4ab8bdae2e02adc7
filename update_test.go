package aside_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// Update returns the record and publishes it; Delete publishes the absence.
// Caught: a helper that only returned the record left the next read to a load.
func TestUpdateAndDelete(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	r, err := a.Update(t.Context(), "k", func(context.Context) (rec, error) { return p.put("k"), nil })
	if err != nil || r != (rec{"k", 2}) {
		t.Errorf("Update returned %v, %v", r, err)
	}
	a.want("k", 2, aside.SourceL1)
	b.wantStrong("k", 2)
	if err := a.Delete(t.Context(), "k", func(context.Context) error { p.del("k"); return nil }); err != nil {
		t.Error(err)
	}
	for _, n := range []*node{a, b} {
		if r, err := n.Read(t.Context(), "k", p, aside.Strong); !errors.Is(err, aside.ErrNotFound) || r.Source == aside.SourceLoad {
			t.Errorf("after Delete: %+v, %v", r, err)
		}
	}
	if got := p.reads.Load(); got != 1 {
		t.Errorf("%d loads, want only the first", got)
	}
}

// "There is no such record" is a definite answer: no fence stays. It is not
// published, since the function may have meant another record.
// Caught: the key was kept out of the cache for FenceTTL; and, with the absence
// published, the record that is there was not found.
func TestUpdateOfAMissingRecord(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	missing := fmt.Errorf("owner 9: %w", aside.ErrNotFound)
	for name, write := range map[string]func() error{
		"Update": func() error {
			_, err := n.Update(t.Context(), "k", func(context.Context) (rec, error) { return rec{}, missing })
			return err
		},
		"Delete": func() error { return n.Delete(t.Context(), "k", func(context.Context) error { return missing }) },
	} {
		if err := write(); !errors.Is(err, missing) || !errors.Is(err, aside.ErrAborted) || err.Error() != missing.Error() {
			t.Errorf("%s: %v", name, err)
		}
		if e := s.Entry(testPrefix + "k"); e != nil {
			t.Errorf("%s left %q", name, e)
		}
	}
	n.want("k", 1, aside.SourceLoad)
}

// With FailClosed and a lost release, the record that was written is returned with
// the error.
// Caught: the zero record.
func TestUpdateUnacknowledged(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed })
	down := errors.New("down")
	n.conn.Intercept(func(_ context.Context, op, _ string) error {
		if op == "Release" {
			return down
		}
		return nil
	})
	r, err := n.Update(t.Context(), "k", func(context.Context) (rec, error) { return p.put("k"), nil })
	if !errors.Is(err, aside.ErrUnacknowledged) || r.Version != 2 {
		t.Errorf("%v, %v", r, err)
	}
	n.conn.Intercept(nil)
}

// insert is an INSERT ... RETURNING id, in two steps.
func (p *primary) insert(id string) (insert func() string, commit func() rec) {
	return func() string { return id }, func() rec { return p.put(id) }
}

// A negative entry of an ID that was not used yet is gone from all nodes and tiers
// when Create returns, with and without a transaction.
// Caught: without the invalidation both nodes went on answering "not found".
func TestCreateAfterANegativeEntry(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		for _, l2 := range []bool{true, false} {
			t.Run(fmt.Sprintf("fenced=%v/L2=%v", fenced, l2), func(t *testing.T) {
				var s *asidetest.Server
				p := newPrimary()
				if l2 {
					s = &asidetest.Server{}
				}
				a := newNode(t, p, s)
				nodes := []*node{a}
				if l2 {
					nodes = append(nodes, newNode(t, p, s))
				}
				for _, n := range nodes {
					if _, err := n.Get(t.Context(), "7", p); !errors.Is(err, aside.ErrNotFound) {
						t.Fatal(err)
					}
					n.settled("7")
				}
				loads := p.reads.Load()
				insert, commit := p.insert("7")
				id, r, err := a.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
					id := insert()
					if fenced {
						if err := w.Fence(id); err != nil {
							return id, rec{}, err
						}
					}
					return id, commit(), nil
				})
				if err != nil || id != "7" || r.Version != 1 {
					t.Errorf("Create: %q, %v, %v", id, r, err)
				}
				if v, _ := a.read("7", aside.Default); v != 1 {
					t.Errorf("the creator reads version %d", v)
				}
				for _, n := range nodes {
					n.wantStrong("7", 1)
				}
				if published := l2 && fenced; published != (p.reads.Load() == loads) {
					t.Errorf("%d loads after Create; published: %v", p.reads.Load()-loads, published)
				}
			})
		}
	}
}

// A load that found nothing before the insert must not store that after Create.
// Caught: without the fence or the invalidation its negative entry was stored.
func TestCreateAndALoadUnderWay(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		t.Run(fmt.Sprintf("fenced=%v", fenced), func(t *testing.T) {
			s := &asidetest.Server{}
			p := newPrimary()
			a, b := newNode(t, p, s), newNode(t, p, s)
			g := testsync.NewGate(t)
			p.afterRead = g.First()
			read := testsync.Async(func() error { _, err := b.Get(context.Background(), "7", p); return err })
			testsync.Await(t, "the load that finds nothing", g.Arrived)
			_, _, err := a.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
				if fenced {
					_ = w.Fence("7")
				}
				return "7", p.put("7"), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			g.Open()
			testsync.Await(t, "the read", read)
			b.settled("7")
			b.wantStrong("7", 1)
			a.wantStrong("7", 1)
		})
	}
}

// The process dies between the commit and the release. A fenced key leaves nothing
// old behind. One that was not fenced may leave a negative entry, as documented: for
// NegativeTTL at most.
// Caught: a key of WriteTx.Fence that was not fenced: its negative entry stayed.
func TestCreateAndACrash(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		t.Run(fmt.Sprintf("fenced=%v", fenced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary()
				change := func(o *options) { o.NegativeTTL = 30 * time.Second }
				dead, n := newNode(t, p, s, change), newNode(t, p, s, change)
				_, _ = n.Get(t.Context(), "7", p)
				n.settled("7")
				down := errors.New("down")
				_, _, _ = dead.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
					if fenced {
						_ = w.Fence("7")
					}
					dead.conn.Intercept(func(context.Context, string, string) error { return down })
					return "7", p.put("7"), nil
				})
				r, err := n.Read(t.Context(), "7", p, aside.Strong)
				if found := err == nil && r.Value.Version == 1; found != fenced {
					t.Errorf("found at once: %v", found)
				}
				time.Sleep(31 * time.Second)
				n.wantStrong("7", 1)
				_, _ = dead.Close(t.Context()), n.Close(t.Context())
			})
		})
	}
}

// Another node changes the new record before it is released: nothing is published.
// Caught: a fence put up only after the commit published version 1 over version 2.
func TestCreateAndAnotherWriter(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary()
	a, b := newNode(t, p, s), newNode(t, p, s)
	_, r, err := a.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
		if err := w.Fence("7"); err != nil {
			return "7", rec{}, err
		}
		r := p.put("7")
		b.update("7")
		return "7", r, nil
	})
	if err != nil || r.Version != 1 {
		t.Errorf("%v, %v", r, err)
	}
	a.wantStrong("7", 2)
	b.wantStrong("7", 2)
	if v, _ := a.read("7", aside.Default); v != 2 {
		t.Errorf("a read of the creator: version %d", v)
	}
}

// Fence fails: its error is definite. A function that goes on is not acknowledged, and
// the key is released when L2 answers again.
// Caught: the write returned nil, and the negative entry stayed.
func TestFenceInAWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary()
		n, other := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed }), newNode(t, p, s)
		_, _ = other.Get(t.Context(), "7", p)
		other.settled("7")
		down := errors.New("down")
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fence" {
				return down
			}
			return nil
		})
		_, _, err := n.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
			return "7", rec{}, w.Fence("7")
		})
		if !errors.Is(err, aside.ErrL2Unavailable) || !errors.Is(err, aside.ErrAborted) || n.Stats().WritesUnknown != 0 {
			t.Errorf("rolled back: %v; %d unknown", err, n.Stats().WritesUnknown)
		}
		_, _, err = n.Create(t.Context(), func(_ context.Context, w *writing) (string, rec, error) {
			_ = w.Fence("7")
			return "7", p.put("7"), nil
		})
		if !errors.Is(err, aside.ErrUnacknowledged) {
			t.Errorf("went on: %v", err)
		}
		n.conn.Intercept(nil)
		time.Sleep(3 * time.Second)
		other.wantStrong("7", 1)
		// L2 is known to be down: nothing is begun.
		n.conn.Intercept(func(context.Context, string, string) error { return down })
		for range 20 {
			_ = n.Invalidate(t.Context(), "x")
		}
		_, _, err = n.Create(t.Context(), func(context.Context, *writing) (string, rec, error) {
			t.Error("ran")
			return "", rec{}, nil
		})
		if !errors.Is(err, aside.ErrL2Unavailable) {
			t.Errorf("got %v", err)
		}
		n.conn.Intercept(nil)
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// L2 fails after an insert that was not fenced: the record and its key are returned
// with the error, and L2 is told later. With FailOpen that is no error.
// Caught: no error with FailClosed; the zero record with it.
func TestCreateUnacknowledged(t *testing.T) {
	for _, policy := range []aside.Policy{aside.FailOpen, aside.FailClosed} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary()
				n, other := newNode(t, p, s, func(o *options) { o.OnL2Down = policy }), newNode(t, p, s)
				_, _ = other.Get(t.Context(), "7", p)
				other.settled("7")
				down := errors.New("down")
				id, r, err := n.Create(t.Context(), func(context.Context, *writing) (string, rec, error) {
					n.conn.Intercept(func(context.Context, string, string) error { return down })
					return "7", p.put("7"), nil
				})
				if id != "7" || r.Version != 1 || errors.Is(err, aside.ErrUnacknowledged) != (policy == aside.FailClosed) {
					t.Errorf("%q, %v, %v", id, r, err)
				}
				n.conn.Intercept(nil)
				time.Sleep(3 * time.Second)
				other.wantStrong("7", 1)
				_, _ = n.Close(t.Context()), other.Close(t.Context())
			})
		})
	}
}
