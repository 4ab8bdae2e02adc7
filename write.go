package aside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
)

// WriteTx is a write that is running. Write passes it to the write function, which
// may use it to publish the new records, so that the next read finds them in the
// cache. It must not be used after the function has returned, and not by two
// goroutines at once. It is not a transaction of the primary.
type WriteTx[K comparable, V any] struct {
	published map[K]loaded[V]
	keys      []K
	set       map[K]struct{} // of many keys
	token     driver.Token
}

// Publish offers v to the readers of key. v must be the whole record as the primary
// has it now. The cache stores v if no other write of the key overlapped with this
// one. Otherwise it removes the key, because nobody knows which record is the last.
// Publish panics if key is not one of the keys of the write.
func (w *WriteTx[K, V]) Publish(key K, v V) { w.publish(key, loaded[V]{v: v}) }

// PublishAbsent is Publish for a record that was deleted.
func (w *WriteTx[K, V]) PublishAbsent(key K) { w.publish(key, loaded[V]{err: ErrNotFound}) }

// Token identifies the write. A feed that can carry it in the transaction of the
// primary, as pgfeed.Mark does, lets the cache recognise the write when it is told of
// it. It is zero without L2.
func (w *WriteTx[K, V]) Token() driver.Token { return w.token }

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

// Write creates, updates or deletes the records of keys in the primary. It puts a
// fence on each key, so that no node stores a value from before the write. Then it
// calls write, and releases the keys. After Write has returned nil, every Strong read
// on any node, and every read of this process, returns this write or a newer one.
//
// write changes the primary, before the deadline of its context
// (Options.WriteTimeout). It may publish the new records. Write returns the error of
// write as it is. After nil, after an error marked with Aborted, and after an error
// for which Options.DefiniteError returns true, the keys are released at once. After
// any other error, or a panic, the primary may still apply the write: the fences stay
// until they expire (Options.FenceTTL), and reads go to the primary.
//
// If ctx can end during the write, such as when the client of a server leaves,
// consider context.WithoutCancel: a database driver that is cancelled leaves the
// outcome unknown. If ctx ends before write was called, Write returns its error and
// nothing was changed. If L2 is unavailable, Options.OnL2Down decides.
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
	w := &WriteTx[K, V]{keys: f.keys, token: f.token}
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
