package aside_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// told is an operation that an observer was told of.
type told struct {
	op       aside.Op
	parent   *told
	ended    int
	r        aside.OpResult
	children []*told
}

// ear is an observer that keeps all operations, each under the one whose context it has.
type ear struct {
	mu    sync.Mutex
	roots []*told
	all   []*told
	hits  []string
}

type toldKey struct{}

func toldOf(ctx context.Context) *told { o, _ := ctx.Value(toldKey{}).(*told); return o }

func (e *ear) observe(o *options) {
	o.Observer.Start = func(ctx context.Context, op aside.Op) context.Context {
		e.mu.Lock()
		defer e.mu.Unlock()
		t := &told{op: op, parent: toldOf(ctx)}
		e.all = append(e.all, t)
		if t.parent == nil {
			e.roots = append(e.roots, t)
		} else {
			t.parent.children = append(t.parent.children, t)
		}
		return context.WithValue(ctx, toldKey{}, t)
	}
	o.Observer.End = func(ctx context.Context, op aside.Op, r aside.OpResult) {
		e.mu.Lock()
		defer e.mu.Unlock()
		t := toldOf(ctx)
		t.ended++
		t.r = r
		if t.op.Kind != op.Kind || t.op.Key != op.Key {
			t.ended += 100 // the context of another
		}
	}
	o.Observer.Hit = func(_ context.Context, op aside.Op, i aside.Info) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.hits = append(e.hits, fmt.Sprint(op.Key, " ", i.Source, " ", i.Negative))
	}
}

// String is like "read k L2 (lookup found)": the kind, the key or the number of keys,
// the source or the outcome, and what was told of within.
func (t *told) String() string {
	s := t.op.Kind.String()
	if t.op.Kind == aside.OpRead || t.op.Keys != 1 {
		if s += fmt.Sprintf(" %v", t.op.Key); t.op.Key == nil {
			s = fmt.Sprintf("%v of %d", t.op.Kind, t.op.Keys)
		}
	}
	if t.r.Info.Source != aside.SourceNone {
		s += " " + t.r.Info.Source.String()
	}
	if t.r.Outcome != "" {
		s += " " + string(t.r.Outcome)
	}
	if t.ended != 1 {
		s += fmt.Sprintf(" ended %d times", t.ended)
	}
	if len(t.children) > 0 {
		var of []string
		for _, c := range t.children {
			of = append(of, c.String())
		}
		s += " (" + strings.Join(of, ", ") + ")"
	}
	return s
}

