package aside_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// Flights of one key that wait together have begun in different generations, where an
// invalidation came between. The one that it concerns is looked up again, and the
// other too.
// Caught: the other is forgotten, and its readers wait for ever.
func TestFlightsOfOneKeyWaitTogether(t *testing.T) {
	n := newNode(t, newPrimary("k"), &asidetest.Server{})
	for i, answered := range aside.AwaitLeaseTwice(n.Cache, "k", n.p) {
		testsync.Await(t, []string{"the flight before", "the flight after"}[i], answered)
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
			all := func(o *options) { o.Bulk.MaxKeys = count }
			a, b := newNode(t, p, s, all), newNode(t, p, s, all)
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
			synctest.Wait() // that read's flight has ended
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

// A bulk read may join a flight that is no good for it, and must read that key again. It
// does while its other keys are under way: all of it takes two waits for a lease at most.
// Caught: first the other keys, then that one.
func TestBulkReadReadsAgainMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		n := newNode(t, newPrimary("k", "l"), s, func(o *options) { o.LeaseWait = 2 * time.Second })
		lease := []byte("L1" + strings.Repeat("x", 16)) // of a node that died
		for _, k := range []string{"k", "l"} {
			s.SetEntry(testPrefix+k, lease, time.Minute)
		}
		slow := aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
			time.Sleep(time.Second)
			return n.p.Load(ctx, k)
		})
		slowly := aside.BulkLoaderFunc[string, rec](func(ctx context.Context, ks []string) (map[string]rec, error) {
			time.Sleep(time.Second)
			return n.p.LoadMany(ctx, ks)
		})
		start := time.Now()
		go func() { _, _ = n.Get(context.Background(), "k", slow) }()
		time.Sleep(2500 * time.Millisecond) // that read loads k by itself now
		got, err := n.ReadMany(t.Context(), []string{"k", "l"}, slowly, aside.Strong)
		if err != nil || got["k"].Value.Version != 1 || got["l"].Value.Version != 1 || time.Since(start) != 6*time.Second {
			t.Errorf("%+v, %v after %v", got, err, time.Since(start))
		}
	})
}
