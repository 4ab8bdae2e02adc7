package aside_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// eventLog keeps the events of a key.
type eventLog struct {
	mu     sync.Mutex
	events []aside.Event
}

func (l *eventLog) add(e aside.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// take returns what has come, and forgets it.
func (l *eventLog) take() []aside.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	es := l.events
	l.events = nil
	return es
}

func kinds(es []aside.Event) string {
	var s []string
	for _, e := range es {
		s = append(s, e.Kind.String())
	}
	return strings.Join(s, " ")
}

// watch watches a key in a synctest bubble. want compares the kinds of all events
// since the last call.
func (n *node) watch(k string) (want func(string) []aside.Event, stop func()) {
	var l eventLog
	stop = n.Watch(k, l.add)
	return func(want string) []aside.Event {
		n.t.Helper()
		synctest.Wait()
		es := l.take()
		// a fill is off the reader's path: it comes before or after the read's end
		for i := 2; i < len(es); i++ {
			if es[i-2].Kind == aside.EventLoad && es[i].Kind == aside.EventRead && strings.HasPrefix(es[i-1].Kind.String(), "fill") {
				es[i-1], es[i] = es[i], es[i-1]
			}
		}
		if got := kinds(es); got != want {
			n.t.Errorf("events of %s: %q, want %q", k, got, want)
		}
		return es
	}, stop
}

// Each thing that happens to a key is an event, with its figures. Caught: each of the
// calls that tell of one, left out.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		p, s := newPrimary("k", "other"), &asidetest.Server{}
		a, b := newNode(t, p, s), newNode(t, p, s)
		want, stop := a.watch("k")
		defer stop()

		p.beforeRead = func(string) { time.Sleep(3 * time.Millisecond) }
		a.read("k", aside.Default)
		a.read("other", aside.Default)
		es := want("load read fill")
		if e := es[0]; e.Took != 3*time.Millisecond || e.Version != 1 || e.Err != nil {
			t.Errorf("load: %+v", e)
		}
		if e := es[1]; e.Info.Source != aside.SourceLoad || e.Took != 3*time.Millisecond || e.Version != 1 || e.Time.IsZero() {
			t.Errorf("read: %+v", e)
		}
		a.read("k", aside.Default)
		if e := want("read")[0]; e.Info.Source != aside.SourceL1 || e.Version != 1 {
			t.Errorf("read of L1: %+v", e)
		}
		a.read("k", aside.Strong)
		if e := want("read")[0]; e.Info.Source != aside.SourceL2 || e.Version != 1 {
			t.Errorf("read of L2: %+v", e)
		}
		_, _ = a.ReadMany(ctx, []string{"k", "other"}, p, aside.Strong)
		want("read")

		a.update("k")
		// asidetest tells a node of its own changes too
		if es := want("write invalidation fence publish"); es[3].Version != 2 {
			t.Errorf("publish: %+v", es[3])
		}
		b.update("k")
		want("invalidation")
		refused := errors.New("refused")
		err := a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return aside.Aborted(refused) })
		if !errors.Is(err, refused) {
			t.Error(err)
		}
		want("write fence release")
		_ = a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return refused })
		if es := want("write fence outcome-unknown"); !errors.Is(es[2].Err, refused) {
			t.Errorf("unknown: %+v", es[2])
		}
		a.read("k", aside.Default)
		if es := want("load read"); es[1].Info.Miss != aside.MissFenced {
			t.Errorf("read behind a fence: %+v", es[1])
		}
		time.Sleep(11 * time.Second)
		want("deliver")

		if err := a.Invalidate(ctx, "k"); err != nil {
			t.Error(err)
		}
		want("drop")
		if err := a.Clear(ctx); err != nil {
			t.Error(err)
		}
		want("flush")
		stop()
		a.read("k", aside.Default)
		want("")
	})
}

// Events that nobody takes are left out, and counted; f runs no more once stop has
// returned, nor after Close. Caught: an operation that waits for f; a stop that does not.
func TestWatchBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("k"), nil)
		hold := make(chan struct{})
		var got []aside.Event
		stop := n.Watch("k", func(e aside.Event) {
			got = append(got, e)
			<-hold
		})
		for range 300 {
			n.read("k", aside.Default)
			synctest.Wait()
		}
		go func() { // stop waits for f
			time.Sleep(time.Second)
			close(hold)
		}()
		began := time.Now()
		stop()
		if time.Since(began) != time.Second || len(got) != 1 {
			t.Errorf("stop took %v, %d events", time.Since(began), len(got))
		}
		stop() // again
		n.read("k", aside.Default)
		synctest.Wait()

		got, hold = nil, make(chan struct{})
		stop = n.Watch("k", func(e aside.Event) {
			got = append(got, e)
			<-hold
		})
		for range 300 {
			n.read("k", aside.Default)
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		n.read("k", aside.Default)
		synctest.Wait()
		if last := got[len(got)-1]; len(got) != 258 || last.Missed != 43 {
			t.Errorf("%d events, the last after %d missed", len(got), last.Missed)
		}
		got = nil
		_ = n.Close(context.Background())
		stop()
		n.Watch("k", func(aside.Event) { t.Error("watched a closed cache") })()
		if len(got) != 0 {
			t.Errorf("%d events", len(got))
		}
	})
}

