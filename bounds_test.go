package aside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/gate"
)

// user is what callbacks trip over: a nil one.
type user struct {
	Name    string
	Version uint64
}

type userCodec struct {
	aside.JSON[*user]
	encode, decode func()
}

func (c userCodec) Encode(v *user) ([]byte, error) { c.encode(); return c.JSON.Encode(v) }
func (c userCodec) Decode(b []byte) (*user, error) { c.decode(); return c.JSON.Decode(b) }

// A panic of a callback is an error of its key, or of nothing; it is counted and
// logged, and the next read of the key works.
// Caught: each of the callbacks called without a guard, which ends the process.
func TestBoundsCallbackPanics(t *testing.T) {
	type opts = aside.Options[string, *user]
	loader := aside.LoaderFunc[string, *user](func(context.Context, string) (*user, error) { return &user{Name: "x"}, nil })
	bulk := aside.BulkLoaderFunc[string, *user](func(_ context.Context, keys []string) (map[string]*user, error) {
		out := map[string]*user{}
		for _, k := range keys {
			out[k] = &user{Name: "x"}
		}
		return out, nil
	})
	get := func(c *aside.Cache[string, *user]) error {
		_, err := c.Get(context.Background(), "k", loader)
		return err
	}
	getMany := func(c *aside.Cache[string, *user]) error {
		_, err := c.GetMany(context.Background(), []string{"k", "l"}, bulk)
		return err
	}
	write := func(c *aside.Cache[string, *user]) error {
		return c.Write(context.Background(), func(_ context.Context, w *aside.Writing[string, *user]) error {
			w.Publish("k", &user{})
			return nil
		}, "k")
	}
	ident := func(s string) (string, error) { return s, nil }
	for _, c := range []struct {
		name  string
		armed func(o *opts, bad func())
		do    func(c *aside.Cache[string, *user]) error
		fails bool // the caller is told
	}{
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, get, true},
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, getMany, true},
		{"Key", func(o *opts, bad func()) { o.Key, o.ParseKey = func(k string) string { bad(); return k }, ident }, write, true},
		{"ParseKey", func(o *opts, bad func()) {
			o.Key, o.ParseKey = strings.ToUpper, func(s string) (string, error) { bad(); return strings.ToLower(s), nil }
		}, get, false},
		{"Codec.Encode", func(o *opts, bad func()) { o.Codec = userCodec{encode: bad, decode: func() {}} }, get, false},
		{"Codec.Encode", func(o *opts, bad func()) { o.Codec = userCodec{encode: bad, decode: func() {}} }, write, false},
		{"Codec.Decode", func(o *opts, bad func()) { o.Codec = userCodec{encode: func() {}, decode: bad}; o.L1Size = -1 }, get, false},
		{"Codec.Decode", func(o *opts, bad func()) { o.Codec = userCodec{encode: func() {}, decode: bad}; o.L1Size = -1 }, getMany, false},
		{"Validate", func(o *opts, bad func()) {
			o.Validate, o.L1Size = func(string, *user) error { bad(); return nil }, -1
		}, get, false},
		{"Validate", func(o *opts, bad func()) {
			o.Validate, o.L1Size = func(string, *user) error { bad(); return nil }, -1
		}, getMany, false},
		{"Version", func(o *opts, bad func()) { o.Version = func(*user) uint64 { bad(); return 1 } }, get, false},
		{"Version", func(o *opts, bad func()) { o.Version = func(*user) uint64 { bad(); return 1 } }, write, false},
		{"L1Cost", func(o *opts, bad func()) {
			o.L1MaxCost, o.L1Cost = 1000, func(string, *user) uint32 { bad(); return 1 }
		}, get, false},
		{"L1Cost", func(o *opts, bad func()) {
			o.L1MaxCost, o.L1Cost = 1000, func(string, *user) uint32 { bad(); return 1 }
		}, write, false},
		{"OnLoad", func(o *opts, bad func()) { o.OnLoad = func(time.Duration, error) { bad() } }, get, false},
		{"OnL2", func(o *opts, bad func()) { o.OnL2 = func(string, time.Duration, error) { bad() } }, get, false},
		{"OnL2", func(o *opts, bad func()) { o.OnL2 = func(string, time.Duration, error) { bad() } }, write, false},
		{"DefiniteError", func(o *opts, bad func()) { o.DefiniteError = func(error) bool { bad(); return true } }, func(c *aside.Cache[string, *user]) error {
			_ = c.Write(context.Background(), func(context.Context, *aside.Writing[string, *user]) error { return errDown }, "other")
			return nil
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var armed atomic.Bool
				bad := func() {
					if armed.Load() {
						var u *user
						_ = u.Name
					}
				}
				var log bytes.Buffer
				o := opts{Name: "u", L2: (&asidetest.Server{}).NewClient(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
				c.armed(&o, bad)
				cache, err := aside.New(o)
				if err != nil {
					t.Fatal(err)
				}
				if c.name == "Codec.Decode" || c.name == "Validate" {
					if err := getMany(cache); err != nil { // so that there is something to decode
						t.Fatal(err)
					}
					synctest.Wait()
				}
				armed.Store(true)
				err = c.do(cache)
				synctest.Wait()
				var p *aside.PanicError
				switch {
				case c.fails && (!errors.As(err, &p) || p.Callback != c.name || errors.Is(err, aside.ErrLoadPanicked) || len(p.Stack) == 0):
					t.Errorf("got %v", err)
				case !c.fails && err != nil:
					t.Errorf("got %v, want none", err)
				case strings.Contains(fmt.Sprint(err), "goroutine"):
					t.Errorf("the error shows the stack: %v", err)
				}
				if cache.Stats().Panics == 0 || strings.Count(log.String(), "a callback panicked") != 1 || !strings.Contains(log.String(), c.name) {
					t.Errorf("%d counted; log: %s", cache.Stats().Panics, log.String())
				}
				armed.Store(false)
				for range 2 {
					if err := get(cache); err != nil {
						t.Errorf("afterwards: %v", err)
					}
				}
				if err := cache.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A bulk read of keys that another node is loading: all are answered, by one more
// lookup for each key and one load for those that the other failed to load.
// Caught: a waiter for each key, which polls and loads by itself.
func TestBoundsGetManyBehindAnotherNode(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const count = 3000
			s := &asidetest.Server{}
			var keys []string
			for i := range count {
				keys = append(keys, fmt.Sprint("k", i))
			}
			p := newPrimary(keys...)
			a, b := newNode(t, p, s), newNode(t, p, s)
			slow := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, ks []string) (map[string]rec, error) {
				time.Sleep(2 * time.Second)
				if fails {
					return nil, errors.New("the query was cancelled")
				}
				return p.LoadMany(ctx, ks)
			})
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = a.GetMany(t.Context(), keys, slow) })
			time.Sleep(10 * time.Millisecond)
			var calls atomic.Int64
			loader := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, ks []string) (map[string]rec, error) {
				calls.Add(1)
				return p.LoadMany(ctx, ks)
			})
			got, err := b.GetMany(t.Context(), keys, loader)
			wg.Wait()
			want := int64(0)
			if fails {
				want = 1
			}
			if err != nil || len(got) != count || calls.Load() != want {
				t.Errorf("fails %v: %d of %d, %d calls of the loader, want %d: %v", fails, len(got), count, calls.Load(), want, err)
			}
			if n := b.conn.Calls("Acquire"); n > 2*count+count/5 { // and the polls
				t.Errorf("fails %v: %d lookups for %d keys", fails, n, count)
			}
		})
	}
}

