package aside_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
)

// The keys of one read become as many calls as MaxKeys asks for, half of MaxLoads of
// them at once, and none of them is refused because of the others.
// Caught: one call with all keys; calls that fill the queue.
func TestChunksOfAReadOfManyKeys(t *testing.T) {
	for _, oneByOne := range []bool{false, true} {
		want, size := 25, 4
		if oneByOne {
			want, size = 100, 1
		}
		var running, most atomic.Int64
		work := func() {
			m := running.Add(1)
			for old := most.Load(); m > old && !most.CompareAndSwap(old, m); old = most.Load() {
			}
			time.Sleep(10 * time.Millisecond)
			running.Add(-1)
		}
		together(t, func(o *options) {
			o.MaxLoads, o.MaxQueuedLoads, o.Bulk.MaxKeys = 6, -1, 4
			if oneByOne {
				single := o.Loader
				o.BulkLoader = nil
				o.Loader = aside.LoaderFunc[string, rec](func(ctx context.Context, k string) (rec, error) {
					work()
					return single.Load(ctx, k)
				})
			}
		}, func(t *testing.T, n *node, b *bulkCalls) {
			most.Store(0)
			b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
				work()
				return b.p.LoadMany(ctx, keys)
			})
			keys := append(numbered(0, 99), "absent")
			m, err := n.GetMany(t.Context(), keys)
			if err != nil || len(m) != 99 || m["k98"] != (rec{"k98", 1}) {
				t.Errorf("%d values, %v", len(m), err)
			}
			synctest.Wait()
			if s := n.Stats(); s.Loads != uint64(want) || most.Load() != 3 || s.BatchedLoads != 0 {
				t.Errorf("%d loads, %d at once, want %d and 3", s.Loads, most.Load(), want)
			}
			for _, c := range b.list() {
				if len(c) > size {
					t.Errorf("a call of %d keys", len(c))
				}
			}
			n.want("k98", 1, aside.SourceL1)
		})
	}
}

// A chunk that hangs, or that is slow, holds the read until LoadTimeout, and no longer: the
// keys that were not begun by then fail with it. The others have their values.
// Caught: keys that wait for ever for a call that hangs.
func TestChunksEndAtLoadTimeout(t *testing.T) {
	together(t, func(o *options) { o.MaxLoads, o.Bulk.MaxKeys, o.LoadTimeout = 2, 2, time.Second }, func(t *testing.T, n *node, b *bulkCalls) {
		hang := make(chan struct{})
		var calls atomic.Int64
		b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
			if calls.Add(1) == 3 {
				<-hang
			}
			return b.p.LoadMany(ctx, keys)
		})
		start := time.Now()
		m, err := n.GetMany(t.Context(), numbered(0, 20))
		var failed aside.KeyErrors[string]
		if !errors.As(err, &failed) || len(m) != 4 || len(failed) != 16 || !errors.Is(failed["k19"], context.DeadlineExceeded) || !errors.Is(failed["k4"], context.DeadlineExceeded) {
			t.Errorf("%d values, %v", len(m), err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("after %v", d)
		}
		close(hang)
		synctest.Wait()
		b.answer(nil)
		if m, err := n.GetMany(t.Context(), numbered(0, 20)); err != nil || len(m) != 20 {
			t.Errorf("anew: %d values, %v", len(m), err)
		}
	})
}

// Chunks that nobody waits for are not loaded, but for those that run; keys that
// somebody else waits for are. Close ends those that wait.
func TestChunksOfAReaderWhoLeft(t *testing.T) {
	for _, closes := range []bool{false, true} {
		together(t, func(o *options) { o.MaxLoads, o.Bulk.MaxKeys = 2, 2 }, func(t *testing.T, n *node, b *bulkCalls) {
			release := make(chan struct{})
			b.answer(func(ctx context.Context, keys []string) (map[string]rec, error) {
				<-release
				return b.p.LoadMany(ctx, keys)
			})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := n.GetMany(ctx, numbered(0, 10)); !errors.Is(err, context.Canceled) && !errors.Is(err, aside.ErrClosed) {
					t.Errorf("who left: %v", err)
				}
			})
			synctest.Wait()
			wg.Go(func() {
				if v, err := n.Get(t.Context(), "k7"); !closes && (err != nil || v.Version != 1) || closes && !errors.Is(err, aside.ErrClosed) {
					t.Errorf("who stayed: %v, %v", v, err)
				}
			})
			synctest.Wait()
			if closes {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := n.Close(ctx); err == nil {
					t.Error("closed while a loader hangs")
				}
			}
			cancel()
			synctest.Wait()
			close(release)
			wg.Wait()
			synctest.Wait()
			if closes {
				n.Cache = newNode(t, n.p, nil).Cache // for together
				return
			}
			if s := n.Stats(); s.Loads != 2 || s.LoadsDropped != 7 {
				t.Errorf("%d loads, %d keys dropped: %v", s.Loads, s.LoadsDropped, b.list())
			}
		})
	}
}
