package aside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

type writing = aside.WriteTx[string, rec]

func TestWritePublishes(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")
	a.update("k")
	a.want("k", 2, aside.SourceL1)
	b.want("k", 2, aside.SourceL2)
	b.wantStrong("k", 2)

	err := a.Write(t.Context(), "k", func(_ context.Context, w *writing) error { p.del("k"); w.PublishAbsent("k"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for n, from := range map[*node]aside.Source{a: aside.SourceL1, b: aside.SourceL2} {
		if r, err := n.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, aside.ErrNotFound) || r.Source != from {
			t.Errorf("deleted record: %+v, %v; want absent from %v", r, err, from)
		}
	}
	if st := a.Stats(); st.Writes != 2 || st.Fences != 2 || st.Published != 2 || st.FencesLost != 0 {
		t.Errorf("%+v", st)
	}
}

func TestWriteWithoutPublishRemoves(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		if err := n.Write(t.Context(), "k", func(context.Context, *writing) error { p.put("k"); return nil }); err != nil {
			t.Fatal(err)
		}
		n.want("k", 2, aside.SourceLoad)
	})
}

// One write of several keys: all fenced before it runs, all released after.
func TestWriteOfSeveralKeys(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("a", "b", "c")
	n, m := newNode(t, p, s), newNode(t, p, s)
	for _, k := range []string{"a", "b", "c"} {
		m.want(k, 1, aside.SourceLoad)
		m.settled(k)
	}
	err := n.WriteMany(t.Context(), []string{"a", "b", "a"}, func(_ context.Context, w *writing) error {
		for _, k := range []string{"a", "b"} {
			if e := s.Entry(testPrefix + k); len(e) == 0 || e[0] != 'F' {
				t.Errorf("%s is not fenced while the write runs: %q", k, e)
			}
		}
		w.Publish("a", p.put("a"))
		p.put("b")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.want("a", 2, aside.SourceL2)
	m.want("b", 2, aside.SourceLoad)
	m.want("c", 1, aside.SourceL1)
	if got := n.conn.Calls("Fence"); got != 2 {
		t.Errorf("%d keys fenced, want 2: a repeated key counts once", got)
	}
}

func TestWriteMisuse(t *testing.T) {
	n := newNode(t, newPrimary(), nil)
	if err := n.WriteMany(t.Context(), nil, func(context.Context, *writing) error { t.Error("ran"); return nil }); err == nil {
		t.Error("a write of no keys succeeded")
	}
	func() {
		defer func() {
			if p, _ := recover().(string); !strings.Contains(p, "not one of the keys") {
				t.Errorf("publishing a foreign key: %v", p)
			}
		}()
		_ = n.Write(t.Context(), "k", func(_ context.Context, w *writing) error { w.Publish("other", rec{}); return nil })
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Write(ctx, "k", func(context.Context, *writing) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A refused write makes the key readable again at once.
func TestAbortedWriteReleasesAtOnce(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	conflict := errors.New("conflict")
	err := n.Write(t.Context(), "k", func(_ context.Context, w *writing) error {
		w.Publish("k", rec{"k", 99}) // is not stored: nothing was written
		return aside.Aborted(conflict)
	})
	if !errors.Is(err, conflict) || !errors.Is(err, aside.ErrAborted) || err.Error() != "conflict" {
		t.Errorf("got %v", err)
	}
	if e := s.Entry(testPrefix + "k"); e != nil {
		t.Errorf("entry after an aborted write: %q", e)
	}
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	n.want("k", 1, aside.SourceL1)
	if aside.Aborted(nil) != nil {
		t.Error("Aborted(nil) is not nil")
	}
}

// The outcome is unknown, and the primary applies the write later: nothing that
// was read before may be stored. Caught: releasing the fence on any error lets
// version 1 be cached for its whole TTL.
func TestUnknownOutcomeKeepsTheFence(t *testing.T) {
	for name, write := range map[string]func(ctx context.Context) error{
		"error":    func(context.Context) error { return errors.New("connection lost") },
		"deadline": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"panic":    func(context.Context) error { panic("boom") },
		"goexit":   func(context.Context) error { runtime.Goexit(); return nil },
	} {
		for _, l2 := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var s *asidetest.Server
				if l2 {
					s = &asidetest.Server{}
				}
				p := newPrimary("k")
				n := newNode(t, p, s, func(o *options) { o.WriteTimeout, o.FenceTTL = 2*time.Second, 6*time.Second })
				m := n
				if l2 {
					m = newNode(t, p, s)
				}
				start := time.Now()
				done := make(chan error, 1)
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					done <- n.Write(context.Background(), "k", func(ctx context.Context, _ *writing) error { return write(ctx) })
				}()
				if err := <-done; (name == "error" || name == "deadline") && err == nil {
					t.Errorf("%s: the write's error is gone", name)
				}
				m.want("k", 1, aside.SourceLoad)
				synctest.Wait()
				time.Sleep(time.Until(start.Add(5 * time.Second)))
				p.put("k") // the primary applies it only now
				if v, _ := m.read("k", aside.Default); v != 2 {
					t.Errorf("%s: default read of version %d", name, v)
				}
				synctest.Wait()
				if v, _ := m.read("k", aside.Strong); v != 2 {
					t.Errorf("%s: strong read of version %d", name, v)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				m.read("k", aside.Default)
				synctest.Wait()
				m.want("k", 2, aside.SourceL1) // cached again once the fence has ended
				if st := n.Stats(); st.WritesUnknown != 1 {
					t.Errorf("%s: %d writes counted as unknown", name, st.WritesUnknown)
				}
				_, _ = n.Close(t.Context()), m.Close(t.Context())
			})
		}
	}
}

// P5: a process dies between fence and commit, and between commit and release.
// Its fence ends at its own time; until then everybody reads the primary, and
// nothing stale is stored.
func TestCrashedWriterLeavesNothingStale(t *testing.T) {
	for _, committed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &asidetest.Server{}
			p := newPrimary("k")
			dead, alive := newNode(t, p, s), newNode(t, p, s)
			alive.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			crash := make(chan struct{})
			dead.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Release" {
					return errors.New("crashed")
				}
				return nil
			})
			go func() {
				_ = dead.Write(context.Background(), "k", func(context.Context, *writing) error {
					if committed {
						p.put("k")
					}
					<-crash
					return aside.Aborted(errors.New("crashed"))
				})
			}()
			synctest.Wait()
			want := 1
			if committed {
				want = 2
			}
			alive.wantStrong("k", want)
			alive.want("k", want, aside.SourceLoad)
			time.Sleep(11 * time.Second) // FenceTTL is 10s
			alive.want("k", want, aside.SourceLoad)
			synctest.Wait()
			alive.want("k", want, aside.SourceL1)
			close(crash)
			synctest.Wait()
			_, _ = dead.Close(t.Context()), alive.Close(t.Context())
		})
	}
}