// A read waits for another node's load for LeaseWait at most, by its own clock, and
// then loads for itself and stores nothing. Caught: a wait until the lease ends.
func TestBoundsLeaseWait(t *testing.T) {
	for _, wait := range []time.Duration{0, 300 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			s := &asidetest.Server{}
			n := newNode(t, newPrimary("k", "l"), s, func(o *options) { o.LeaseWait = wait })
			want := max(wait, 2500*time.Millisecond)
			if wait > 0 {
				want = wait
			}
			lease := []byte("L1" + strings.Repeat("x", 16)) // of a node that died
			for _, k := range []string{"k", "l"} {
				s.SetEntry(testPrefix+k, lease, 6*time.Second)
			}
			start := time.Now()
			r, err := n.Read(t.Context(), "k", n.p, aside.Default)
			if err != nil || r.Value.Version != 1 || r.Miss != aside.MissLeaseWait || time.Since(start) != want {
				t.Errorf("%+v, %v after %v, want %v", r, err, time.Since(start), want)
			}
			start = time.Now()
			if got, err := n.GetMany(t.Context(), []string{"k", "l"}, n.p); err != nil || len(got) != 2 || time.Since(start) > want {
				t.Errorf("many: %v, %v after %v", got, err, time.Since(start))
			}
			if !bytes.Equal(s.Entry(testPrefix+"k"), lease) || n.Stats().L1Entries != 0 || n.Stats().LeaseWaits == 0 {
				t.Errorf("stored: %q, %d in L1; %d waits counted", s.Entry(testPrefix+"k"), n.Stats().L1Entries, n.Stats().LeaseWaits)
			}
		})
	}
}

