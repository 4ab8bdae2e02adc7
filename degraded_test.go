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
)

var errDown = errors.New("connection refused")

// down makes every operation of the node's L2 fail at once.
func (n *node) down() {
	n.conn.Intercept(func(context.Context, string, string) error { return errDown })
}

// silent makes them hang until their timeout.
func (n *node) silent() {
	n.conn.Intercept(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
}

func (n *node) up() { n.conn.Intercept(nil) }

// P6: reads go on, the added time is a few timeouts in all, then the breaker
// opens; state is visible; recovery needs nobody. Caught: no breaker makes
// each of the 50 reads wait its 100ms.
func TestReadsGoOnWhileL2IsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary()
		var log bytes.Buffer
		n := newNode(t, p, s, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		n.silent()
		start := time.Now()
		for i := range 50 {
			k := fmt.Sprint("k", i)
			p.put(k)
			n.want(k, 1, aside.SourceLoad)
		}
		if d := time.Since(start); d > 500*time.Millisecond {
			t.Errorf("50 reads took %v longer, want at most 5 timeouts of 100ms", d)
		}
		st := n.Stats()
		if !st.Degraded || !strings.Contains(st.DegradedReason, "deadline") || st.L2Errors < 5 || st.L2Errors > 6 {
			t.Errorf("state: %v %q, %d errors", st.Degraded, st.DegradedReason, st.L2Errors)
		}
		if !strings.Contains(log.String(), "L2 unavailable") {
			t.Errorf("log: %s", log.String())
		}
		n.want("k0", 1, aside.SourceL1) // kept for a moment
		time.Sleep(1100 * time.Millisecond)
		n.want("k0", 1, aside.SourceLoad) // not trusted for longer, since nobody tells of changes
		n.up()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := n.Stats(); st.Degraded {
			t.Errorf("still degraded: %s", st.DegradedReason)
		}
		n.want("k0", 1, aside.SourceLoad)
		synctest.Wait()
		n.wantStrong("k0", 1)
		if !strings.Contains(log.String(), "in use again") {
			t.Errorf("log: %s", log.String())
		}
		_ = n.Close(t.Context())
	})
}

// One master of a cluster stays down while the others are back: what was written
// to its keys does not hold up what the others must be told. Caught: a recovery
// that began with the oldest write each time never came past the first 256.
func TestStuckKeyDoesNotBlockDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("kept")
		n, m := newNode(t, p, s), newNode(t, p, s)
		m.want("kept", 1, aside.SourceLoad)
		synctest.Wait()
		n.down()
		const dead = 2000
		for i := range dead {
			k := fmt.Sprint("dead", i)
			p.put(k)
			n.update(k)
		}
		n.update("kept")
		n.conn.Intercept(func(_ context.Context, _, key string) error {
			if strings.HasPrefix(key, testPrefix+"dead") {
				return errDown
			}
			return nil
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := n.Stats(); st.Pending != dead {
			t.Errorf("%d pending, want those of the dead master, %d", st.Pending, dead)
		}
		m.want("kept", 2, aside.SourceLoad)
		n.up()
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := n.Stats(); st.Pending != 0 || st.Degraded {
			t.Errorf("%d pending once all are back, degraded: %s", st.Pending, st.DegradedReason)
		}
	})
}

