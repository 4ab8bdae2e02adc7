package aside_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// together runs f in a bubble, in a cache whose single reads of one moment are loaded
// together, without L2 and with it. The bulk loader notes its calls.
func together(t *testing.T, change func(*options), f func(t *testing.T, n *node, b *bulkCalls)) {
	for _, l2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("L2 %v", l2), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s *asidetest.Server
				if l2 {
					s = &asidetest.Server{}
				}
				p := newPrimary()
				for i := range 200 {
					p.put(fmt.Sprint("k", i))
				}
				b := &bulkCalls{p: p, s: s}
				n := newNode(t, p, s, func(o *options) {
					o.Loader, o.BulkLoader, o.Bulk.Wait = p, b, 2*time.Millisecond
					if change != nil {
						change(o)
					}
				})
				f(t, n, b)
				if err := n.Close(context.Background()); err != nil {
					t.Errorf("close: %v", err)
				}
			})
		})
	}
}

// bulkCalls is a bulk loader of a primary that notes its calls.
type bulkCalls struct {
	p      *primary
	s      *asidetest.Server
	mu     sync.Mutex
	calls  [][]string
	before func(ctx context.Context, keys []string) (map[string]rec, error) // answers, if it is not nil
}

func (b *bulkCalls) LoadMany(ctx context.Context, keys []string) (map[string]rec, error) {
	b.mu.Lock()
	b.calls = append(b.calls, slices.Sorted(slices.Values(keys)))
	before := b.before
	b.mu.Unlock()
	if before != nil {
		return before(ctx, slices.Clone(keys))
	}
	return b.p.LoadMany(ctx, keys)
}

func (b *bulkCalls) answer(f func(ctx context.Context, keys []string) (map[string]rec, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before = f
}

func (b *bulkCalls) list() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// getAll reads the keys at the same time, with the cache's own loaders.
func getAll(n *node, ctx context.Context, keys ...string) (values []rec, errs []error) {
	values, errs = make([]rec, len(keys)), make([]error, len(keys))
	var wg sync.WaitGroup
	for i, k := range keys {
		wg.Go(func() { values[i], errs[i] = n.Get(ctx, k) })
	}
	wg.Wait()
	return values, errs
}

func numbered(from, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint("k", from+i))
	}
	return keys
}

// Single reads that miss at one moment are few calls of the bulk loader, of MaxKeys keys
// at most. Each is answered with its own record, and each record is stored. A read that
// is alone, and one with a loader of its own, is loaded alone.
// Caught: a load for each key.
func TestMissesOfAMomentAreOneBulkLoad(t *testing.T) {
	together(t, func(o *options) { o.Bulk.MaxKeys = 40 }, func(t *testing.T, n *node, b *bulkCalls) {
		keys := append(numbered(0, 99), "absent")
		values, errs := getAll(n, t.Context(), keys...)
		for i, k := range keys {
			if k == "absent" && !errors.Is(errs[i], aside.ErrNotFound) || k != "absent" && (errs[i] != nil || values[i] != rec{k, 1}) {
				t.Errorf("%s: %v, %v", k, values[i], errs[i])
			}
		}
		synctest.Wait()
		var all []string
		for _, c := range b.list() {
			if len(c) > 40 {
				t.Errorf("a call of %d keys", len(c))
			}
			all = append(all, c...)
		}
		if calls := len(b.list()); calls != 3 || len(all) != 100 {
			t.Errorf("%d calls for %d keys", calls, len(all))
		}
		if s := n.Stats(); s.Loads != 3 || s.BatchedLoads != 3 || s.BatchedKeys != 100 || s.Misses != 100 {
			t.Errorf("%d loads, %d of several keys, of %d; %d misses", s.Loads, s.BatchedLoads, s.BatchedKeys, s.Misses)
		}
		for _, k := range keys[:99] {
			n.want(k, 1, aside.SourceL1)
		}
		if n.conn != nil {
			m := newNode(t, n.p, b.s)
			m.want("k7", 1, aside.SourceL2)
		}
		reads := n.p.reads.Load()
		var wg sync.WaitGroup
		wg.Go(func() { n.want("k100", 1, aside.SourceLoad) }) // loader of its own
		wg.Go(func() {
			if _, err := n.Get(t.Context(), "k101"); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if s := n.Stats(); s.BatchedLoads != 3 || n.p.reads.Load() != reads+2 || len(b.list()) != 3 {
			t.Errorf("two more reads: %+v", s)
		}
	})
}

// Without a wait, those are loaded together that have been looked up together.
// Caught: a load for each key.
func TestMissesOfOneLookupAreOneBulkLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary(numbered(0, 100)...)
		b := &bulkCalls{p: p}
		n := newNode(t, p, s, func(o *options) { o.BulkLoader = b }) // and no Loader
		n.conn.Intercept(func(context.Context, string, string) error {
			time.Sleep(time.Millisecond) // until all have come
			return nil
		})
		values, errs := getAll(n, t.Context(), numbered(0, 99)...)
		if err := errors.Join(errs...); err != nil || values[98] != (rec{"k98", 1}) {
			t.Errorf("%v, %v", values[98], err)
		}
		if calls := len(b.list()); calls > 50 {
			t.Errorf("%d calls", calls)
		}
	})
}