// A function that panics does no harm. Caught: a panic that ends the process.
func TestWatchPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, calls := newNode(t, newPrimary("k"), nil), 0
		defer n.Watch("k", func(aside.Event) { calls++; panic("f") })()
		n.read("k", aside.Default)
		synctest.Wait()
		if calls != 3 || n.Stats().Panics != 3 {
			t.Errorf("%d calls, %d panics", calls, n.Stats().Panics)
		}
	})
}

// What goes wrong is an event too. Caught: each of the calls that tell of it, left out.
func TestWatchFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		p, s := newPrimary("k"), &asidetest.Server{}
		a, b := newNode(t, p, s), newNode(t, p, s)
		want, stop := a.watch("k")
		defer stop()

		// another node loads: a waits for it
		held := make(chan struct{})
		p.afterRead = func(string) { <-held }
		go b.read("k", aside.Default)
		synctest.Wait()
		go a.read("k", aside.Default)
		want("wait")
		close(held)
		want("invalidation read")

		// a write overtakes a load
		_ = a.Invalidate(ctx, "k")
		want("drop invalidation")
		held = make(chan struct{})
		go a.read("k", aside.Default)
		synctest.Wait()
		a.update("k")
		want("write fence publish")
		close(held)
		want("load read fill-refused")

		// an entry of no use
		p.afterRead = nil
		s.SetEntry(testPrefix+"k", []byte("Vrubbish"), time.Minute)
		a.read("k", aside.Strong)
		if es := want("invalidation replace invalidation load read fill"); es[1].Err == nil {
			t.Error("an entry is replaced, without a reason")
		}

		// L2 fails
		fail := func(op string) {
			a.conn.Intercept(func(_ context.Context, o, _ string) error {
				if o == op {
					return errDown
				}
				return nil
			})
		}
		fail("Release")
		_ = a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return nil })
		if es := want("write invalidation fence release-failed"); !errors.Is(es[3].Err, errDown) {
			t.Errorf("release: %+v", es[3])
		}
		a.conn.Intercept(nil)
		time.Sleep(time.Second)
		want("deliver")
		fail("Fence")
		_ = a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return nil })
		if es := want("write fence-failed deliver"); !errors.Is(es[1].Err, errDown) {
			t.Errorf("fence: %+v", es[1])
		}
		a.conn.Intercept(func(context.Context, string, string) error { return errDown })
		_ = a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return nil })
		want("write fence-failed release-failed")
		a.conn.Intercept(nil)
		time.Sleep(time.Second)
		want("deliver")
		fail("Fill")
		a.read("k", aside.Default)
		if es := want("load read fill-failed"); !errors.Is(es[2].Err, errDown) {
			t.Errorf("fill: %+v", es[2])
		}
		a.conn.Intercept(nil)

		// the fence is lost
		_ = a.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { s.Flush(); return nil })
		want("write fence flush fence-lost")
		a.conn.Disconnect()
		want("flush")
	})
}

// The feed, L1 that is full, and a cache without L2. Caught: each of the calls that
// tell of it, left out.
func TestWatchWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := &asidetest.Log{}, newPrimary("k")
		n := newNode(t, p, nil, fedBy(l), func(o *options) { o.L1Size = 10 })
		n.fed()
		want, stop := n.watch("k")
		defer stop()
		n.read("k", aside.Default)
		want("load read fill")
		refused := errors.New("refused")
		_ = n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { return aside.Aborted(refused) })
		if es := want("write release"); !errors.Is(es[1].Err, refused) {
			t.Errorf("release: %+v", es[1])
		}
		n.read("k", aside.Default)
		want("load read fill")
		l.Append(driver.Change{Key: "k", Version: 1})
		if es := want("change-known"); es[0].Version != 1 {
			t.Errorf("change: %+v", es[0])
		}
		p.outside(l, "k")
		if es := want("change"); es[0].Version != 2 {
			t.Errorf("change: %+v", es[0])
		}
		_, err := n.Get(t.Context(), "none", p)
		if !errors.Is(err, aside.ErrNotFound) {
			t.Error(err)
		}
		want("")
		n.read("k", aside.Default)
		want("load read fill")
		evicted := n.Stats().L1Evictions
		for i := range 1000 {
			k := "k" + strconv.Itoa(i)
			p.put(k)
			n.read(k, aside.Default)
			n.read(k, aside.Default)
			n.read(k, aside.Default)
		}
		want("evict")
		if n.Stats().L1Evictions == evicted {
			t.Error("nothing was evicted")
		}
	})
}

// A write ends with one event: what it published, or what it removed, with the error of its
// function. Caught: a release beside what was published; a release that does not say why.
func TestWatchEndOfAWrite(t *testing.T) {
	eachTier(t, func(t *testing.T, s *asidetest.Server) {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, s)
			defer closeAll(n)
			want, stop := n.watch("k")
			defer stop()
			first, then := "write publish", "write release"
			if s != nil { // L2 tells of the fence over what it had
				first, then = "write fence publish", "write invalidation fence release"
			}
			n.update("k")
			want(first)
			failed := aside.Aborted(errors.New("no"))
			_ = n.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { return failed })
			for _, e := range want(then) {
				if e.Kind == aside.EventRelease && !errors.Is(e.Err, failed) {
					t.Errorf("release: %v", e.Err)
				}
			}
		})
	})
}