// Writes while L2 is down, FailOpen: they succeed, this node reads its own
// writes at once, and the other nodes' L2 is corrected, in order, once it can be
// reached. Caught: forgetting the keys leaves version 1 in L2 for its TTL;
// reading L2 before it was told gives the writer version 1.
func TestFailOpenRemembersAndInvalidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("a", "b", "c")
		n, m := newNode(t, p, s), newNode(t, p, s)
		for _, k := range []string{"a", "b", "c"} {
			m.want(k, 1, aside.SourceLoad)
		}
		synctest.Wait()
		n.down()
		for _, k := range []string{"b", "a", "b"} {
			n.update(k)
		}
		n.want("a", 2, aside.SourceLoad)
		n.want("b", 3, aside.SourceLoad)
		if st := n.Stats(); st.Pending != 2 || !st.Degraded {
			t.Errorf("%d pending, degraded %v", st.Pending, st.Degraded)
		}
		m.want("a", 1, aside.SourceL1) // it cannot know, as documented

		var mu sync.Mutex
		var told []string
		n.conn.Intercept(func(_ context.Context, op, key string) error {
			if op == "Release" {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, strings.TrimPrefix(key, testPrefix))
			}
			return nil
		})
		n.want("b", 3, aside.SourceL1) // its own degraded copy, or the primary: never L2's version 1
		n.wantStrong("b", 3)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := strings.Join(told, " "); got != "a b" {
			t.Errorf("told L2 of %q, want the keys in the order of their last write", got)
		}
		if st := n.Stats(); st.Pending != 0 || st.Degraded {
			t.Errorf("%d pending, degraded %v: %s", st.Pending, st.Degraded, st.DegradedReason)
		}
		for k, v := range map[string]int{"a": 2, "b": 3, "c": 1} {
			m.wantStrong(k, v)
			if got, _ := m.read(k, aside.Default); got != v {
				t.Errorf("%s: other node reads version %d, want %d", k, got, v)
			}
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// A key that is being written without a fence must not be told of before its
// commit. Caught: pending keys sent while the write runs.
func TestKeyIsNotDeliveredDuringItsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		n.down()
		commit := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- n.Write(context.Background(), "k", func(context.Context, *writing) error { <-commit; p.put("k"); return nil })
		}()
		synctest.Wait()
		n.up()
		time.Sleep(2 * time.Second)
		m.want("k", 1, aside.SourceLoad) // L2 now holds version 1
		synctest.Wait()
		close(commit)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.wantStrong("k", 2)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		m.wantStrong("k", 2)
		if st := n.Stats(); st.Pending != 0 {
			t.Errorf("%d pending", st.Pending)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// More keys than can be remembered: the whole cache is cleared instead, and
// bypassed until then. Caught: dropping the oldest keys.
func TestPendingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("x")
		n, m := newNode(t, p, s, func(o *options) { o.MaxPending = 3 }), newNode(t, p, s)
		keys := []string{"a", "b", "c", "d", "e", "x"}
		for _, k := range keys {
			p.put(k)
			m.read(k, aside.Default)
		}
		synctest.Wait()
		n.down()
		for _, k := range keys[:5] {
			n.update(k)
		}
		if st := n.Stats(); st.Pending > 4 {
			t.Errorf("%d pending, bound is 3", st.Pending)
		}
		n.up()
		for _, k := range keys[:5] {
			n.wantStrong(k, 2)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := n.Stats(); st.Pending != 0 || st.Degraded {
			t.Errorf("%d pending, degraded %v", st.Pending, st.Degraded)
		}
		for _, k := range keys[:5] {
			m.wantStrong(k, 2)
		}
		n.update("a") // single keys are remembered again
		n.down()
		n.update("a")
		if st := n.Stats(); st.Pending != 1 {
			t.Errorf("%d pending", st.Pending)
		}
		n.up()
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

func TestFailClosedRefusesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k", "l")
		n := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed })
		fences := 0
		n.conn.Intercept(func(_ context.Context, op, key string) error {
			if op == "Fence" {
				if fences++; fences == 2 {
					return errDown
				}
			}
			return nil
		})
		err := n.WriteMany(t.Context(), []string{"k", "l"}, func(context.Context, *writing) error { t.Error("the write ran"); return nil })
		if !errors.Is(err, aside.ErrL2Unavailable) || !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
		for _, k := range []string{"k", "l"} {
			if e := s.Entry(testPrefix + k); e != nil {
				t.Errorf("%s stays fenced: %q", k, e)
			}
		}
		n.down()
		if err := n.Invalidate(t.Context(), "k"); !errors.Is(err, aside.ErrL2Unavailable) {
			t.Errorf("Invalidate: %v", err)
		}
		if err := n.Clear(t.Context()); !errors.Is(err, aside.ErrL2Unavailable) {
			t.Errorf("Clear: %v", err)
		}
		n.want("k", 1, aside.SourceLoad)
		n.up()
		time.Sleep(3 * time.Second)
		n.update("k")
		n.wantStrong("k", 2)
		_ = n.Close(t.Context())
	})
}

