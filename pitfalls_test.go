package aside_test

// One test for each point at which a well-known library is known to go wrong.
// Interleavings are forced with gates. Each test says what it caught when the
// code was broken on purpose.

import (
	"context"
	"errors"
	"fmt"
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

func bothModes(t *testing.T, f func(t *testing.T, s *asidetest.Server)) {
	t.Run("L1", func(t *testing.T) { f(t, nil) })
	t.Run("L1+L2", func(t *testing.T) { f(t, &asidetest.Server{}) })
}

// A follower must not take a load that read before a write acknowledged before
// the follower began. Caught: Join without the generation.
func TestFollowerDoesNotJoinALoadFromBeforeTheWrite(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		defer g.Open()
		p.afterRead = g.First()

		leader := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		testsync.Await(t, "the leader's load has read version 1", g.Arrived)
		n.update("k")
		follower := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		if v := testsync.Await(t, "the follower", follower); v != 2 {
			t.Errorf("a read that began after the write was acknowledged got version %d", v)
		}
		g.Open()
		if v := testsync.Await(t, "the leader", leader); v != 1 {
			t.Errorf("leader got version %d", v)
		}
		n.settled("k")
		if v, _ := n.read("k", aside.Default); v != 2 {
			t.Errorf("the late fill won: version %d", v)
		}
		n.wantStrong("k", 2)
	})
}

// The same across nodes: the write is another node's, which the local
// generation may not have heard of. A strong follower that shares the flight
// must see that its fill was refused. Caught: Close with TrustAll whatever
// the fill's outcome; Wait that takes a result without looking at its ticket.
func TestFollowerIsAnsweredOnlyIfTheFillWasAccepted(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, _ := uninformed(t, p, s)
	b := newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	p.afterRead = g.First()

	leader := testsync.Async(func() int { v, _ := a.read("k", aside.Strong); return v })
	testsync.Await(t, "a's load has read version 1", g.Arrived)
	b.update("k")
	follower := testsync.Async(func() int { v, _ := a.read("k", aside.Strong); return v })
	testsync.Eventually(t, "the follower has joined", func() bool { return aside.Followers(a.Cache, "k") == 1 })
	g.Open()
	testsync.Await(t, "the leader", leader)
	if v := testsync.Await(t, "the follower", follower); v != 2 {
		t.Errorf("strong read after the acknowledged write got version %d", v)
	}
	if n := a.Stats().FillsRefused; n != 1 {
		t.Errorf("%d fills refused, want the one from before the write", n)
	}
}

// A load that began before a write, and whose process heard of nothing, must
// not store what it read. Caught: Fill without comparing the lease.
func TestLateFillIsRefused(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	p.afterRead = g.First()
	late := testsync.Async(func() int { v, _ := a.read("k", aside.Default); return v })
	testsync.Await(t, "a's load has read version 1", g.Arrived)
	b.update("k")
	p.afterRead = nil
	b.want("k", 2, aside.SourceL1)
	g.Open()
	testsync.Await(t, "the late reader", late)
	a.settled("k")
	a.want("k", 2, aside.SourceL2)
	b.want("k", 2, aside.SourceL1)
}