// Each key has its own error; what fails a call fails the keys that it did not answer.
// What is not there is not there, and a panic and the end of the goroutine reach all.
// The leases are given back: the next read loads at once.
// Caught: one key's error that is another's.
func TestErrorsOfABulkLoadOfSingleReads(t *testing.T) {
	down, bad := errors.New("down"), errors.New("bad record")
	for _, c := range []struct {
		name   string
		answer func(m map[string]rec) (map[string]rec, error)
		want   [3]error // of k0, k1, k2; errPanic: a PanicError
	}{
		{"of a key", func(m map[string]rec) (map[string]rec, error) {
			delete(m, "k2")
			return m, aside.KeyErrors[string]{"k1": bad}
		}, [3]error{nil, bad, aside.ErrNotFound}},
		{"of the call", func(m map[string]rec) (map[string]rec, error) {
			return map[string]rec{"k1": m["k1"]}, down
		}, [3]error{down, nil, down}},
		{"nothing", func(map[string]rec) (map[string]rec, error) { return nil, nil }, [3]error{aside.ErrNotFound, aside.ErrNotFound, aside.ErrNotFound}},
		{"panic", func(map[string]rec) (map[string]rec, error) { panic(bad) }, [3]error{bad, bad, bad}},
		{"goexit", func(map[string]rec) (map[string]rec, error) { runtime.Goexit(); return nil, nil }, [3]error{aside.ErrLoadPanicked, aside.ErrLoadPanicked, aside.ErrLoadPanicked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			together(t, func(o *options) { o.NegativeTTL = -1 }, func(t *testing.T, n *node, b *bulkCalls) {
				b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
					m, err := b.p.LoadMany(ctx, keys)
					if err != nil {
						return nil, err
					}
					return c.answer(m)
				})
				_, errs := getAll(n, t.Context(), "k0", "k1", "k2")
				for i, err := range errs {
					if !errors.Is(err, c.want[i]) {
						t.Errorf("k%d: %v, want %v", i, err, c.want[i])
					}
				}
				synctest.Wait()
				b.answer(nil)
				start := time.Now()
				_, errs = getAll(n, t.Context(), "k0", "k1", "k2")
				if err := errors.Join(errs...); err != nil || time.Since(start) > 10*time.Millisecond {
					t.Errorf("afterwards: %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// A bulk load that hangs holds its own keys until LoadTimeout, and no others; its slot
// is one. Afterwards its keys are loaded anew.
func TestHungBulkLoadHoldsItsKeysOnly(t *testing.T) {
	together(t, func(o *options) { o.LoadTimeout, o.MaxLoads = time.Second, 2 }, func(t *testing.T, n *node, b *bulkCalls) {
		hang := make(chan struct{})
		b.answer(func(context.Context, []string) (map[string]rec, error) { <-hang; return nil, errors.New("too late") })
		start := time.Now()
		hung := make(chan []error, 1)
		go func() { _, errs := getAll(n, t.Context(), numbered(0, 50)...); hung <- errs }()
		time.Sleep(10 * time.Millisecond)
		b.answer(nil)
		_, errs := getAll(n, t.Context(), numbered(50, 50)...)
		if err := errors.Join(errs...); err != nil || time.Since(start) > 100*time.Millisecond {
			t.Errorf("others: %v after %v", err, time.Since(start))
		}
		if s := n.Stats(); s.LoadsRunning != 1 {
			t.Errorf("%d loads run", s.LoadsRunning)
		}
		for i, err := range <-hung {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("k%d: %v", i, err)
			}
		}
		if d := time.Since(start); d < time.Second || d > time.Second+10*time.Millisecond {
			t.Errorf("ended after %v", d)
		}
		synctest.Wait()
		if _, errs = getAll(n, t.Context(), numbered(0, 50)...); errors.Join(errs...) != nil {
			t.Errorf("anew: %v", errors.Join(errs...))
		}
		close(hang)
	})
}

// A caller that leaves has its own context's error at once. A key whose callers have
// all left is not loaded with the others that wait for a slot, or for company; its lease is
// given back. Caught: it is loaded for nobody.
func TestAbandonedKeysOfABulkLoad(t *testing.T) {
	for _, queue := range []bool{true, false} {
		together(t, func(o *options) { o.MaxLoads, o.Bulk.Wait = 1, 5*time.Millisecond }, func(t *testing.T, n *node, b *bulkCalls) {
			release := make(chan struct{})
			if queue {
				b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
					<-release
					return b.p.LoadMany(ctx, keys)
				})
				go getAll(n, context.Background(), "k0", "k1")
				time.Sleep(10 * time.Millisecond) // it has the slot
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				_, errs := getAll(n, ctx, "k2", "k3")
				for _, err := range errs {
					if err != context.Canceled {
						t.Errorf("who left: %v", err)
					}
				}
			})
			wg.Go(func() {
				if _, errs := getAll(n, t.Context(), "k3", "k4"); errors.Join(errs...) != nil {
					t.Error(errs)
				}
			})
			if queue {
				time.Sleep(10 * time.Millisecond)
				if s := n.Stats(); s.LoadsQueued != 1 {
					t.Errorf("%d loads wait", s.LoadsQueued)
				}
			} else {
				time.Sleep(time.Millisecond)
			}
			cancel()
			synctest.Wait()
			close(release)
			wg.Wait()
			synctest.Wait()
			calls := b.list()
			if got := strings.Join(calls[len(calls)-1], " "); got != "k3 k4" || n.Stats().LoadsDropped != 1 {
				t.Errorf("loaded %v, %d dropped", calls, n.Stats().LoadsDropped)
			}
			start := time.Now()
			if _, err := n.Get(t.Context(), "k2"); err != nil || time.Since(start) > 6*time.Millisecond {
				t.Errorf("k2 later: %v after %v", err, time.Since(start))
			}
		})
	}
}

// The loader's context has the values of the first read, and its own deadline.
func TestContextOfABulkLoadOfSingleReads(t *testing.T) {
	type ctxKey struct{}
	together(t, nil, func(t *testing.T, n *node, b *bulkCalls) {
		b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
			if d, ok := ctx.Deadline(); ctx.Value(ctxKey{}) != "first" || !ok || time.Until(d) != 5*time.Second || keys[0] != "k0" {
				t.Errorf("value %v, deadline in %v, keys %v", ctx.Value(ctxKey{}), time.Until(d), keys)
			}
			return b.p.LoadMany(ctx, keys)
		})
		var wg sync.WaitGroup
		for i, v := range []string{"first", "second"} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, v), time.Second)
				defer cancel()
				if _, err := n.Get(ctx, fmt.Sprint("k", i)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if calls := b.list(); len(calls) != 1 {
			t.Errorf("%v", calls)
		}
	})
}