// A value too large for L2 is kept in L1 alone, coherent like any other, and costs
// nobody else anything. Caught: it is sent; it is kept without a watch, so that
// another node's write leaves it in L1.
func TestBoundsLargeValue(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k", "small")
	large := func(o *options) { o.MaxEntrySize = 20; o.StaleFor = time.Hour } // a rec has some 25 bytes as JSON
	var log bytes.Buffer
	a := newNode(t, p, s, large, func(o *options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b := newNode(t, p, s, large)
	for _, n := range []*node{a, b} {
		r, err := n.Read(t.Context(), "k", p, aside.Default)
		if err != nil || r.Value.Version != 1 || r.Source != aside.SourceLoad {
			t.Fatalf("%+v, %v", r, err)
		}
		n.settled("k")
		n.want("k", 1, aside.SourceL1)
	}
	if r, _ := b.Read(t.Context(), "k", p, aside.Strong); r.Miss != aside.MissTooLarge || r.Value.Version != 1 {
		t.Errorf("a strong read: %+v", r)
	}
	b.settled("k")
	if e := s.Entry(testPrefix + "k"); len(e) != envelope.HeaderLen {
		t.Errorf("%d bytes in L2", len(e))
	}
	a.update("k")
	b.wantStrong("k", 2)
	b.settled("k")
	b.want("k", 2, aside.SourceL1)
	a.want("k", 2, aside.SourceL1)
	p.del("k")
	b.update("k")
	if v, _ := a.read("k", aside.Default); v != 1 {
		t.Errorf("after another node's write: version %d", v)
	}
	if st := a.Stats(); st.TooLarge == 0 || strings.Count(log.String(), "larger than MaxEntrySize") != 1 || !strings.Contains(log.String(), testPrefix+"k") {
		t.Errorf("%d counted; log: %s", st.TooLarge, log.String())
	}
	// A node that takes larger ones replaces the mark by the value; to this one that
	// is too large then.
	c := newNode(t, p, s, func(o *options) { o.L1Size = -1 })
	c.update("k")
	c.want("k", 2, aside.SourceL2)
	b.wantStrong("k", 2)
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

// Loads that nobody waits for any more leave the queue, and give their leases back.
// Caught: they are run, in front of those that somebody waits for.
func TestBoundsAbandonedLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary(), s, func(o *options) { o.MaxLoads = 1 })
		var loads atomic.Int64
		slow := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) {
			loads.Add(1)
			time.Sleep(100 * time.Millisecond)
			return rec{}, nil
		})
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
				defer cancel()
				_, _ = n.Get(ctx, fmt.Sprint("k", i), slow)
			})
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			_, _ = n.GetMany(ctx, []string{"m1", "m2"}, n.p)
		})
		wg.Wait()
		start := time.Now()
		if _, err := n.Get(t.Context(), "new", slow); err != nil || time.Since(start) > 200*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if st := n.Stats(); loads.Load() > 4 || st.LoadsDropped < 38 || st.LoadsQueued != 0 {
			t.Errorf("%d loads, %d dropped, %d queued", loads.Load(), st.LoadsDropped, st.LoadsQueued)
		}
		leases := 0
		for i := range 40 {
			if e := s.Entry(testPrefix + fmt.Sprint("k", i)); len(e) > 0 && e[0] == envelope.KindLease {
				leases++
			}
		}
		if leases > 0 {
			t.Errorf("%d leases are left", leases)
		}
	})
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
			err := n.Write(t.Context(), func(context.Context, *writing) error { t.Error("ran"); return nil }, fmt.Sprint("w", i))
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