// Two loads of one node are told apart by their leases: the token is the
// fill's, not the client's. Caught: one token per cache lets the first load,
// from before the invalidation, fill under the second one's lease.
func TestLeaseTokenIsTheFillsOwn(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	first, second := testsync.NewGate(t), testsync.NewGate(t)
	defer first.Open()
	defer second.Open()
	p.afterRead = first.First()
	one := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Await(t, "the first load", first.Arrived)
	p.put("k") // behind the cache's back, then told
	if err := n.Invalidate(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	p.afterRead = second.First()
	two := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Await(t, "the second load, with a lease of its own", second.Arrived)
	first.Open()
	testsync.Await(t, "the first reader", one)
	testsync.Eventually(t, "the first fill is refused", func() bool { return n.Stats().FillsRefused == 1 })
	second.Open()
	if v := testsync.Await(t, "the second reader", two); v != 2 {
		t.Errorf("second reader got version %d", v)
	}
	n.settled("k")
	n.wantStrong("k", 2)
}

// An insert into L1 that was requested before an invalidation must not come
// after it. The answer is held back on its way from L2 while another node's
// write is pushed: the read overtakes the push. Caught: Insert without the
// generation keeps version 1 in L1.
func TestReadOvertakenByInvalidationIsNotInserted(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	b.want("k", 1, aside.SourceLoad)
	b.settled("k")

	g := testsync.NewGate(t)
	defer g.Open()
	codec := &gatedCodec{g: g}
	c := newNode(t, p, s, func(o *options) { o.Codec = codec })
	codec.on.Store(true)
	read := testsync.Async(func() int { v, _ := c.read("k", aside.Default); return v })
	testsync.Await(t, "c has the entry of version 1 and decodes it", g.Arrived)
	codec.on.Store(false)
	a.update("k")
	g.Open()
	testsync.Await(t, "the read", read)
	c.settled("k")
	if v, i := c.read("k", aside.Default); v != 2 {
		t.Errorf("version %d from %v after the invalidation was delivered", v, i.Source)
	}
}

// L1 must be dropped after L2, or it refills from the old L2. Caught:
// Invalidate that drops L1 only before it tells L2.
func TestL1IsNotRefilledFromOldL2(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	p.put("k")
	g := testsync.NewGate(t)
	defer g.Open()
	n.conn.Intercept(func(_ context.Context, op, key string) error {
		if op == "Invalidate" {
			g.Pass(key)
		}
		return nil
	})
	done := testsync.Async(func() error { return n.Invalidate(context.Background(), "k") })
	testsync.Await(t, "L1 is dropped, L2 not yet", g.Arrived)
	n.want("k", 1, aside.SourceL2) // nothing is acknowledged yet, so the old value is right
	n.want("k", 1, aside.SourceL1)
	g.Open()
	if err := testsync.Await(t, "Invalidate", done); err != nil {
		t.Fatal(err)
	}
	if v, i := n.read("k", aside.Default); v != 2 {
		t.Errorf("version %d from %v after Invalidate returned", v, i.Source)
	}
}

// The first of two overlapping writers to finish must not lift the other's
// fence, and neither may publish. Caught: release that deletes the fence
// outright stores version 1 while version 2 is about to commit.
func TestFirstOfTwoWritersDoesNotLiftTheFence(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a, b := newNode(t, p, s), newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	slow := testsync.Async(func() error {
		return a.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error {
			g.Pass("k")
			p.put("k")
			return nil
		})
	})
	testsync.Await(t, "a's write is fenced, not committed", g.Arrived)
	b.update("k") // version 2, begins and ends within a's write
	if v, i := b.read("k", aside.Default); v != 2 || i.Source != aside.SourceLoad {
		t.Errorf("under a's fence: version %d from %v, want the primary's", v, i.Source)
	}
	b.settled("k")
	g.Open()
	if err := testsync.Await(t, "a's write", slow); err != nil {
		t.Fatal(err)
	}
	b.wantStrong("k", 3)
	a.wantStrong("k", 3)
	if a.Stats().Published+b.Stats().Published != 0 {
		t.Error("an overlapping writer published")
	}
}

// A negative entry must not outlive an insert. Caught: Write without dropping L1.
func TestNoStaleNotFoundAfterAnInsert(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary()
		n := newNode(t, p, s)
		m := n
		if s != nil {
			m = newNode(t, p, s)
		}
		for _, x := range []*node{n, m} {
			if _, err := x.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
				t.Fatalf("got %v", err)
			}
			x.settled("k")
		}
		if r, err := n.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, aside.ErrNotFound) || r.Source != aside.SourceL1 || !r.Negative {
			t.Errorf("the absence is not cached: %+v, %v", r, err)
		}
		n.update("k")
		for _, x := range []*node{n, m} {
			x.wantStrong("k", 1)
			if v, _ := x.read("k", aside.Default); v != 1 {
				t.Error("stale not-found")
			}
		}
	})
}

// User data that looks like a sentinel is user data: see also the conformance
// suite. Caught: nothing yet; the envelope makes it hold by construction.
func TestValuesThatLookLikeSentinels(t *testing.T) {
	s := &asidetest.Server{}
	mk := func() *aside.Cache[string, string] {
		c, err := aside.New(aside.Options[string, string]{Name: "raw", L2: s.NewClient(), Codec: rawCodec{}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(context.Background()) })
		return c
	}
	a, b := mk(), mk()
	for _, v := range []string{"", "L", "F0", "N", "L0123456789abcdef", "V\x01", "null"} {
		ld := aside.LoaderFunc[string, string](func(context.Context, string) (string, error) { return v, nil })
		if got, err := a.Get(t.Context(), "k"+v, ld); err != nil || got != v {
			t.Errorf("%q: got %q, %v", v, got, err)
		}
		testsync.Eventually(t, "the fill", func() bool { return aside.Flights(a) == 0 })
		r, err := b.Read(t.Context(), "k"+v, ld, aside.Strong)
		if err != nil || r.Value != v || r.Source != aside.SourceL2 {
			t.Errorf("%q read back as %q from %v, %v", v, r.Value, r.Source, err)
		}
	}
}

