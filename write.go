package aside

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/tags"
)

// WriteTx is a write that is running. Write passes it to the write function, which
// may use it to publish the new records, so that the next read finds them in the
// cache. It must not be used after the function has returned, and not by two
// goroutines at once. It is not a transaction of the primary.
type WriteTx[K comparable, V any] struct {
	f         *fence[K, V]
	published map[K]loaded[V]
	set       map[K]struct{} // of many keys
	stamp     tags.Stamp     // from before the write function ran, if that is known
	stamped   bool
	used      bool // begun: see Part
}

// Publish offers v to the readers of key. v must be the whole record as the primary
// has it now. The cache stores v if no other write of the key overlapped with this
// one. Otherwise it removes the key, because nobody knows which record is the last.
// Publish panics if key is not one of the keys of the write.
func (w *WriteTx[K, V]) Publish(key K, v V) { w.publishLoaded(key, w.f.c.plain(key, v, nil)) }

// PublishAbsent is Publish for a record that was deleted.
func (w *WriteTx[K, V]) PublishAbsent(key K) { w.publish(key, loaded[V]{err: ErrNotFound}) }

// PublishEntry is Publish with what else is known of the new record: how long to keep it,
// its version, its ETag and its tags. It publishes an absence if l.Absent is true, and
// nothing if l.NoStore is true or l.TTL is negative. It panics if l.NotModified is true: a
// write knows the record.
//
// With L2, the first record with tags that a node publishes may not be stored. This happens
// if the node has not used tags before, Options.Tags is not set, and Options.Loader is not an
// EntryLoader. The next read loads the record. Cache.SetEntry does not have this exception.
func (w *WriteTx[K, V]) PublishEntry(key K, l Loaded[V]) {
	if l.NotModified {
		panic(fmt.Sprintf("aside: PublishEntry of key %v with NotModified: a write has nothing previous", key))
	}
	w.publishLoaded(key, w.f.c.entry(key, l, nil, before[V]{}))
}

func (w *WriteTx[K, V]) publishLoaded(key K, e loaded[V]) {
	c := w.f.c
	if len(e.tags) > 0 {
		if !w.stamped && c.l2 != nil && c.l2.tagging != nil {
			c.refreshTags() // for the next write: this one has begun
		}
	}
	c.mark(&e.told, w.stamp, w.stamped)
	w.publish(key, e)
}

// Token identifies the write. A feed that can carry it in the transaction of the
// primary, as pgfeed.Mark does, lets the cache recognise the write when it is told of
// it. It is zero without L2.
func (w *WriteTx[K, V]) Token() driver.Token { return w.f.token }

// Fence adds keys to the write. It is for keys that are known only when the write
// runs, such as the serial ID of a row that was inserted. Call it before the primary
// commits: from then on the write protects these keys as those that it began with, and
// they can be published.
//
// An error means that the keys are not protected: roll back, and return the error. It is
// marked with Aborted. With FailOpen an L2 that is unavailable is no error.
func (w *WriteTx[K, V]) Fence(keys ...K) error {
	if err := checkKeys(keys...); err != nil {
		return Aborted(err)
	}
	var more []K
	for _, k := range unique(keys) {
		if slices.Contains(w.f.missed, k) {
			return Aborted(fmt.Errorf("%w: key %v could not be fenced before: roll back", ErrL2Unavailable, k))
		}
		if !w.has(k) {
			more = append(more, k)
		}
	}
	if len(more) == 0 {
		return nil
	}
	if w.set != nil {
		for _, k := range more {
			w.set[k] = struct{}{}
		}
	}
	err := w.f.add(more)
	if err != nil {
		w.f.missed = append(w.f.missed, more...)
	}
	return Aborted(err)
}

func (w *WriteTx[K, V]) publish(key K, l loaded[V]) {
	if !w.has(key) {
		panic(fmt.Sprintf("aside: published key %v is not one of the keys of the write", key))
	}
	if w.published == nil {
		w.published = make(map[K]loaded[V], len(w.f.keys))
	}
	w.published[key] = l
}