// want compares all since the last call, in a synctest bubble.
func (e *ear) want(t *testing.T, want ...string) []*told {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	roots := e.roots
	e.roots = nil
	var got []string
	for _, r := range roots {
		got = append(got, r.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		dummy := &told{children: make([]*told, 10)}
		for i := range dummy.children {
			dummy.children[i] = &told{}
		}
		return []*told{dummy, dummy}
	}
	return roots
}

// Each operation is told with its parts, and each end once. Caught: each of the calls
// that tell of one, left out; a load whose context is not that of its read.
func TestObserverOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, e := t.Context(), &ear{}
		p, s := newPrimary("k", "l"), &asidetest.Server{}
		n := newNode(t, p, s, e.observe, func(o *options) { o.DegradedL1TTL, o.BreakerFailures = -1, 100 })

		p.beforeRead = func(string) { time.Sleep(3 * time.Millisecond) }
		n.read("k", aside.Default)
		r := e.want(t, "read k load (lookup granted, load loaded, fill stored)")[0]
		if load := r.children[1]; load.r.Took != 3*time.Millisecond || r.r.Took != 3*time.Millisecond || r.r.Info.Version != 1 || r.op.Cache != "test" {
			t.Errorf("read %+v, load %+v", r, load)
		}
		n.read("k", aside.Default)
		e.want(t)
		if !slices.Equal(e.hits, []string{"k L1 false"}) {
			t.Errorf("hits: %v", e.hits)
		}
		n.read("k", aside.Strong)
		if r := e.want(t, "read k L2 (lookup found)")[0]; r.op.Mode != aside.Strong {
			t.Errorf("%+v", r.op)
		}
		_, _ = n.Get(ctx, "none", p)
		if r := e.want(t, "read none load (lookup granted, load absent, fill stored)")[0]; r.r.Err != aside.ErrNotFound || r.children[1].r.Err != nil || !r.r.Info.Negative {
			t.Errorf("%+v", r.r)
		}
		p.fail(errDown)
		_, _ = n.Get(ctx, "l", p)
		if r := e.want(t, "read l load failed (lookup granted, load failed)"); !errors.Is(r[0].r.Err, errDown) || !errors.Is(r[0].children[1].r.Err, errDown) {
			t.Errorf("%+v", r[0])
		}
		p.fail(nil)
		_, _ = n.GetMany(ctx, []string{"k", "l", "m", "m"}, p)
		if r := e.want(t, "read of 2 (lookup granted, lookup granted, load of 2 loaded, fill stored, fill stored)"); len(r[0].children[2].op.Links) != 0 {
			t.Errorf("links to itself: %+v", r[0].children[2].op)
		}

		write := func(err error) {
			_ = n.Write(ctx, "k", func(ctx context.Context, w *aside.WriteTx[string, rec]) error {
				if o := toldOf(ctx); o == nil || o.op.Kind != aside.OpWrite {
					t.Error("the write function has not the context of its write")
				}
				w.Publish("k", p.put("k"))
				return err
			})
		}
		write(nil)
		e.want(t, "write written (fence, release)")
		write(aside.Aborted(errDown))
		e.want(t, "write refused (fence, release)")
		write(errDown)
		e.want(t, "write unknown (fence)")
		n.read("k", aside.Default)
		e.want(t, "read k load (lookup fenced, load loaded)")
		time.Sleep(11 * time.Second) // the fence is lifted, which is no operation of anybody
		e.want(t)
		func() {
			defer func() { _ = recover() }()
			_ = n.WriteMany(ctx, []string{"k", "l"}, func(context.Context, *aside.WriteTx[string, rec]) error { panic("write") })
		}()
		if r := e.want(t, "write of 2 unknown (fence of 2)"); r[0].r.Err == nil {
			t.Error("a write that panicked has no error")
		}
		time.Sleep(11 * time.Second)
		if err := n.Invalidate(ctx, "k", "l", "l"); err != nil {
			t.Error(err)
		}
		e.want(t, "invalidate of 2")
		if err := n.InvalidateTag(ctx, "tag"); err != nil {
			t.Error(err)
		}
		e.want(t, "invalidate-tag of 0")

		n.conn.Intercept(func(context.Context, string, string) error { return errDown })
		n.read("k", aside.Default)
		e.want(t, "read k load (lookup failed, load loaded)")
		write(nil)
		e.want(t, "write written (fence failed)")
		_ = n.Invalidate(ctx, "k")
		e.want(t, "invalidate")
	})
}

// What waits, and what others bring. Caught: a follower that does not know whose load it
// shared; a lookup that ends before the wait for another node, or never.
func TestObserverShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, other := &ear{}, &ear{}
		p, s := newPrimary("k"), &asidetest.Server{}
		a, b := newNode(t, p, s, e.observe), newNode(t, p, s, other.observe)
		held := make(chan struct{})
		hold := func(string) { <-held }
		p.afterRead = hold

		go a.read("k", aside.Default)
		synctest.Wait()
		go a.read("k", aside.Default)
		go b.read("k", aside.Default)
		synctest.Wait()
		time.Sleep(time.Millisecond)
		close(held)
		rs := e.want(t, "read k load (lookup granted, load loaded, fill stored)", "read k load")
		if led, followed := rs[0], rs[1]; len(led.r.Shared) != 0 || len(followed.r.Shared) != 1 || toldOf(followed.r.Shared[0]) != led.children[1] || !followed.r.Info.Coalesced {
			t.Errorf("led %+v, followed %+v", led, followed)
		}
		r := other.want(t, "read k L2 (lookup found)")[0]
		if r.children[0].r.Took < time.Millisecond {
			t.Errorf("a lookup that waited took %v", r.children[0].r.Took)
		}

		// the other node hangs: this one loads the record itself after LeaseWait
		_ = b.Invalidate(t.Context(), "k")
		held = make(chan struct{})
		go b.read("k", aside.Default)
		synctest.Wait()
		p.afterRead = nil
		a.read("k", aside.Default)
		r = e.want(t, "read k load (lookup waited, load loaded)")[0]
		if took := r.children[0].r.Took; took < 2*time.Second || took > 3*time.Second {
			t.Errorf("waited %v, want LeaseWait", took)
		}
		close(held)
		synctest.Wait()
		other.roots = nil

		// the caller leaves, the load goes on; then a load that takes too long
		_ = a.Invalidate(t.Context(), "k")
		e.want(t, "invalidate")
		p.afterRead = func(string) { time.Sleep(time.Second) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := a.Get(ctx, "k", p)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		e.want(t, "read k failed (lookup granted, load loaded, fill stored)")
		_ = a.Invalidate(t.Context(), "k")
		e.want(t, "invalidate")
		p.afterRead = func(string) { time.Sleep(7 * time.Second) }
		_, _ = a.Get(t.Context(), "k", p)
		time.Sleep(10 * time.Second)
		if r := e.want(t, "read k load failed (lookup granted, load loaded)")[0]; r.r.Took != 5*time.Second || r.children[1].r.Took != 7*time.Second {
			t.Errorf("read %v, load %v", r.r.Took, r.children[1].r.Took)
		}
	})
}