// A node is paused in its write for longer than its fence, and others cache the
// old record meanwhile. Its release must end that. Caught: a release that does
// nothing without its fence.
func TestWriteThatOutlivesItsFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		slow, other := newNode(t, p, s), newNode(t, p, s)
		done := make(chan error, 1)
		go func() {
			done <- slow.Write(context.Background(), "k", func(_ context.Context, w *writing) error {
				time.Sleep(30 * time.Second) // does not heed its deadline
				w.Publish("k", p.put("k"))
				return nil
			})
		}()
		time.Sleep(20 * time.Second)
		other.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		other.want("k", 1, aside.SourceL1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		other.wantStrong("k", 2)
		synctest.Wait()
		if v, _ := other.read("k", aside.Default); v != 2 {
			t.Errorf("default read of version %d", v)
		}
		if st := slow.Stats(); st.FencesLost != 1 || st.Published != 0 {
			t.Errorf("%d fences lost, %d published", st.FencesLost, st.Published)
		}
		_, _ = slow.Close(t.Context()), other.Close(t.Context())
	})
}

// The same, and then the node does not learn what became of its write: the
// primary applied it, but when the fence had ended. Caught: leaving such a write
// alone keeps version 1 in both tiers for its TTL; releasing it at once lets
// nodes store version 1 while the primary may yet apply it; not dropping L1 with
// the release leaves version 1 in the writer's own.
func TestUnknownWriteIsReleasedAfterItsFence(t *testing.T) {
	for name, wait := range map[string]time.Duration{"late": 15 * time.Second, "in time": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := &asidetest.Server{}
			p := newPrimary("k")
			n, other := newNode(t, p, s), newNode(t, p, s)
			n.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Release" {
					n.read("k", aside.Default)
				}
				return nil
			})
			done := make(chan error, 1)
			start := time.Now()
			go func() {
				done <- n.Write(context.Background(), "k", func(context.Context, *writing) error {
					time.Sleep(wait) // paused, its deadline with it
					p.put("k")
					return errors.New("connection lost")
				})
			}()
			for _, at := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 9 * time.Second, 12 * time.Second} { // FenceTTL is 10s
				time.Sleep(time.Until(start.Add(at)))
				v, info := other.read("k", aside.Default)
				synctest.Wait()
				if e := s.Entry(testPrefix + "k"); at < 10*time.Second && (info.Source != aside.SourceLoad || e[0] != 'F') {
					t.Errorf("%s: after %v version %d from %v, and in L2 %q; the fence stands until 10s", name, at, v, info.Source, e)
				}
			}
			time.Sleep(time.Until(start.Add(14 * time.Second)))
			if _, info := other.read("k", aside.Default); info.Source != aside.SourceL1 {
				t.Errorf("%s: not cached again after the fence: %v", name, info.Source)
			}
			if err := <-done; err == nil {
				t.Errorf("%s: the write's error is gone", name)
			}
			time.Sleep(2 * time.Second)
			for _, m := range []*node{n, other} {
				if v, _ := m.read("k", aside.Default); v != 2 {
					t.Errorf("%s: default read of version %d", name, v)
				}
				m.wantStrong("k", 2)
			}
			_, _ = n.Close(t.Context()), other.Close(t.Context())
		})
	}
}