// Options that are too large are refused: sums of them would overflow.
// Caught: a fence of one millisecond.
func TestBoundsOptions(t *testing.T) {
	ty := reflect.TypeFor[options]()
	checked := 0
	for i := range ty.NumField() {
		f := ty.Field(i)
		var o options
		switch v := reflect.ValueOf(&o).Elem().Field(i); f.Type {
		case reflect.TypeFor[time.Duration](), reflect.TypeFor[int]():
			v.SetInt(math.MaxInt64)
		default:
			continue
		}
		if f.Name == "CompressAbove" { // a threshold: never
			continue
		}
		checked++
		c, err := aside.New(o)
		if !errors.Is(err, aside.ErrOptions) || !strings.Contains(err.Error(), f.Name) {
			t.Errorf("%s: %v", f.Name, err)
		}
		if c != nil {
			_ = c.Close(t.Context())
		}
	}
	if checked < 15 {
		t.Errorf("%d options checked", checked)
	}
	ten := 10 * 365 * 24 * time.Hour
	n := newNode(t, newPrimary("k"), &asidetest.Server{}, func(o *options) {
		o.TTL, o.StaleFor, o.LoadTimeout, o.WriteTimeout, o.L1TTL = ten, ten, ten, ten, ten
	})
	n.read("k", aside.Default)
	n.settled("k")
	n.want("k", 1, aside.SourceL1)
	n.update("k")
	n.wantStrong("k", 2)
}