// FailClosed: a write whose release L2 did not confirm is not acknowledged. Here
// L2 loses its memory in the middle of the write, so nothing forbids the other
// node to store what it read before the commit. Caught: acknowledging while the
// fence should still stand gives a strong read of version 1 after it.
func TestFailClosedAndALostRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, other := newNode(t, p, s, func(o *options) { o.OnL2Down = aside.FailClosed }), newNode(t, p, s)
		err := n.Write(t.Context(), "k", func(context.Context, *writing) error {
			s.Flush()
			other.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			p.put("k")
			n.down()
			return nil
		})
		if !errors.Is(err, aside.ErrUnacknowledged) || !errors.Is(err, errDown) {
			v, _ := other.read("k", aside.Strong)
			t.Errorf("the write returned %v, and then a strong read version %d", err, v)
		}
		n.wantStrong("k", 2)
		n.up()
		time.Sleep(3 * time.Second)
		other.wantStrong("k", 2)
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// A lease granted by an answer that got lost is given back when L2 answers
// again. Caught: without it the other node waits for the lease's 6.2s.
func TestOrphanedLeaseIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		var lost atomic.Bool
		n.conn.Answer(func(op, _ string) error { // done, but the answer is lost
			if op == "Acquire" && lost.CompareAndSwap(false, true) {
				return context.DeadlineExceeded
			}
			return nil
		})
		n.want("k", 1, aside.SourceLoad)
		if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'L' {
			t.Fatalf("entry %q, want the orphaned lease", e)
		}
		start := time.Now()
		m.want("k", 1, aside.SourceLoad)
		if d := time.Since(start); d > time.Second {
			t.Errorf("the other node waited %v", d)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// An L2 that refuses single operations, as Redis does when out of memory, or fails
// for one key alone, is still read, and the breaker stays closed. Caught: counting
// either as failures answers "old" from the primary; an entry that a script cannot
// read takes L2 from a node for a second of every six.
func TestRefusalsDoNotOpenTheBreaker(t *testing.T) {
	for why, kind := range map[string]error{"OOM": aside.ErrL2Refused, "malformed": aside.ErrL2Key} {
		s := &asidetest.Server{}
		p := newPrimary("old", "new")
		n := newNode(t, p, s, func(o *options) { o.L1Size = -1 })
		n.want("old", 1, aside.SourceLoad)
		n.settled("old")
		n.conn.Intercept(func(_ context.Context, _, key string) error {
			if key == testPrefix+"new" {
				return fmt.Errorf("%w: %s", kind, why)
			}
			return nil
		})
		for range 10 {
			n.want("new", 1, aside.SourceLoad)
		}
		n.want("old", 1, aside.SourceL2)
		if st := n.Stats(); !st.Degraded || !strings.Contains(st.DegradedReason, why) {
			t.Errorf("degraded %v: %q, want %q", st.Degraded, st.DegradedReason, why)
		}
		n.conn.Intercept(nil)
	}
}

// P3: when changes may have been missed, L1 is emptied.
func TestLostConnectionEmptiesL1(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	a.want("k", 1, aside.SourceLoad)
	a.settled("k")
	a.want("k", 1, aside.SourceL1)
	a.conn.Disconnect()
	b.update("k")
	a.want("k", 2, aside.SourceL2)
	if st := a.Stats(); st.L1Flushes != 1 {
		t.Errorf("%d flushes", st.L1Flushes)
	}
}

// Close tells L2 what it does not know, or says that it could not.
func TestCloseDrainsPending(t *testing.T) {
	for _, reachable := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := &asidetest.Server{}
			p := newPrimary("k")
			n, m := newNode(t, p, s), newNode(t, p, s)
			m.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			n.down()
			n.update("k")
			if reachable {
				n.up()
			}
			err := n.Close(t.Context())
			if reachable {
				if err != nil {
					t.Errorf("Close: %v", err)
				}
				m.wantStrong("k", 2)
			} else if !errors.Is(err, aside.ErrL2Unavailable) || !strings.Contains(err.Error(), "1 written keys") {
				t.Errorf("Close with L2 down: %v", err)
			}
			_ = m.Close(t.Context())
		})
	}
}

