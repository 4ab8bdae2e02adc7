package aside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// What other libraries test of refreshes and timeouts, and nothing here did.

// Without a stale value a read waits for its load, however short SoftTimeout is: there is
// nothing else to answer with. Caught: an answer made of no value, at SoftTimeout.
func TestNoSoftTimeoutWithoutAStaleValue(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary("k", "gone")
			p.beforeRead = func(string) { time.Sleep(time.Second) }
			n := newNode(t, p, s, func(o *options) {
				o.TTL, o.NegativeTTL, o.StaleFor, o.SoftTimeout = 10*time.Second, 5*time.Second, time.Minute, 100*time.Millisecond
			})
			start := time.Now()
			n.want("k", 1, aside.SourceLoad)
			if d := time.Since(start); d != time.Second {
				t.Errorf("with L2 %v: the first read took %v", l2, d)
			}
			p.del("gone")
			if _, err := n.Get(t.Context(), "gone", p); !errors.Is(err, aside.ErrNotFound) {
				t.Error(err)
			}
			synctest.Wait()
			p.put("gone")
			time.Sleep(20 * time.Second) // an absence is not kept past its life
			start = time.Now()
			n.want("gone", 1, aside.SourceLoad)
			if d := time.Since(start); d != time.Second {
				t.Errorf("with L2 %v: the read after an absence took %v", l2, d)
			}
			_ = n.Close(t.Context())
		})
	}
}

// An absence is not refreshed ahead: it ends, and the next read finds what is there by then.
// sturdyc refreshes absences too; here they are short. Caught: loads for keys that do not
// exist, of which anybody can ask for many.
func TestAbsencesAreNotRefreshedAhead(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary()
			n := newNode(t, p, s, func(o *options) {
				o.NegativeTTL, o.RefreshAhead, o.StaleWhileRevalidate = 10*time.Second, 0.5, time.Minute
			})
			absent := func() {
				t.Helper()
				if _, err := n.Get(t.Context(), "k", p); !errors.Is(err, aside.ErrNotFound) {
					t.Errorf("with L2 %v: %v", l2, err)
				}
				synctest.Wait()
			}
			absent()
			p.put("k") // past the cache
			time.Sleep(9 * time.Second)
			absent()
			if loads := p.reads.Load(); loads != 1 {
				t.Errorf("with L2 %v: %d loads", l2, loads)
			}
			time.Sleep(2 * time.Second)
			n.want("k", 1, aside.SourceLoad)
			synctest.Wait()
			_ = n.Close(t.Context())
		})
	}
}

// A refresh runs, and the entry ends meanwhile: a read waits for the load that runs, and
// begins none of its own, on this node or on another. Caught: a second load.
func TestReadWaitsForTheRefreshThatRuns(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary("k")
			ahead := func(o *options) {
				o.TTL, o.RefreshAhead, o.LoadTimeout, o.LeaseWait = 10*time.Second, 0.4, time.Minute, time.Minute
			}
			nodes := []*node{newNode(t, p, s, ahead)}
			if l2 {
				nodes = append(nodes, newNode(t, p, s, ahead))
			}
			nodes[0].want("k", 1, aside.SourceLoad)
			synctest.Wait()
			p.put("k") // past the cache
			time.Sleep(9 * time.Second)
			hold := make(chan struct{})
			p.beforeRead = func(string) { <-hold }
			nodes[0].want("k", 1, aside.SourceL1)
			synctest.Wait()
			time.Sleep(2 * time.Second) // the entry is gone
			answers := make(chan int, len(nodes))
			for _, n := range nodes {
				go func() { v, _ := n.read("k", aside.Default); answers <- v }()
			}
			synctest.Wait()
			close(hold)
			for range nodes {
				if v := <-answers; v != 2 {
					t.Errorf("with L2 %v: version %d", l2, v)
				}
			}
			if loads := p.reads.Load(); loads != 2 {
				t.Errorf("with L2 %v: %d loads, want 2", l2, loads)
			}
			synctest.Wait()
			for _, n := range nodes {
				_ = n.Close(t.Context())
			}
		})
	}
}

// A hit that begins a refresh does not wait for L2, however slow that is. Caught: a hit
// that takes L2Timeout.
func TestSlowL2DoesNotSlowAHitThatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = time.Minute, 10*time.Second, 0.4 })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(9 * time.Second)
		n.silent()
		start := time.Now()
		for range 3 {
			n.want("k", 1, aside.SourceL1)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("three hits took %v", d)
		}
		_ = n.Close(t.Context())
	})
}

// What a background load says of the record's life counts, as for any load. Caught: the
// TTL of the load before.
func TestTTLOfARefresh(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var s *asidetest.Server
			if l2 {
				s = &asidetest.Server{}
			}
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.RefreshAhead = 10*time.Second, time.Hour, 0.4 })
			says := time.Duration(0)
			loader := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
				r, err := p.Load(ctx, k)
				return aside.Loaded[rec]{Value: r, TTL: says}, err
			})
			version := func() int {
				t.Helper()
				v, err := n.Get(t.Context(), "k", loader)
				if err != nil {
					t.Error(err)
				}
				synctest.Wait()
				return v.Version
			}
			version()
			p.put("k") // past the cache
			says = 10 * time.Minute
			time.Sleep(9 * time.Second)
			version() // begins the refresh
			p.put("k")
			time.Sleep(5 * time.Minute)
			if v := version(); v != 2 {
				t.Errorf("with L2 %v: version %d after half of the life that the refresh said", l2, v)
			}
			time.Sleep(6 * time.Minute)
			if v := version(); v != 3 {
				t.Errorf("with L2 %v: version %d after it", l2, v)
			}
			_ = n.Close(t.Context())
		})
	}
}
