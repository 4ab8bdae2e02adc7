package aside

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// WriteTx is a write under way. A write function gets it from Write, and may use it
// to publish what the primary now holds: the next read then finds that. It must not
// be used after the function has returned, nor by two goroutines at once. It is not a
// transaction of the primary.
type WriteTx[K comparable, V any] struct {
	published map[K]loaded[V]
	keys      []K
	set       map[K]struct{} // of many keys
}

// Publish offers v, the record as it now stands in the primary, to the readers
// of key. It is stored if this write alone touched the key; if another
// overlapped, the key is removed, since nobody knows whose record came last.
// It panics if key is not one of the write's.
func (w *WriteTx[K, V]) Publish(key K, v V) { w.publish(key, loaded[V]{v: v}) }

// PublishAbsent does for a deleted record what Publish does for a stored one.
func (w *WriteTx[K, V]) PublishAbsent(key K) { w.publish(key, loaded[V]{err: ErrNotFound}) }

func (w *WriteTx[K, V]) publish(key K, l loaded[V]) {
	if !w.has(key) {
		panic(fmt.Sprintf("aside: published key %v is not one of the keys of the write", key))
	}
	if w.published == nil {
		w.published = make(map[K]loaded[V], len(w.keys))
	}
	w.published[key] = l
}

func (w *WriteTx[K, V]) has(key K) bool {
	if len(w.keys) <= 8 {
		for _, k := range w.keys {
			if k == key {
				return true
			}
		}
		return false
	}
	if w.set == nil {
		w.set = make(map[K]struct{}, len(w.keys))
		for _, k := range w.keys {
			w.set[k] = struct{}{}
		}
	}
	_, ok := w.set[key]
	return ok
}

// Write changes the records of keys in the primary: it creates, updates or
// deletes. It fences the keys, so that no node stores what was read before,
// runs write, and releases them. Once it has returned nil, every Strong read on
// any node, and every read of this process, returns this write or a newer one.
//
// write must apply all changes itself, has until its context's deadline
// (Options.WriteTimeout) to do so, and may publish the new records. Its error is
// returned as it is. It decides what happens to the keys: nil, errors marked with
// Aborted and those that Options.DefiniteError knows release them at once; any
// other error, or a panic, means that the primary may yet apply the write, so the
// fence stays until it expires (Options.FenceTTL), and reads go to the primary
// until then. A caller whose ctx may end in the middle, such as a server whose
// client hangs up, may prefer context.WithoutCancel: a driver that is cancelled
// leaves the outcome unknown.
//
// If ctx ends before write was called, Write returns ctx's error, and nothing was
// changed. If L2 cannot be reached, Options.OnL2Down decides.
func (c *Cache[K, V]) Write(ctx context.Context, write func(ctx context.Context, w *WriteTx[K, V]) error, keys ...K) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("aside: Write called without keys")
	}
	if err := checkKeys(keys...); err != nil {
		return err
	}
	if !c.inflight.begin() {
		return ErrClosed
	}
	defer c.inflight.done(1)
	c.n.writes.Add(1)

	f := &fence[K, V]{c: c, keys: unique(keys), start: time.Now()}
	// L1 first, or a read of this process could go on hitting it while the
	// other nodes already wait for the new record.
	c.dropL1(f.keys)
	if err := f.raise(); err != nil {
		return err
	}
	// Again, since L1 may have taken the old record in before the fence came, and
	// the fence ended the tracking of the key: another node's write, while ours
	// runs, would not be told to this one.
	c.dropL1(f.keys)
	w := &WriteTx[K, V]{keys: f.keys}
	if err := ctx.Err(); err != nil {
		// A driver would refuse too, but not every one in a way that can be told
		// from a write under way.
		_ = f.lift(w, Aborted(err))
		return err
	}
	outcome := errPanicked
	defer func() { // also when write panics, or ends the goroutine
		if outcome == errPanicked {
			_ = f.lift(w, outcome)
		}
	}()
	wctx, cancel := context.WithDeadline(ctx, f.start.Add(c.opts.WriteTimeout))
	defer cancel()
	outcome = write(wctx, w)
	if err := f.lift(w, outcome); err != nil {
		return err // outcome is nil then
	}
	return outcome
}

var errPanicked = errors.New("aside: write function panicked")
