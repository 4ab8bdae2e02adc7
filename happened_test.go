package aside_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

func addInt(n *int64) int64 { return atomic.AddInt64(n, 1) }

// Events come in order, each with its key, and tell of the cache's state. Caught: each
// of the calls that tell of one, left out; a function that runs under a lock of the
// cache, which it calls here.
func TestObserverEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l eventLog
		var mu sync.Mutex
		var got []string
		take := func() string {
			mu.Lock()
			defer mu.Unlock()
			all := strings.Join(got, " ")
			got = nil
			return all
		}
		var n *node
		made := make(chan struct{})
		p, s := newPrimary("k", "l"), &asidetest.Server{}
		feed := &asidetest.Log{}
		n = newNode(t, p, s, fedBy(feed), func(o *options) {
			o.Observer.Event = func(key any, e aside.Event) {
				<-made // the first event may come before n is set
				_, _ = n.Stats(), n.Invalidate(context.Background(), "other")
				text := e.Kind.String()
				if key != nil {
					text += ":" + key.(string)
				}
				mu.Lock()
				got = append(got, text)
				mu.Unlock()
				l.add(e)
			}
		})
		close(made)
		other := newNode(t, p, s)
		want := func(want string) []aside.Event {
			t.Helper()
			synctest.Wait()
			es := l.take()
			if all := take(); all != want {
				t.Errorf("events: %q, want %q", all, want)
				es = make([]aside.Event, 10)
			}
			return es
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if all := take(); !strings.HasSuffix(all, "fed lead") {
			t.Errorf("the feed: %q", all)
		}
		l.take()

		n.read("k", aside.Default)
		n.update("k")
		synctest.Wait()
		take() // asidetest tells a node of its own changes too
		l.take()
		other.update("k")
		if es := want("invalidation:k"); es[0].Time.IsZero() {
			t.Errorf("%+v", es[0])
		}
		n.read("k", aside.Default)
		p.outside(feed, "l")
		if es := want("change:l"); es[0].Version != 2 {
			t.Errorf("%+v", es[0])
		}
		p.outside(feed, "k")
		time.Sleep(10 * time.Millisecond)
		want("invalidation:k change:k")
		s.SetEntry(testPrefix+"k", []byte("Vrubbish"), time.Minute)
		n.read("k", aside.Strong)
		if es := want("replace:k invalidation:k"); es[0].Err == nil {
			t.Errorf("%+v", es[0])
		}
		if err := n.Clear(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if all := take(); !strings.Contains(all, "flush") {
			t.Errorf("a clear: %q", all)
		}
		l.take()

		n.conn.Intercept(func(context.Context, string, string) error { return errDown })
		for range 5 {
			n.read("k", aside.Strong)
		}
		synctest.Wait()
		if es := l.take(); len(es) == 0 || es[0].Kind != aside.EventDegraded || es[0].Cause != aside.DegradedFailing || es[0].Err == nil {
			t.Errorf("L2 is down: %v", take())
		}
		n.conn.Intercept(nil)
		take()
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if all := take(); !strings.Contains(all, "restored") {
			t.Errorf("L2 is back: %q", all)
		}
	})
}

// Evictions are told too, which happen under a lock of the engine; and what nobody
// takes in time is left out, and counted. Caught: a reader who waits for the function.
func TestObserverEventsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, evicted, missed := make(chan struct{}), 0, 0
		p := newPrimary()
		n := newNode(t, p, nil, func(o *options) {
			o.L1Size = 10
			o.Observer.Event = func(_ any, e aside.Event) {
				<-hold
				if e.Kind == aside.EventEvict {
					evicted++
				}
				missed += e.Missed
			}
		})
		for i := range 5000 {
			k := strconv.Itoa(i)
			p.put(k)
			n.read(k, aside.Default)
		}
		synctest.Wait()
		close(hold)
		synctest.Wait()
		n.lost(t)
		synctest.Wait()
		if all := n.Stats().L1Evictions; uint64(evicted+missed) < all-10 || missed == 0 || evicted < 1000 {
			t.Errorf("%d told, %d missed, of %d evictions", evicted, missed, all)
		}
	})
}

// lost makes one more event.
func (n *node) lost(t *testing.T) {
	if err := n.Clear(t.Context()); err != nil {
		t.Error(err)
	}
}

// An observer that is not told of hits costs them nothing. Caught: a check of the
// observer that allocates.
func TestObserverHitAllocatesNothing(t *testing.T) {
	e := &ear{}
	n := newNode(t, newPrimary("k"), nil, e.observe, func(o *options) {
		o.Observer.Hit, o.Observer.Event = nil, func(any, aside.Event) {}
	})
	n.read("k", aside.Default)
	n.settled("k")
	var loader aside.Loader[string, rec] = n.p
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := n.Get(t.Context(), "k", loader); err != nil {
			t.Error(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// BenchmarkObserver is a hit and a miss without an observer, with one that is told of
// operations, and with one that is told of hits too.
func BenchmarkObserver(b *testing.B) {
	start := func(ctx context.Context, _ aside.Op) context.Context { return ctx }
	end := func(context.Context, aside.Op, aside.OpResult) {}
	hit := func(context.Context, aside.Op, aside.Info) {}
	for _, c := range []struct {
		name string
		o    aside.Observer
	}{{"none", aside.Observer{}}, {"ops", aside.Observer{Start: start, End: end}}, {"hits", aside.Observer{Start: start, End: end, Hit: hit}}} {
		ctx := context.Background()
		cache, err := aside.New(aside.Options[int, int]{Observer: c.o})
		if err != nil {
			b.Fatal(err)
		}
		defer cache.Close(ctx)
		loader := aside.LoaderFunc[int, int](func(_ context.Context, k int) (int, error) { return k, nil })
		b.Run("hit/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				_, _ = cache.Get(ctx, i%1000, loader)
			}
		})
		next := 1000
		b.Run("miss/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				next++
				_, _ = cache.Get(ctx, next, loader)
			}
		})
	}
}