// What a process reads while one of its writes is under way must not go back:
// a strong read that sees the commit is followed by none that does not, and the
// acknowledgement ends all older ones. Caught: Write that drops L1 only after
// the commit (a default read goes back to version 1).
func TestReadsDuringOwnWriteDoNotGoBack(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		err := n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error {
			n.want("k", 1, aside.SourceLoad)
			n.settled("k")
			p.put("k")
			n.wantStrong("k", 2)
			if s != nil {
				n.want("k", 2, aside.SourceLoad)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if v, i := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d from %v after the acknowledgement", v, i.Source)
		}
	})
}

// What L1 took in during a write, before the commit, must not outlive the
// acknowledgement. Caught: Write that drops L1 only before it begins.
func TestL1FilledDuringAWriteIsDropped(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		err := n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error {
			n.want("k", 1, aside.SourceLoad)
			n.settled("k")
			p.put("k")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if v, i := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d from %v after the acknowledgement", v, i.Source)
		}
	})
}

// L1 may have an entry for a moment longer than L2, and the lease that a strong
// read is granted then has ended the watch of the key: nobody tells this node of
// the next write. Caught: lookUp without granted.
func TestGrantedLeaseDropsWhatL1HasForLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPrimary("k"), &asidetest.Server{}
		ttl := func(o *options) { o.TTL = time.Minute }
		n, other := newNode(t, p, s, ttl), newNode(t, p, s, ttl)
		n.conn.Answer(func(op, _ string) error {
			if op == "Fill" {
				time.Sleep(time.Second)
			}
			return nil
		})
		n.read("k", aside.Default)
		time.Sleep(time.Minute + 500*time.Millisecond)
		n.want("k", 1, aside.SourceL1)
		if e := s.Entry(testPrefix + "k"); e != nil {
			t.Fatalf("L2 still has %q", e)
		}
		g := testsync.NewGate(t)
		p.afterRead = g.First()
		strong := testsync.Async(func() int { v, _ := n.read("k", aside.Strong); return v })
		<-g.Arrived
		other.update("k")
		synctest.Wait() // no notice is on its way
		later := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		synctest.Wait()
		g.Open()
		if v := <-later; v != 2 {
			t.Errorf("version %d after 2 was acknowledged", v)
		}
		<-strong
	})
}

// What a write has published may have expired in L2 when the answer arrives, and
// another flight may have leased the key since. Caught: the TTL counted from the
// answer on.
func TestPublishedIsNotInL1ForLongerThanInL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPrimary("k"), &asidetest.Server{}
		n := newNode(t, p, s, func(o *options) { o.TTL = time.Minute })
		n.conn.Answer(func(op, _ string) error {
			if op == "Release" {
				time.Sleep(59 * time.Second)
			}
			return nil
		})
		n.update("k")
		n.want("k", 2, aside.SourceL1)
		time.Sleep(2 * time.Second)
		if _, i := n.read("k", aside.Default); i.Source == aside.SourceL1 {
			t.Error("L1 has what L2 had for a minute, a second ago")
		}
	})
}

