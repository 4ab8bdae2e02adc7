package aside_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// meet returns a function that returns once n have called it.
func meet(n int) func() {
	var wg sync.WaitGroup
	wg.Add(n)
	return func() { wg.Done(); wg.Wait() }
}

// ended runs the reads at once and returns their errors; that none waits for
// LoadTimeout is for fake time to say.
func ended(t *testing.T, reads ...func(context.Context) error) (errs []error) {
	t.Helper()
	errs = make([]error, len(reads))
	start := time.Now()
	var wg sync.WaitGroup
	for i, read := range reads {
		wg.Go(func() { errs[i] = read(t.Context()) })
	}
	wg.Wait()
	if d := time.Since(start); d > 100*time.Millisecond { // a lost push costs a poll
		t.Errorf("they ended after %v", d)
	}
	return errs
}

// Loads that wait for each other in a circle, each begun by a caller of its own, are
// told so at once. Caught: they waited until LoadTimeout.
func TestLoadsInACircle(t *testing.T) {
	for _, l2 := range []bool{false, true} {
		for size := 2; size <= 4; size++ {
			for _, bulk := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d loads, bulk %v, L2 %v", size, bulk, l2), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var s *asidetest.Server
						if l2 {
							s = &asidetest.Server{}
						}
						n := newNode(t, newPrimary("other"), s)
						all := meet(size)
						next := func(ctx context.Context, k int) (err error) {
							all()
							unused := func(context.Context, string) (rec, error) { return rec{}, errors.New("a second load") }
							key := fmt.Sprint((k + 1) % size)
							if !bulk {
								_, err = n.Get(ctx, key, aside.LoaderFunc[string, rec](unused))
								return err
							}
							_, err = n.GetMany(ctx, []string{"other", key}, aside.BulkLoaderFunc[string, rec](func(_ context.Context, ks []string) (map[string]rec, error) {
								return map[string]rec{"other": {}}, nil
							}))
							return err
						}
						var reads []func(context.Context) error
						for k := range size {
							reads = append(reads, func(ctx context.Context) error {
								_, err := n.Get(ctx, fmt.Sprint(k), aside.LoaderFunc[string, rec](func(ctx context.Context, _ string) (rec, error) { return rec{}, next(ctx, k) }))
								return err
							})
						}
						for k, err := range ended(t, reads...) {
							if !errors.Is(err, aside.ErrNestedLoad) {
								t.Errorf("load %d: %v", k, err)
							}
						}
					})
				})
			}
		}
	}
}

// The same over caches of different types, and with loads in between that loaders
// have begun themselves. Caught: knowing only of the loads of one's own cache; only of
// who joined a flight, not of who leads one.
func TestLoadsInACircleOfTwoCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := newNode(t, newPrimary(), &asidetest.Server{})
		numbers, err := aside.New(aside.Options[int, string]{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer numbers.Close(t.Context())
		both := meet(2)
		var one, two func(ctx context.Context) error
		nothing := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "", errors.New("a second load") })
		one = func(ctx context.Context) error { // names "one" -> numbers 1 -> numbers 2
			_, err := names.Get(ctx, "one", aside.LoaderFunc[string, rec](func(ctx context.Context, _ string) (rec, error) {
				_, err := numbers.Get(ctx, 1, aside.LoaderFunc[int, string](func(ctx context.Context, _ int) (string, error) {
					both()
					return numbers.Get(ctx, 2, nothing)
				}))
				return rec{}, err
			}))
			return err
		}
		two = func(ctx context.Context) error { // numbers 2 -> names "one"
			_, err := numbers.Get(ctx, 2, aside.LoaderFunc[int, string](func(ctx context.Context, _ int) (string, error) {
				both()
				synctest.Wait()
				_, err := names.Get(ctx, "one", names.p)
				return "", err
			}))
			return err
		}
		for i, err := range ended(t, one, two) {
			if !errors.Is(err, aside.ErrNestedLoad) {
				t.Errorf("read %d: %v", i, err)
			}
		}
	})
}

// Who is told may do without: then all are answered. Loads that wait for the same
// load, and for each other one way only, are no circle.
func TestLoadsThatDoNotCloseACircle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("c", "alone"), &asidetest.Server{})
		all, leads := meet(2), make(chan struct{})
		get := func(k string, f func(ctx context.Context) error) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := n.Get(ctx, k, aside.LoaderFunc[string, rec](func(ctx context.Context, _ string) (rec, error) { return rec{}, f(ctx) }))
				return err
			}
		}
		slow := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { time.Sleep(10 * time.Millisecond); return rec{}, nil })
		errs := ended(t,
			get("a", func(ctx context.Context) error { all(); _, err := n.Get(ctx, "b", n.p); return err }),
			get("b", func(ctx context.Context) error {
				all()
				synctest.Wait() // a waits for this load
				if _, err := n.Get(ctx, "a", n.p); !errors.Is(err, aside.ErrNestedLoad) {
					t.Errorf("b reads a: %v", err)
				}
				close(leads)
				_, err := n.Get(ctx, "c", slow)
				return err
			}),
			get("d", func(ctx context.Context) error {
				<-leads // or d would load a and b itself
				_, err := n.GetMany(ctx, []string{"c", "a", "b"}, aside.BulkLoaderFunc[string, rec](func(_ context.Context, ks []string) (map[string]rec, error) {
					return map[string]rec{"a": {}, "b": {}, "c": {}}, nil
				}))
				return err
			}),
		)
		for i, err := range errs {
			if err != nil {
				t.Errorf("read %d: %v", i, err)
			}
		}
	})
}

