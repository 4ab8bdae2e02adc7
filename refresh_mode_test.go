package aside_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// After a Refresh has returned, no read on any node finds what was there before, whatever
// became of its answer.
// Caught: an answer before the fill, while the lease carries the older value as a hit; an L1
// that took that meanwhile.
func TestReadsAfterARefresh(t *testing.T) {
	for name, c := range map[string]struct {
		mode   aside.Mode
		loaded aside.Loaded[rec]
		change func(*options)
	}{
		"stored":           {},
		"NoStore":          {mode: aside.NoStore},
		"told not to":      {loaded: aside.Loaded[rec]{NoStore: true}},
		"absent":           {loaded: aside.Loaded[rec]{Absent: true}},
		"absent, not kept": {loaded: aside.Loaded[rec]{Absent: true}, change: func(o *options) { o.NegativeTTL = -1 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k")
				change := func(o *options) {
					if c.change != nil {
						c.change(o)
					}
				}
				a, b := newNode(t, p, s, change), newNode(t, p, s, change)
				defer closeAll(a, b)
				for _, n := range []*node{a, b, b, a} {
					n.read("k", aside.Default)
					synctest.Wait()
				}
				p.put("k") // past the cache
				open := make(chan struct{})
				a.conn.Intercept(func(_ context.Context, op, _ string) error {
					if op == "Fill" || op == "Abandon" {
						<-open
					}
					return nil
				})
				loader := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
					l := c.loaded
					l.Value, _ = p.Load(ctx, k)
					return l, nil
				})
				refresh := testsync.Async(func() error { _, err := a.Read(context.Background(), "k", loader, c.mode|aside.Refresh); return err })
				synctest.Wait()
				for _, n := range []*node{a, b} { // and L1 takes it
					if v, _ := n.read("k", aside.Default); v != 1 {
						t.Errorf("before the end of the Refresh: version %d", v)
					}
				}
				select {
				case <-refresh:
					t.Fatal("the Refresh returned before L2 knows of it")
				default:
				}
				close(open)
				if err := <-refresh; err != nil && !errors.Is(err, aside.ErrNotFound) {
					t.Fatal(err)
				}
				for i, m := range []aside.Mode{aside.Default, aside.Strong} {
					for _, n := range []*node{a, b} {
						if v := versionOf(n, p, m); v == 1 {
							t.Errorf("read %d, with mode %v: version 1 after the Refresh", i, m)
						}
					}
				}
			})
		})
	}
}

// versionOf is -1 for an absent record.
func versionOf(n *node, p *primary, m aside.Mode) int {
	r, err := n.Read(context.Background(), "k", p, m)
	if err != nil {
		return -1
	}
	return r.Value.Version
}

// A Refresh ends while another load of the key goes on, which has read something older: that
// is stored nowhere. So it is if L2 cannot be asked: what it has is gone before it is used
// again.
// Caught: a load that outlasts LeaseWait, and then has its older value stored; an entry that
// comes back with L2.
func TestRefreshOvertakesOthers(t *testing.T) {
	for _, who := range []string{"this node", "another node", "an outage"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k")
				change := func(o *options) { o.LeaseWait = time.Second }
				a, b := newNode(t, p, s, change), newNode(t, p, s, change)
				defer closeAll(a, b)
				open := make(chan struct{})
				slow := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
					r, err := p.Load(ctx, k)
					<-open
					return r, err
				})
				loads := b
				switch who {
				case "this node":
					loads = a
				case "an outage":
					close(open)
					b.read("k", aside.Default)
					synctest.Wait()
					a.conn.Intercept(func(context.Context, string, string) error { return errors.New("down") })
				}
				load := testsync.Async(func() error { _, err := loads.Get(context.Background(), "k", slow); return err })
				synctest.Wait()
				p.put("k") // past the cache
				if v, _ := a.read("k", aside.Refresh); v != 2 {
					t.Errorf("version %d", v)
				}
				if who == "an outage" {
					a.conn.Intercept(nil)
					time.Sleep(time.Minute)
				} else {
					close(open)
				}
				if err := <-load; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				for _, m := range []aside.Mode{aside.Default, aside.Strong} {
					for _, n := range []*node{a, b} {
						if v := versionOf(n, p, m); v != 2 {
							t.Errorf("mode %v: version %d after the Refresh", m, v)
						}
					}
				}
			})
		})
	}
}

// In a cache without L2 a Refresh after a write with an unknown outcome loads, and stores
// nothing for long. Caught: it was to be dropped from L2, which is not there.
func TestRefreshWithoutL2AfterAnUnknownWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, nil)
		defer closeAll(n)
		_ = n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { return errors.New("no answer") })
		p.put("k")
		if v, _ := n.read("k", aside.Refresh); v != 2 {
			t.Errorf("version %d", v)
		}
		if rs, err := n.ReadMany(t.Context(), []string{"k"}, p, aside.Refresh); err != nil || rs["k"].Value.Version != 2 {
			t.Errorf("%+v, %v", rs, err)
		}
	})
}

// A strong read that joins a Refresh after another node's write was acknowledged reads for
// itself: the load had ended before, although its answer comes after the fill.
// Caught: the load was taken to have ended with the fill.
func TestStrongFollowerOfARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		slow := &slowAnswers{filled: make(chan struct{}, 1), arrive: make(chan struct{})}
		a := newNode(t, p, s, func(o *options) { slow.Tier = o.L2; o.L2 = slow; o.L1Size = -1 })
		b := newNode(t, p, s)
		defer closeAll(a, b)
		refresh := testsync.Async(func() int { v, _ := a.read("k", aside.Refresh); return v })
		synctest.Wait()
		b.update("k")
		follower := testsync.Async(func() int { v, _ := a.read("k", aside.Strong); return v })
		synctest.Wait() // it has joined
		close(slow.arrive)
		<-refresh
		if v := testsync.Await(t, "the follower", follower); v != 2 {
			t.Errorf("it began after version 2 was acknowledged, and got version %d", v)
		}
	})
}

// A Refresh whose fill has failed: this node does not go back to what the lease carries.
// Caught: until the lease was given back, it did.
func TestRefreshWhoseFillIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		n := newNode(t, p, s)
		defer closeAll(n)
		n.read("k", aside.Default)
		synctest.Wait()
		p.put("k")
		var once atomic.Bool
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fill" && once.CompareAndSwap(false, true) {
				return context.DeadlineExceeded
			}
			return nil
		})
		for i, m := range []aside.Mode{aside.Refresh, aside.Strong, aside.Default} {
			if v, _ := n.read("k", m); v != 2 {
				t.Errorf("read %d: version %d", i, v)
			}
		}
		time.Sleep(time.Second) // until L2 was told
		if v, _ := n.read("k", aside.Strong); v != 2 || n.Stats().Pending != 0 {
			t.Errorf("later: version %d, pending %d", v, n.Stats().Pending)
		}
	})
}