func TestHooks(t *testing.T) {
	var mu sync.Mutex
	ops, loads, failed := map[string]int{}, 0, 0
	p := newPrimary("k")
	n := newNode(t, p, &asidetest.Server{}, func(o *options) {
		o.OnL2 = func(op string, _ time.Duration, _ error) { mu.Lock(); ops[op]++; mu.Unlock() }
		o.OnLoad = func(_ time.Duration, err error) {
			mu.Lock()
			loads++
			if err != nil {
				failed++
			}
			mu.Unlock()
		}
	})
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	n.update("k")
	_, _ = n.Get(t.Context(), "absent", p)
	n.settled("absent")
	p.fail(errDown)
	_, _ = n.Get(t.Context(), "x", p)
	n.settled("x")
	mu.Lock()
	defer mu.Unlock()
	for op, want := range map[string]int{"acquire": 3, "fill": 2, "fence": 1, "release": 1, "abandon": 1} {
		if ops[op] != want {
			t.Errorf("%s: told of %d, want %d", op, ops[op], want)
		}
	}
	if loads != 3 || failed != 1 {
		t.Errorf("told of %d loads, %d failed; want 3 and 1", loads, failed)
	}
}

// The fence is lost with Redis' data during the write, others cache the old
// record, and then the release fails too. Caught: a failed release that is not
// remembered leaves version 1 in L2.
func TestFailedReleaseIsRedelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		var restored atomic.Bool
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Release" && !restored.Load() {
				return errDown
			}
			return nil
		})
		err := n.Write(t.Context(), "k", func(context.Context, *writing) error {
			s.Flush()
			m.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			p.put("k")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		n.want("k", 2, aside.SourceLoad) // its own writes it sees at once
		restored.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		m.wantStrong("k", 2)
		if v, _ := m.read("k", aside.Default); v != 2 {
			t.Errorf("default read of version %d", v)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// A write without a fence whose outcome is unknown: L2 is told when the primary
// can no longer apply it, and this node reads the primary until then. Caught:
// telling L2 at once leaves version 1 there.
func TestUnfencedWriteOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		n.down()
		if err := n.Write(t.Context(), "k", func(context.Context, *writing) error { return errors.New("timeout") }); err == nil {
			t.Error("the write's error is gone")
		}
		n.up()
		time.Sleep(4 * time.Second)
		m.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		p.put("k") // applied only now
		n.wantStrong("k", 2)
		time.Sleep(8 * time.Second) // FenceTTL is 10s
		synctest.Wait()
		m.wantStrong("k", 2)
		if st := n.Stats(); st.Pending != 0 {
			t.Errorf("%d pending", st.Pending)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// A fence that L2 put there although its answer was lost is lifted when L2
// answers again. Caught: telling L2 of the key with an invalidation, which leaves
// fences, keeps it out of the cache for FenceTTL.
func TestFenceWithALostAnswerIsLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		n.conn.Answer(func(op, _ string) error {
			if op == "Fence" {
				return context.DeadlineExceeded
			}
			return nil
		})
		n.update("k")
		time.Sleep(time.Second)
		synctest.Wait()
		m.want("k", 2, aside.SourceLoad)
		synctest.Wait()
		m.want("k", 2, aside.SourceL1)
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// The breaker opens while a load runs under a lease: its fill is not even sent,
// and the lease is given back when L2 answers again. Found under load, as single
// reads that took five seconds. Caught: remembering only leases whose fill failed
// on the way keeps the other node waiting for the lease's end.
func TestLeaseHeldWhileTheBreakerOpensIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, m := newNode(t, p, s), newNode(t, p, s)
		g := testsync.NewGate(t)
		p.beforeRead = g.First()
		done := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		<-g.Arrived // the lease is granted
		n.down()
		for i := range 5 {
			_, _ = n.Get(t.Context(), fmt.Sprint("other", i), p)
		}
		g.Open()
		<-done
		synctest.Wait()
		if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'L' {
			t.Fatalf("entry %q, want the lease", e)
		}
		n.up()
		start := time.Now()
		m.want("k", 1, aside.SourceLoad)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("the other node waited %v", d)
		}
		_, _ = n.Close(t.Context()), m.Close(t.Context())
	})
}