// Loaders that read through the cache do not wait for slots that are taken by those
// who wait for them. A loader of a key that reads that key is told so at once.
// Caught: one set of slots for all; a read that queued before it was waited for by
// such a loader, and is not let past those.
func TestBoundsNestedLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("child"), &asidetest.Server{}, func(o *options) { o.MaxLoads = 8 })
		parent := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			time.Sleep(time.Millisecond)
			return n.Get(ctx, "child", n.p)
		})
		start := time.Now()
		var wg sync.WaitGroup
		get := func(k string, l aside.Loader[string, rec]) {
			wg.Go(func() {
				if _, err := n.Get(t.Context(), k, l); err != nil {
					t.Errorf("%s: %v", k, err)
				}
			})
		}
		for i := range 8 {
			get(fmt.Sprint("parent", i), parent)
		}
		synctest.Wait() // they run
		get("child", n.p)
		synctest.Wait() // it is queued behind them
		for i := range 100 {
			get(fmt.Sprint("later", i), parent)
		}
		wg.Wait()
		if d := time.Since(start); d > time.Second {
			t.Errorf("%v", d)
		}
		own := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) { return n.Get(ctx, k, n.p) })
		start = time.Now()
		if _, err := n.Get(t.Context(), "own", own); !errors.Is(err, aside.ErrNestedLoad) || time.Since(start) > time.Millisecond {
			t.Errorf("a loader of its own key: %v after %v", err, time.Since(start))
		}
		var deep aside.LoaderFunc[string, rec]
		deep = func(ctx context.Context, k string) (rec, error) { return n.Get(ctx, k+"x", deep) }
		if _, err := n.Get(t.Context(), "deep", deep); !errors.Is(err, aside.ErrNestedLoad) {
			t.Errorf("loads without an end: %v", err)
		}
		many := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, ks []string) (map[string]rec, error) {
			_, err := n.GetMany(ctx, []string{ks[len(ks)-1]}, n.p)
			return nil, err
		})
		if _, err := n.GetMany(t.Context(), []string{"m1", "m2"}, many); !errors.Is(err, aside.ErrNestedLoad) {
			t.Errorf("a bulk loader of its own key: %v", err)
		}
	})
}

// A goroutine that a loader has started may read the loader's key once the load has ended:
// nobody waits for anybody. Caught: ErrNestedLoad, from a load that is over.
func TestReadAfterTheLoad(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		inner := make(chan context.Context, 1)
		loader := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			inner <- context.WithoutCancel(ctx)
			return p.Load(ctx, k)
		})
		if _, err := n.Get(t.Context(), "k", loader); err != nil {
			t.Fatal(err)
		}
		n.settled("k")
		if err := n.Invalidate(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(<-inner, "k", p); err != nil {
			t.Error(err)
		}
	})
}

// The loads of one read wait for no slot that a load has which waits for them: not if they
// are more than may run at once, and not if they are chunks of a bulk loader.
// Caught: all waited until LoadTimeout.
func TestLoadsOfOneReadThatWaitForEachOther(t *testing.T) {
	for _, c := range []struct{ maxLoads, children int }{{1, 1}, {3, 1}, {64, 32}, {64, 200}} {
		for _, bulk := range []bool{false, true} {
			t.Run(fmt.Sprint(c, bulk), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPrimary("parent")
					var n *node
					one := func(ctx context.Context, k string) (rec, error) {
						if strings.HasPrefix(k, "child") {
							return n.Get(ctx, "parent")
						}
						return p.Load(ctx, k)
					}
					n = newNode(t, p, nil, func(o *options) {
						o.MaxLoads = c.maxLoads
						if !bulk {
							o.Loader = aside.LoaderFunc[string, rec](one)
							return
						}
						o.Bulk.MaxKeys = 1
						o.BulkLoader = aside.BulkLoaderFunc[string, rec](func(ctx context.Context, ks []string) (map[string]rec, error) {
							r, err := one(ctx, ks[0])
							return map[string]rec{ks[0]: r}, err
						})
					})
					defer closeAll(n)
					start := time.Now()
					var keys []string
					for i := range c.children {
						keys = append(keys, fmt.Sprint("child", i))
					}
					keys = append(keys, "parent")
					if m, err := n.GetMany(t.Context(), keys); err != nil || len(m) != len(keys) || time.Since(start) > time.Second {
						t.Errorf("%d of %d values after %v: %.200v", len(m), len(keys), time.Since(start), err)
					}
				})
			})
		}
	}
}

// Loaders of two caches that read the other cache, each with all of its slots: what they
// read does not queue behind them. Caught: only loads of the same cache counted.
func TestLoadsOfTwoCachesThatTakeAllSlots(t *testing.T) {
	for _, loads := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("leaf")
			few := func(o *options) { o.MaxLoads = loads }
			a, b := newNode(t, p, nil, few), newNode(t, p, nil, few)
			defer closeAll(a, b)
			var met, all sync.WaitGroup
			met.Add(2 * loads)
			reads := func(of *node) aside.LoaderFunc[string, rec] {
				return func(ctx context.Context, _ string) (rec, error) {
					met.Done()
					met.Wait()
					return of.Get(ctx, "leaf", p)
				}
			}
			start := time.Now()
			for i := range loads {
				for _, x := range [][2]*node{{a, b}, {b, a}} {
					all.Go(func() {
						if _, err := x[0].Get(t.Context(), fmt.Sprint("x", i), reads(x[1])); err != nil {
							t.Errorf("after %v: %v", time.Since(start), err)
						}
					})
				}
			}
			all.Wait()
		})
	}
}