// A leader leaves its lookup when its context ends, and the lookup goes on for others. What
// L2 may have granted to the one that was left is given back, and L2 counts as well.
// Caught: a leader who waits for L2; others who get its error, or a load without a lease; a
// lease that nobody gives back; a breaker that opens.
func TestLeadersContextDoesNotEndTheLookUp(t *testing.T) {
	for _, granted := range []bool{false, true} {
		t.Run(fmt.Sprintf("granted=%v", granted), func(t *testing.T) {
			s := &asidetest.Server{}
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.BreakerFailures = 1 })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g := testsync.NewGate(t)
			defer g.Open()
			var asked atomic.Int32
			hold := func(op, key string) error {
				if op != "Acquire" {
					return nil
				}
				if asked.Add(1) > 1 {
					g.Pass(key)
					return nil
				}
				passed := testsync.Async(func() bool { g.Pass(key); return true })
				select {
				case <-passed:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if granted {
				n.conn.Answer(hold)
			} else {
				n.conn.Intercept(func(_ context.Context, op, key string) error { return hold(op, key) })
			}
			leader := testsync.Async(func() error { _, err := n.Get(ctx, "k", p); return err })
			testsync.Await(t, "the lookup", g.Arrived)
			follower := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
			testsync.Eventually(t, "the follower has joined", func() bool { return aside.Followers(n.Cache, "k") == 1 })
			cancel()
			if err := testsync.Await(t, "the leader leaves at once", leader); !errors.Is(err, context.Canceled) {
				t.Errorf("leader: %v", err)
			}
			testsync.Await(t, "the lookup goes on", g.Arrived)
			g.Open()
			if v := testsync.Await(t, "the follower", follower); v != 1 {
				t.Errorf("the follower got version %d", v)
			}
			n.settled("k")
			n.want("k", 1, aside.SourceL1)
			if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != envelope.KindValue {
				t.Errorf("L2 has %q", e)
			}
			if st := n.Stats(); st.L2Errors != 0 || st.Breaker != aside.BreakerClosed || p.reads.Load() != 1 {
				t.Errorf("%d operations on L2 failed, breaker %v, %d loads", st.L2Errors, st.Breaker, p.reads.Load())
			}
		})
	}
}

// The leader's cancelled context must not fail those who wait with it, nor end
// the load. Caught: a load on the leader's context.
func TestLeadersContextIsItsOwn(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		g := testsync.NewGate(t)
		defer g.Open()
		p.beforeRead = g.First()
		ctx, cancel := context.WithCancel(t.Context())
		leader := testsync.Async(func() error { _, err := n.Get(ctx, "k", p); return err })
		testsync.Await(t, "the load", g.Arrived)
		follower := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
		testsync.Eventually(t, "the follower has joined", func() bool { return aside.Followers(n.Cache, "k") == 1 })
		cancel()
		if err := testsync.Await(t, "the leader leaves at once", leader); !errors.Is(err, context.Canceled) {
			t.Errorf("leader: %v", err)
		}
		g.Open()
		if v := testsync.Await(t, "the follower", follower); v != 1 {
			t.Errorf("follower got version %d", v)
		}
		n.settled("k")
		n.want("k", 1, aside.SourceL1)
		if got := p.reads.Load(); got != 1 {
			t.Errorf("%d loads", got)
		}
	})
}

// A batch of which a part fails must say so, and say which. Caught: an error
// dropped beside the map of the others.
func TestBatchThatHalfFailsReturnsAnError(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("good")
		n := newNode(t, p, s)
		boom := errors.New("boom")
		ld := aside.BulkLoaderFunc[string, rec](func(_ context.Context, keys []string) (map[string]rec, error) {
			return map[string]rec{"good": {"good", 1}}, aside.KeyErrors[string]{"bad": boom}
		})
		m, err := n.GetMany(t.Context(), []string{"good", "bad", "absent"}, ld)
		var ke aside.KeyErrors[string]
		if !errors.As(err, &ke) || len(ke) != 1 || !errors.Is(ke["bad"], boom) || !errors.Is(err, boom) {
			t.Errorf("error %v, want the one of key bad", err)
		}
		if len(m) != 1 || m["good"].Version != 1 {
			t.Errorf("values %v", m)
		}
	})
}

// Own fills must not be told to oneself as invalidations: they would empty
// one's own L1. Measured on a real Redis in package redisl2.
func TestOwnFillsStayInL1(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("a", "b")
	n := newNode(t, p, s)
	for range 3 {
		n.read("a", aside.Default)
		n.settled("a")
	}
	n.update("b")
	n.want("b", 2, aside.SourceL1)
	if st := n.Stats(); st.Invalidations != 0 || st.HitsL1 != 3 {
		t.Errorf("%d invalidations, %d L1 hits; want 0 and 3", st.Invalidations, st.HitsL1)
	}
}

// One cache name over one connection twice would miss each other's writes.
func TestSameNameTwiceOnOneConnectionIsRefused(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, newPrimary(), s)
	if _, err := aside.New(options{Name: "test", L2: n.conn}); !errors.Is(err, aside.ErrOptions) {
		t.Errorf("got %v", err)
	}
}

type rawCodec struct{}

func (rawCodec) ID() byte                        { return 100 }
func (rawCodec) Encode(v string) ([]byte, error) { return []byte(v), nil }
func (rawCodec) Decode(b []byte) (string, error) { return string(b), nil }

// gatedCodec stops decoding at a gate.
type gatedCodec struct {
	aside.JSON[rec]
	g  *testsync.Gate
	on syncBool
}

