package aside

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
)

// Refresh loads key with Options.Loader, or Options.BulkLoader, and replaces what the tiers
// have, on all nodes. It waits for the load. It is Read with the mode Refresh: see there. If
// there is no such record, that is stored, and the error is nil.
func (c *Cache[K, V]) Refresh(ctx context.Context, key K) error {
	_, err := c.Read(ctx, key, nil, Refresh)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// WarmOptions configures Warm. The zero value works.
type WarmOptions struct {
	// Parallel is how many calls read at once: calls with one key each, or with
	// Batch keys if there is an Options.BulkLoader. Default: a quarter of MaxLoads, at least 1.
	Parallel int
	// Batch is how many keys one call reads. Default 100 with Options.BulkLoader, 1 without.
	Batch int
	// Progress is called after each call, one at a time. done is how many keys are in the
	// cache by now, or are known not to exist; failed is how many failed. It is optional.
	Progress func(done, failed int)
}

// Warm reads keys into the cache with Options.BulkLoader, or Options.Loader. What L1 or
// L2 has is not loaded. Load on the primary is bounded: by Parallel, and MaxLoads. So a
// process that has just started can have its hot records before it takes requests.
//
// If a key fails, Warm goes on. Its error says how many keys failed, and contains the first
// of their errors. When ctx ends, Warm returns its error; Progress has said how many keys
// are done. Warm takes a key from keys when a call has room for it. So keys may come from a
// query that is still running, and need not fit into memory.
func (c *Cache[K, V]) Warm(ctx context.Context, keys iter.Seq[K], opts WarmOptions) error {
	loader, _, err := c.ownBulkLoader(nil)
	if err != nil {
		return err
	}
	if opts.Parallel < 0 || opts.Batch < 0 {
		return fmt.Errorf("aside: WarmOptions: Parallel is %d and Batch is %d, want positive numbers, or 0 for the defaults", opts.Parallel, opts.Batch)
	}
	if opts.Parallel == 0 {
		opts.Parallel = max(1, c.opts.MaxLoads/4)
	}
	if opts.Batch == 0 {
		if opts.Batch = 1; loader != nil {
			opts.Batch = warmBatch
		}
	}
	w := warming[K, V]{c: c, opts: opts}
	batches := make(chan []K)
	var wg sync.WaitGroup
	for range opts.Parallel {
		wg.Go(func() {
			for keys := range batches {
				w.read(ctx, keys)
			}
		})
	}
	func() {
		defer wg.Wait()
		defer close(batches) // also if keys panics
		batch := make([]K, 0, opts.Batch)
		for k := range keys {
			_ = checkKeys(k) // panics for a key that cannot be hashed, here where the caller can recover
			if batch = append(batch, k); len(batch) < opts.Batch {
				continue
			}
			select {
			case batches <- slices.Clone(batch):
				batch = batch[:0]
			case <-ctx.Done():
				return
			}
		}
		if len(batch) > 0 {
			select {
			case batches <- batch:
			case <-ctx.Done():
			}
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.failed > 0 {
		return fmt.Errorf("aside: %d of %d keys could not be read: %w", w.failed, w.done+w.failed, w.first)
	}
	return nil
}

const warmBatch = 100

// warming is one Warm.
type warming[K comparable, V any] struct {
	c    *Cache[K, V]
	opts WarmOptions

	mu           sync.Mutex
	done, failed int
	first        error // of those that failed
}

// read reads the keys of one call.
func (w *warming[K, V]) read(ctx context.Context, keys []K) {
	results, err := w.c.ReadMany(ctx, keys, nil, Default)
	failed := 0
	var first error
	for _, k := range keys { // some may be there twice
		r, ok := results[k]
		if e := r.Err; !ok || e != nil && !r.Negative {
			failed++
			if !ok {
				e = err
			}
			if first == nil {
				first = e
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done += len(keys) - failed
	w.failed += failed
	if w.first == nil {
		w.first = first
	}
	if w.opts.Progress != nil {
		w.progress()
	}
}

func (w *warming[K, V]) progress() {
	var err error
	defer w.c.recovered("WarmOptions.Progress", &err)
	w.opts.Progress(w.done, w.failed)
}