// Loaders that read through the cache: what one of them reads at one moment is loaded
// together, and not with what others read, so that no load has to wait for itself.
// Reads of loaders have their own slots. Caught: children of two loads in one load.
func TestNestedReadsOfABulkLoader(t *testing.T) {
	together(t, func(o *options) { o.MaxLoads = 2 }, func(t *testing.T, n *node, b *bulkCalls) {
		parent := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			child := "k1" + k[len("parent"):]
			_, errs := getAll(n, ctx, child+"0", child+"1", child+"2")
			return rec{k, 1}, errors.Join(errs...)
		})
		errs := ended(t,
			func(ctx context.Context) error { _, err := n.Get(ctx, "parent0", parent); return err },
			func(ctx context.Context) error { _, err := n.Get(ctx, "parent1", parent); return err },
		)
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		calls := b.list()
		slices.SortFunc(calls, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
		if fmt.Sprint(calls) != "[[k100 k101 k102] [k110 k111 k112]]" {
			t.Errorf("%v", calls)
		}
	})
}

// A bulk loader that reads another key through the cache meets one that it is to load
// itself, because that came at the same moment. Such reads are loaded one by one.
// Caught: both fail, where neither does when it comes alone.
func TestBulkLoaderThatReadsWhatCameWithIt(t *testing.T) {
	for _, single := range []bool{true, false} {
		together(t, func(o *options) {
			if !single {
				o.Loader = nil
			}
		}, func(t *testing.T, n *node, b *bulkCalls) {
			withParent := func(ctx context.Context, keys []string) (map[string]rec, error) {
				m, err := b.p.LoadMany(ctx, keys)
				for _, k := range keys {
					if err == nil && k != "k0" {
						_, err = n.Get(ctx, "k0")
					}
				}
				return m, err
			}
			b.answer(withParent)
			values, errs := getAll(n, t.Context(), "k0", "k1", "k2")
			if err := errors.Join(errs...); err != nil || values[2] != (rec{"k2", 1}) {
				t.Errorf("%v, %v", values, err)
			}
			synctest.Wait()
			n.want("k1", 1, aside.SourceL1)
		})
	}
}