// Fences end in the order in which their writes began, whichever ended first.
// Caught: a list in the order of the writes' ends, which makes the first key
// wait for the second's fence.
func TestUnknownWritesAreReleasedInTheOrderOfTheirFences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("first", "second"), &asidetest.Server{})
		start := time.Now()
		var mu sync.Mutex
		released := map[string]time.Duration{}
		n.conn.Intercept(func(_ context.Context, op, key string) error {
			if op == "Release" {
				mu.Lock()
				defer mu.Unlock()
				released[strings.TrimPrefix(key, testPrefix)] = time.Since(start)
			}
			return nil
		})
		write := func(key string, d time.Duration) {
			_ = n.Write(context.Background(), key, func(context.Context, *writing) error { time.Sleep(d); return errDown })
		}
		go write("first", 5*time.Second)
		time.Sleep(4 * time.Second)
		write("second", 0)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		for key, fence := range map[string]time.Duration{"first": 10 * time.Second, "second": 14 * time.Second} {
			if at := released[key]; at < fence || at > fence+2*time.Second {
				t.Errorf("%s was released after %v, its fence ended after %v", key, at, fence)
			}
		}
		mu.Unlock()
		_ = n.Close(t.Context())
	})
}

// L1 takes a record in just before the fence of its own node is put, which ends
// the tracking of the key; while that write runs, another node's is acknowledged.
// Found by the model. Caught: dropping L1 before the fence alone.
func TestL1FilledBeforeOwnFenceIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, other := newNode(t, p, s), newNode(t, p, s)
		other.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fence" {
				n.want("k", 1, aside.SourceL2)
				n.want("k", 1, aside.SourceL1)
			}
			return nil
		})
		_ = n.Write(t.Context(), "k", func(context.Context, *writing) error {
			other.update("k")
			n.want("k", 2, aside.SourceLoad)
			return nil
		})
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// A write outlives its fence, and its own node's L1 takes the old record in
// between the commit and the release, which removes it from L2 without telling
// the node that did it. Found by the model. Caught: dropping L1 after the commit
// alone leaves version 1 there for its TTL.
func TestL1FilledBeforeALateReleaseIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, other := newNode(t, p, s), newNode(t, p, s)
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Release" {
				n.want("k", 1, aside.SourceL2)
				n.want("k", 1, aside.SourceL1)
			}
			return nil
		})
		if err := n.Write(t.Context(), "k", func(context.Context, *writing) error {
			time.Sleep(11 * time.Second) // FenceTTL is 10s
			other.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			p.put("k")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		n.want("k", 2, aside.SourceLoad)
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

func TestInvalidateReachesAllNodes(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k", "other")
	a, b := newNode(t, p, s), newNode(t, p, s)
	for _, k := range []string{"k", "other"} {
		a.read(k, aside.Default)
		a.settled(k)
		b.read(k, aside.Default)
	}
	p.put("k")
	if err := a.Invalidate(t.Context(), "k", "k"); err != nil {
		t.Fatal(err)
	}
	a.want("k", 2, aside.SourceLoad)
	a.settled("k")
	b.want("k", 2, aside.SourceL2)
	b.want("other", 1, aside.SourceL1)
	if err := a.Invalidate(t.Context()); err != nil {
		t.Errorf("nothing to invalidate: %v", err)
	}
}

func TestClear(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("a", "b")
	n, m := newNode(t, p, s), newNode(t, p, s)
	for _, k := range []string{"a", "b"} {
		n.read(k, aside.Default)
		n.settled(k)
		m.read(k, aside.Default)
		p.put(k)
	}
	if err := n.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a", "b"} {
		if v, _ := m.read(k, aside.Default); v != 2 {
			t.Errorf("%s: version %d after Clear", k, v)
		}
	}
}

// Writes that were refused leave nothing to remember. Caught: they fill MaxPending,
// and the whole cache is cleared.
func TestBoundsRefusedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("hot"), s, func(o *options) { o.OnL2Down, o.MaxPending = aside.FailClosed, 100 })
		n.read("hot", aside.Default)
		time.Sleep(time.Second)
		n.conn.Intercept(func(context.Context, string, string) error { return errDown })
		for i := range 300 {
			err := n.Write(t.Context(), fmt.Sprint("w", i), func(context.Context, *writing) error { t.Error("ran"); return nil })
			if !errors.Is(err, aside.ErrL2Unavailable) {
				t.Fatal(err)
			}
		}
		if st := n.Stats(); st.Pending > 5 || st.PendingOverflows != 0 {
			t.Errorf("%d pending, %d overflows", st.Pending, st.PendingOverflows)
		}
		n.conn.Intercept(nil)
		time.Sleep(10 * time.Second)
		if n.conn.Calls("Clear") != 0 || s.Entry(testPrefix+"hot") == nil {
			t.Error("the cache was cleared")
		}
	})
}