type syncBool struct {
	mu sync.Mutex
	b  bool
}

func (s *syncBool) Store(b bool) { s.mu.Lock(); s.b = b; s.mu.Unlock() }
func (s *syncBool) Load() bool   { s.mu.Lock(); defer s.mu.Unlock(); return s.b }

func (c *gatedCodec) Decode(b []byte) (rec, error) {
	if c.on.Load() {
		c.g.Pass("decode")
	}
	return c.JSON.Decode(b)
}

// A caller that comes after a load has failed must not inherit the failure,
// though the flight is still giving its lease back. Caught: a failure shared
// with everybody who finds the flight.
func TestLaterCallersDoNotInheritAFailure(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	n.conn.Intercept(func(_ context.Context, op, key string) error {
		if op == "Abandon" {
			g.Pass(key)
		}
		return nil
	})
	p.fail(errDown)
	if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, errDown) {
		t.Fatalf("got %v", err)
	}
	testsync.Await(t, "the failed flight gives its lease back", g.Arrived)
	p.fail(nil)
	late := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Eventually(t, "the later caller has joined", func() bool { return aside.Followers(n.Cache, "k") == 1 })
	g.Open()
	if v := testsync.Await(t, "the later caller", late); v != 1 {
		t.Errorf("got version %d", v)
	}
}

// A strong read must not share a lookup in L2 that was answered before a write
// acknowledged before the read began. Caught: entries found in L2 handed to
// whoever joined; and a cache without L1 and ParseKey that crashed on its first
// hit in L2.
func TestStrongReadDoesNotShareAnOlderLookUp(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	a := newNode(t, p, s)
	a.want("k", 1, aside.SourceLoad)
	a.settled("k")
	g := testsync.NewGate(t)
	defer g.Open()
	codec := &gatedCodec{g: g}
	b := newNode(t, p, s, func(o *options) {
		o.Codec, o.L1Size, o.ParseKey, o.Key = codec, -1, nil, func(k string) string { return k }
	})
	codec.on.Store(true)
	leader := testsync.Async(func() int { v, _ := b.read("k", aside.Strong); return v })
	testsync.Await(t, "b has the entry of version 1 and decodes it", g.Arrived)
	codec.on.Store(false)
	a.update("k")
	follower := testsync.Async(func() int { v, _ := b.read("k", aside.Strong); return v })
	testsync.Eventually(t, "the follower has joined", func() bool { return aside.Followers(b.Cache, "k") == 1 })
	g.Open()
	testsync.Await(t, "the leader", leader)
	if v := testsync.Await(t, "the follower", follower); v != 2 {
		t.Errorf("strong read after the acknowledged write got version %d", v)
	}
}

// slowAnswers is a connection on which the answers to fills, and the pushes
// after them, take their time.
type slowAnswers struct {
	driver.Tier
	filled, arrive chan struct{}
}

func (s *slowAnswers) Fill(ctx context.Context, reqs []driver.FillRequest) []driver.FillResult {
	out := s.Tier.Fill(context.WithoutCancel(ctx), reqs)
	select {
	case s.filled <- struct{}{}:
		<-s.arrive
	default: // only the first
	}
	return out
}

func (s *slowAnswers) Watch(prefix string, w driver.Watcher) (func(), error) {
	changed := w.Changed
	w.Changed = func(k string) { go func() { <-s.arrive; changed(k) }() }
	return s.Tier.Watch(prefix, w)
}

// An accepted fill proves that no write came before it, and nothing of a write
// that was acknowledged while the fill's answer was under way. Found by the
// random test on a real Redis. Caught: Wait that takes TrustAll for a proof
// whenever the caller came.
func TestStrongFollowerMayComeAfterTheFillButBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		slow := &slowAnswers{filled: make(chan struct{}, 1), arrive: make(chan struct{})}
		a := newNode(t, p, s, func(o *options) { slow.Tier = o.L2; o.L2 = slow; o.L1Size = -1 })
		b := newNode(t, p, s)
		a.read("k", aside.Strong) // version 1; its fill is made, and not yet answered
		synctest.Wait()
		b.update("k")
		follower := testsync.Async(func() int { v, _ := a.read("k", aside.Strong); return v })
		synctest.Wait() // the follower has joined
		close(slow.arrive)
		if v := testsync.Await(t, "the follower", follower); v != 2 {
			t.Errorf("stale: a strong read that began after version 2 was acknowledged got version %d", v)
		}
	})
}