func (w *WriteTx[K, V]) has(key K) bool {
	keys := w.f.keys
	if len(keys) <= 8 {
		return slices.Contains(keys, key)
	}
	if w.set == nil {
		w.set = make(map[K]struct{}, len(keys))
		for _, k := range keys {
			w.set[k] = struct{}{}
		}
	}
	_, ok := w.set[key]
	return ok
}

// Write creates, updates or deletes the record of key in the primary. It puts a
// fence on the key, so that no node stores a value from before the write. Then it
// calls write, and releases the key. After Write has returned nil, every Strong read
// on any node, and every read of this process, returns this write or a newer one.
//
// write changes the primary, before the deadline of its context
// (Options.WriteTimeout). It may publish the new record. Write returns the error of
// write as it is. After nil, after an error marked with Aborted, and after an error
// for which Options.DefiniteError returns true, the key is released at once. After
// any other error, or a panic, the primary may still apply the write: the fence stays
// until it expires (Options.FenceTTL), and reads go to the primary.
//
// If ctx can end during the write, such as when the client of a server leaves,
// consider context.WithoutCancel: a database driver that is cancelled leaves the
// outcome unknown. If ctx ends before write was called, Write returns its error and
// nothing was changed. If L2 is unavailable, Options.OnL2Down decides.
func (c *Cache[K, V]) Write(ctx context.Context, key K, write func(ctx context.Context, w *WriteTx[K, V]) error) error {
	w := c.Part(key)
	return runWrite(ctx, func(ctx context.Context) error { return write(ctx, w) }, w)
}

// WriteMany is Write for one write of many records, such as a transaction. Every key
// is fenced before write is called, and all are released together.
func (c *Cache[K, V]) WriteMany(ctx context.Context, keys []K, write func(ctx context.Context, w *WriteTx[K, V]) error) error {
	if len(keys) == 0 {
		return errors.New("aside: WriteMany called without keys")
	}
	w := c.Part(keys...)
	return runWrite(ctx, func(ctx context.Context) error { return write(ctx, w) }, w)
}

// take claims the part for one write.
func (w *WriteTx[K, V]) take() error {
	if w.used {
		return errors.New("aside: a part of a write was used twice")
	}
	w.used = true
	if err := checkKeys(w.f.keys...); err != nil {
		return err
	}
	w.f.keys = unique(w.f.keys)
	return nil
}

// observe tells the observer, and returns the context of the write function.
func (w *WriteTx[K, V]) observe(ctx context.Context) context.Context {
	f := w.f
	if f.op = f.c.startOp(ctx, OpWrite, 0, f.keys...); f.op != nil {
		ctx = f.op.ctx
	}
	f.ctx = ctx
	return ctx
}

// begin fences the keys that the write was made with. After nil, end must be called.
func (w *WriteTx[K, V]) begin() error {
	f := w.f
	c := f.c
	if !c.inflight.begin() {
		c.endOp(f.op, f.result(ErrClosed))
		return ErrClosed
	}
	c.n.writes.Add(1)
	f.start = time.Now()
	keys := f.keys
	f.keys = nil
	err := f.add(keys)
	if err != nil {
		c.writing.done(f.keys)
		c.endOp(f.op, f.result(err))
		c.inflight.done(1)
	}
	if err == nil && (c.l2 == nil || c.publishesTags()) {
		w.stamp, w.stamped = c.stampNow(f.ctx)
	}
	return err
}

// end releases the keys as the outcome of the write asks for.
func (w *WriteTx[K, V]) end(outcome error) error {
	c := w.f.c
	defer c.inflight.done(1)
	defer func() { c.writing.done(w.f.keys) }()
	err := w.f.lift(w, outcome)
	c.endOp(w.f.op, w.f.result(cmp.Or(err, outcome)))
	return err
}

func (w *WriteTx[K, V]) deadline() time.Time { return w.f.start.Add(w.f.c.opts.WriteTimeout) }

func (w *WriteTx[K, V]) definite(outcome error) bool { return w.f.c.definite(outcome) }

var errPanicked = errors.New("aside: write function panicked")