// Of a write function that panics nobody knows what the primary has done: its keys stay
// fenced, whatever DefiniteError says of errors. Caught: a callback that was asked.
func TestPanicIsNotDefinite(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.DefiniteError = func(error) bool { return true } })
		func() {
			defer func() { _ = recover() }()
			_ = n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { panic("after the commit") })
		}()
		if got := n.Stats().WritesUnknown; got != 1 {
			t.Errorf("%d writes of unknown outcome, want 1", got)
		}
	})
}

// A write error that DefiniteError knows releases the key at once; one that it does
// not know keeps it fenced, and says so.
func TestDefiniteError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conflict := errors.New("unique violation")
		var log bytes.Buffer
		n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) {
			o.DefiniteError = func(err error) bool { return errors.Is(err, conflict) }
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		fail := func(err error) {
			if got := n.Write(t.Context(), "k", func(context.Context, *writing) error { return err }); !errors.Is(got, err) {
				t.Errorf("got %v", got)
			}
		}
		fail(fmt.Errorf("insert: %w", conflict))
		if r, _ := n.Read(t.Context(), "k", n.p, aside.Default); r.Miss != aside.MissAbsent {
			t.Errorf("after a definite error: %v", r.Miss)
		}
		if log.Len() > 0 {
			t.Errorf("log: %s", log.String())
		}
		fail(errDown)
		for range 3 {
			if r, _ := n.Read(t.Context(), "k", n.p, aside.Default); r.Miss != aside.MissFenced {
				t.Errorf("after an unknown outcome: %v", r.Miss)
			}
		}
		fail(errDown)
		if strings.Count(log.String(), "outcome of a write is not known") != 1 || !strings.Contains(log.String(), errDown.Error()) {
			t.Errorf("log: %s", log.String())
		}
	})
}

// A write whose context ends while its fence is put up is not begun, and leaves no
// fence. Caught: the write function called with a context that has ended.
func TestContextEndsWhileFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s)
		ctx, cancel := context.WithCancel(t.Context())
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fence" {
				cancel()
			}
			return nil
		})
		err := n.Write(ctx, "k", func(context.Context, *writing) error { t.Error("called"); return nil })
		if !errors.Is(err, context.Canceled) || s.Entry(testPrefix+"k") != nil || n.Stats().WritesUnknown != 0 {
			t.Errorf("%v; left %q; %d unknown", err, s.Entry(testPrefix+"k"), n.Stats().WritesUnknown)
		}
	})
}

// A key that could not be fenced stays so for its write. Caught: nil for the second try,
// which had put up no fence.
func TestFenceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) { o.OnL2Down = aside.FailClosed })
		defer closeAll(n)
		_ = n.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			n.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Fence" {
					return driver.ErrRefused
				}
				return nil
			})
			first := w.Fence("l")
			n.conn.Intercept(nil)
			again := w.Fence("m", "l")
			if !errors.Is(first, aside.ErrL2Unavailable) || !errors.Is(again, aside.ErrL2Unavailable) {
				t.Errorf("%v, and again %v", first, again)
			}
			return again
		})
	})
}