// A loader gets what Start has put into the context, its deadline too, and reads that
// it begins are parts of it. Caught: an observer's context in place of the load's.
func TestObserverNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, p := &ear{}, newPrimary("inner")
		n := newNode(t, p, nil, e.observe)
		_, err := n.Get(t.Context(), "outer", aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != 5*time.Second {
				t.Errorf("deadline %v %v", d, ok)
			}
			if _, err := n.Get(ctx, "outer", p); !errors.Is(err, aside.ErrNestedLoad) {
				t.Errorf("a loader reads its own key: %v", err)
			}
			return n.Get(ctx, "inner", p)
		}))
		if err != nil {
			t.Error(err)
		}
		e.want(t, "read outer load (load loaded (read outer failed, read inner load (load loaded)))")
	})
}

// Functions that panic, or return no context, do no harm. Caught: a panic in a load's
// goroutine, which ends the process.
func TestObserverPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newNode(t, p, &asidetest.Server{}, func(o *options) {
			o.Observer = aside.Observer{
				Start: func(context.Context, aside.Op) context.Context { panic("start") },
				Hit:   func(context.Context, aside.Op, aside.Info) { panic("hit") },
				Event: func(any, aside.Event) { panic("event") },
			}
		})
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		n.want("k", 1, aside.SourceL1)
		n.update("k")
		n.wantStrong("k", 2)
		if got := n.Stats().Panics; got < 9 {
			t.Errorf("%d panics counted", got)
		}
		m := newNode(t, p, nil, func(o *options) {
			o.Observer.Start = func(context.Context, aside.Op) context.Context { return nil }
			o.Observer.End = func(ctx context.Context, _ aside.Op, _ aside.OpResult) {
				if ctx == nil {
					t.Error("no context")
				}
				panic("end")
			}
		})
		m.want("k", 2, aside.SourceLoad)
		if got := m.Stats().Panics; got != 2 {
			t.Errorf("%d panics counted, want those of a read and its load", got)
		}
	})
}

// Whatever happens, each operation that begins ends, once. Caught: a lookup whose job
// ends with the cache; a fill that L2 fails.
func TestObserverComplete(t *testing.T) {
	e := &ear{}
	p, s := newPrimary("a", "b", "c"), &asidetest.Server{}
	n := newNode(t, p, s, e.observe, func(o *options) {
		o.L1Size, o.MaxLoads, o.MaxQueuedLoads, o.LeaseWait = 2, 2, 4, 5*time.Millisecond
		o.L2Timeout, o.BreakerDelay = 5*time.Millisecond, time.Millisecond
	})
	other := newNode(t, p, s)
	var count sync.Map
	n.conn.Intercept(func(_ context.Context, op, _ string) error {
		v, _ := count.LoadOrStore(op, new(int64))
		if k := v.(*int64); addInt(k)%5 == 0 {
			return errDown
		}
		return nil
	})
	keys := []string{"a", "b", "c", "d"}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 150 {
				k := keys[(g+i)%4]
				switch (g * i) % 7 {
				case 0:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
					_, _ = n.Get(ctx, k, p)
					cancel()
				case 1:
					_, _ = n.Read(t.Context(), k, p, aside.Strong)
				case 2:
					_, _ = n.GetMany(t.Context(), keys, p)
				case 3:
					_ = n.Write(t.Context(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error { w.Publish(k, p.put(k)); return nil })
				case 4:
					_ = n.Invalidate(t.Context(), k)
				case 5:
					_, _ = other.Read(t.Context(), k, p, aside.Strong)
				default:
					_, _ = n.Get(t.Context(), k, p)
				}
			}
		})
	}
	wg.Wait()
	_ = n.Close(t.Context())
	kinds := map[aside.OpKind]int{}
	for _, o := range e.all {
		kinds[o.op.Kind]++
		if o.ended != 1 {
			t.Errorf("%v", o)
		}
	}
	for k := aside.OpRead; k <= aside.OpInvalidate; k++ {
		if kinds[k] == 0 {
			t.Errorf("no %v was told of", k)
		}
	}
}