// An L2 that answers, but too late for operations, must stay left alone. Found
// with a delayed connection to a real Redis. Caught: a probe with more time than
// operations have, after which the breaker closes for the next five to time out.
func TestSlowL2DoesNotCloseTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		var log bytes.Buffer
		n := newNode(t, p, &asidetest.Server{}, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		n.conn.Intercept(func(ctx context.Context, _, _ string) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for range 5 {
			n.wantStrong("k", 1)
		}
		time.Sleep(20 * time.Second) // of fake time, in which nobody reads
		synctest.Wait()
		if s := n.Stats(); !s.Degraded || strings.Contains(log.String(), "in use again") {
			t.Errorf("degraded %v: %s", s.Degraded, log.String())
		}
		n.conn.Intercept(nil)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := n.Stats(); s.Degraded || !strings.Contains(log.String(), "in use again") {
			t.Errorf("degraded %v: %s", s.Degraded, log.String())
		}
		_ = n.Close(t.Context())
	})
}

// A bulk read of large values has the time that they take: the timeout grows with what
// is expected, by what was found or stored before. Caught: 64 values of 1 MiB that had
// to come within one L2Timeout, so that each such read cost the breaker a failure, and
// the primary all keys.
func TestBoundsTimeOfLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 16
		large := strings.Repeat("v", 1<<20-100)
		s := &asidetest.Server{}
		loads := 0
		bulk := aside.BulkLoaderFunc[string, string](func(_ context.Context, keys []string) (map[string]string, error) {
			loads++
			out := map[string]string{}
			for _, k := range keys {
				out[k] = large
			}
			return out, nil
		})
		open := func() (*aside.Cache[string, string], *asidetest.Client) {
			conn := s.NewClient()
			c, err := aside.New(aside.Options[string, string]{Name: "large", L2: conn, L1Size: -1, CompressAbove: -1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return c, conn
		}
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprint(i))
		}
		a, _ := open()
		if _, err := a.GetMany(t.Context(), keys, bulk); err != nil || loads != 1 {
			t.Fatal(loads, err)
		}
		synctest.Wait()
		b, conn := open()
		conn.Intercept(func(ctx context.Context, op, _ string) error {
			if op != "Acquire" {
				return nil
			}
			select { // so long does each of them take
			case <-time.After(60 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		for _, ask := range [][]string{keys[:1], keys} {
			if got, err := b.GetMany(t.Context(), ask, bulk); err != nil || len(got) != len(ask) {
				t.Fatalf("%d of %d, %v", len(got), len(ask), err)
			}
		}
		if st := b.Stats(); st.L2Errors != 0 || loads != 1 {
			t.Errorf("%d errors of L2, %d loads; want 0 and 1", st.L2Errors, loads)
		}
		for _, c := range []*aside.Cache[string, string]{a, b} {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