// A key that is not equal to itself is refused by all calls, and leaves nothing.
// Caught: a flight for each read.
func TestBoundsKeysNotEqualToThemselves(t *testing.T) {
	type key struct{ x float64 }
	c, err := aside.New(aside.Options[key, int]{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	nan := key{math.NaN()}
	one := aside.LoaderFunc[key, int](func(context.Context, key) (int, error) { return 1, nil })
	many := aside.BulkLoaderFunc[key, int](func(context.Context, []key) (map[key]int, error) { return nil, nil })
	_, get := c.Get(t.Context(), nan, one)
	_, getMany := c.GetMany(t.Context(), []key{{1}, nan}, many)
	write := c.Write(t.Context(), func(context.Context, *aside.Writing[key, int]) error { t.Error("written"); return nil }, nan)
	for name, err := range map[string]error{"Get": get, "GetMany": getMany, "Write": write, "Invalidate": c.Invalidate(t.Context(), nan)} {
		if !errors.Is(err, aside.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := aside.Flights(c); n != 0 {
		t.Errorf("%d flights", n)
	}
}

// What takes long to decode holds up nobody who was looked up in the same batch.
// Caught: decoding in the batch's goroutine.
func TestBoundsSlowDecode(t *testing.T) {
	slow, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	s := &asidetest.Server{}
	mk := func(decode func()) *aside.Cache[string, *user] {
		c, err := aside.New(aside.Options[string, *user]{Name: "u", L2: s.NewClient(), L1Size: -1, L2Timeout: time.Minute,
			Codec: userCodec{encode: func() {}, decode: decode}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	fill := mk(func() {})
	defer fill.Close(t.Context())
	loader := aside.LoaderFunc[string, *user](func(_ context.Context, k string) (*user, error) { return &user{Name: k}, nil })
	for i := range 20 {
		_, _ = fill.Get(t.Context(), fmt.Sprint(i), loader)
	}
	gate.Eventually(t, "fills", func() bool { return aside.Flights(fill) == 0 })
	var first atomic.Bool
	c := mk(func() {
		if first.CompareAndSwap(false, true) {
			close(slow)
			<-release
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { _, _ = c.Get(ctx, fmt.Sprint(i), loader) })
	}
	<-slow
	gate.Eventually(t, "the others are answered", func() bool { return c.Stats().HitsL2 == 19 })
	release <- struct{}{}
	wg.Wait()
	_ = c.Close(t.Context())
}

// evictCalls counts batches, where the client counts keys.
type evictCalls struct {
	*asidetest.Client
	n atomic.Int64
}

func (e *evictCalls) Evict(ctx context.Context, reqs []aside.EvictRequest) []error {
	e.n.Add(1)
	return e.Client.Evict(ctx, reqs)
}

// Entries that are of no use are removed in one batch. Caught: one call each.
func TestBoundsUselessEntries(t *testing.T) {
	s := &asidetest.Server{}
	var keys []string
	for i := range 1000 {
		k := fmt.Sprint("k", i)
		keys = append(keys, k)
		s.SetEntry(testPrefix+k, []byte("V\x02\x00\x63"+strings.Repeat("x", 60)), time.Hour) // of another codec
	}
	l2 := &evictCalls{Client: s.NewClient()}
	n := newNode(t, newPrimary(keys...), s, func(o *options) { o.L2 = l2 })
	got, err := n.GetMany(t.Context(), keys, n.p)
	if err != nil || len(got) != 1000 || l2.n.Load() != 1 {
		t.Errorf("%d values, %v; %d calls", len(got), err, l2.n.Load())
	}
}

// An entry of L2 that is older than what L1 holds, as after a failover or a restart
// from a snapshot, is replaced. A load that is older than the stale value it is to
// replace is not stored. Info tells the version.
// Caught: Options.Version without a use.
func TestVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s)
		n.read("k", aside.Default)
		synctest.Wait()
		old := s.Entry(testPrefix + "k")
		n.update("k")
		// L2 brings the entry back without a word.
		s.Restore(testPrefix+"k", old, time.Minute)
		r, err := n.Read(t.Context(), "k", n.p, aside.Strong)
		if err != nil || r.Value.Version != 2 || r.Version != 2 || r.Source != aside.SourceLoad {
			t.Errorf("%+v, %v", r, err)
		}
		if r, _ := n.Read(t.Context(), "k", n.p, aside.Default); r.Version != 2 {
			t.Errorf("from %v: version %d", r.Source, r.Version)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k"), s, func(o *options) { o.StaleFor, o.TTL, o.L1TTL = time.Hour, time.Minute, time.Second })
		n.update("k")
		n.read("k", aside.Default)
		synctest.Wait()
		lagging := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { return rec{"k", 1}, nil })
		time.Sleep(2 * time.Minute)
		if r, err := n.Read(t.Context(), "k", lagging, aside.Default); err != nil || r.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		synctest.Wait()
		if st := n.Stats(); st.OlderLoads != 1 || st.L1Entries != 0 {
			t.Errorf("%d older loads, %d entries in L1", st.OlderLoads, st.L1Entries)
		}
		n.want("k", 2, aside.SourceLoad)
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
			if got := n.Write(t.Context(), func(context.Context, *writing) error { return err }, "k"); !errors.Is(got, err) {
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
		err := n.Write(ctx, func(context.Context, *writing) error { t.Error("called"); return nil }, "k")
		if !errors.Is(err, context.Canceled) || s.Entry(testPrefix+"k") != nil || n.Stats().WritesUnknown != 0 {
			t.Errorf("%v; left %q; %d unknown", err, s.Entry(testPrefix+"k"), n.Stats().WritesUnknown)
		}
	})
}

// The second Close waits as the first does. Caught: it returned at once.
func TestSecondCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("k"), &asidetest.Server{})
		go n.Write(t.Context(), func(context.Context, *writing) error { time.Sleep(3 * time.Second); return nil }, "k")
		synctest.Wait()
		start := time.Now()
		go n.Close(context.Background())
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Close that cannot wait: %v", err)
		}
		if err := n.Close(t.Context()); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// An entry says itself how long it is served when stale, so nodes that are
// configured differently agree. Caught: a node without StaleFor serves, as fresh,
// what another one keeps for that.
func TestStaleForOfOneNodeIsNotTakenForFreshByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		a := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.StaleFor = time.Minute, time.Minute, time.Hour })
		b := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL = time.Minute, time.Minute })
		a.read("k", aside.Default)
		p.put("k") // past the cache
		time.Sleep(30 * time.Minute)
		p.fail(errDown)
		if r, err := b.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, errDown) {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := a.Read(t.Context(), "k", p, aside.Default); err != nil || !r.Stale || r.Value.Version != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		p.fail(nil)
		b.wantStrong("k", 2)
	})
}

// In a cache without L2 a write of another key, whatever L1 knows it by, starts no
// second load. Caught: flights that were joined by the generation of their stripe.
func TestOtherKeysStartNoSecondLoad(t *testing.T) {
	n := newNode(t, newPrimary("k"), nil)
	release := make(chan struct{})
	n.p.afterRead = func(string) { <-release }
	var wg sync.WaitGroup
	get := func() { wg.Go(func() { n.read("k", aside.Default) }) }
	get()
	gate.Eventually(t, "the load", func() bool { return n.p.reads.Load() == 1 })
	for i := range 20_000 { // five for each stripe
		_ = n.Invalidate(t.Context(), fmt.Sprint("other", i))
	}
	get()
	gate.Eventually(t, "a second reader", func() bool { return aside.Followers(n.Cache, "k") == 1 })
	close(release)
	wg.Wait()
	if loads := n.p.reads.Load(); loads != 1 {
		t.Errorf("%d loads", loads)
	}
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