// Close sends reads off that wait for company, and waits for the call; a call that hangs
// is given up when Close's context ends.
func TestCloseDuringABulkLoad(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		together(t, func(o *options) { o.Bulk.Wait = time.Second }, func(t *testing.T, n *node, b *bulkCalls) {
			hang := make(chan struct{})
			if hangs {
				b.answer(func(context.Context, []string) (map[string]rec, error) { <-hang; return nil, nil })
			}
			read := make(chan []error, 1)
			go func() { _, errs := getAll(n, context.Background(), "k0", "k1"); read <- errs }()
			synctest.Wait()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			err := n.Close(ctx)
			errs := <-read
			if hangs != (err != nil) || time.Since(start) > 10*time.Millisecond {
				t.Errorf("Close: %v after %v", err, time.Since(start))
			}
			for _, err := range errs {
				if hangs != errors.Is(err, aside.ErrClosed) || !hangs && err != nil {
					t.Errorf("hangs %v: %v", hangs, err)
				}
			}
			close(hang)
			synctest.Wait()
			n.Cache = newNode(t, n.p, nil).Cache // for together
		})
	}
}

// Each key of a bulk load has its own lease: another node waits for those that it reads
// and gets their values; a write refuses the fill of its own key alone.
func TestEachKeyOfABulkLoadHasItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary(numbered(0, 10)...)
		b := &bulkCalls{p: p}
		n := newNode(t, p, s, func(o *options) { o.BulkLoader, o.Bulk.Wait = b, time.Millisecond })
		other := newNode(t, p, s)
		b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
			m, err := p.LoadMany(ctx, keys)
			other.update("k3")
			time.Sleep(100 * time.Millisecond)
			return m, err
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, errs := getAll(n, t.Context(), numbered(0, 10)...); errors.Join(errs...) != nil {
				t.Error(errs)
			}
		})
		wg.Go(func() {
			time.Sleep(10 * time.Millisecond)
			other.want("k4", 1, aside.SourceL2)
		})
		wg.Wait()
		synctest.Wait()
		if st := n.Stats(); st.Fills != 9 || st.FillsRefused != 1 || p.reads.Load() != 1 {
			t.Errorf("%d fills, %d refused, %d loads", st.Fills, st.FillsRefused, p.reads.Load())
		}
		n.wantStrong("k3", 2)
		n.want("k5", 1, aside.SourceL1)
	})
}

func TestBulkLimitsAreChecked(t *testing.T) {
	_, err := aside.New(aside.Options[string, rec]{Bulk: aside.BulkLimits{MaxKeys: -1, Wait: 6 * time.Second}})
	for _, want := range []string{"Bulk.MaxKeys is -1", "Bulk.Wait is 6s, longer than LoadTimeout, 5s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
	c, err := aside.New(aside.Options[string, rec]{BulkLoader: newPrimary("a", "b"), Bulk: aside.BulkLimits{Wait: -1}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	var wg sync.WaitGroup
	for _, k := range []string{"a", "b"} {
		wg.Go(func() {
			if v, err := c.Get(t.Context(), k); err != nil || v.Key != k {
				t.Errorf("%s: %v, %v", k, v, err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Loads != 2 || s.BatchedLoads != 0 {
		t.Errorf("switched off: %+v", s)
	}
}
