package aside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/internal/envelope"
)

// Writing is handed to a write function, which may tell it what the primary now
// holds, so that the next read finds it. It is of no use after the function
// has returned, and must be used by one goroutine at a time.
type Writing[K comparable, V any] struct {
	published map[K]loaded[V]
	keys      []K
}

// Publish offers v, the record as it now stands in the primary, to the readers
// of key. It is stored if this write alone touched the key; if another
// overlapped, the key is removed, since nobody knows whose record came last.
// It panics if key is not one of the write's.
func (w *Writing[K, V]) Publish(key K, v V) { w.set(key, loaded[V]{v: v}) }

// PublishAbsent does for a deleted record what Publish does for a stored one.
func (w *Writing[K, V]) PublishAbsent(key K) { w.set(key, loaded[V]{err: ErrNotFound}) }

func (w *Writing[K, V]) set(key K, l loaded[V]) {
	for _, k := range w.keys {
		if k == key {
			if w.published == nil {
				w.published = make(map[K]loaded[V], len(w.keys))
			}
			w.published[key] = l
			return
		}
	}
	panic(fmt.Sprintf("aside: published key %v is not one of the keys of the write", key))
}

// Write changes the records of keys in the primary: it creates, updates or
// deletes. It fences the keys, so that no node stores what was read before,
// runs write, and releases them. Once it has returned nil, every Strong read on
// any node, and every read of this process, returns this write or a newer one.
//
// write must apply all changes itself, has until its context's deadline
// (Options.WriteTimeout) to do so, and may publish the new records. Its error is
// returned as it is. It decides what happens to the keys: nil and errors marked
// with Aborted release them at once; any other error, or a panic, means that the
// primary may yet apply the write, so the fence stays until it expires
// (Options.FenceTTL), and reads go to the primary until then.
//
// If L2 cannot be reached, Options.OnL2Down decides.
func (c *Cache[K, V]) Write(ctx context.Context, write func(ctx context.Context, w *Writing[K, V]) error, keys ...K) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.New("aside: Write needs the keys that it changes")
	}
	if !c.life.enter() {
		return ErrClosed
	}
	defer c.life.leave(1)
	c.n.writes.Add(1)

	f := &fenced[K, V]{c: c, keys: unique(keys), start: time.Now()}
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
	w := &Writing[K, V]{keys: f.keys}
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

// fenced is a write under way.
type fenced[K comparable, V any] struct {
	c     *Cache[K, V]
	keys  []K
	start time.Time // before the fences were sent, so they end no earlier than start + FenceTTL
	token Token
	held  []K // keys with a fence
	open  []K // keys without one, with FailOpen
}

// raise fences the keys.
func (f *fenced[K, V]) raise() error {
	c := f.c
	if c.tier == nil {
		return nil
	}
	f.token = envelope.NewToken()
	reqs := make([]FenceRequest, len(f.keys))
	for i, k := range f.keys {
		reqs[i] = FenceRequest{Key: c.l2key(k), Token: f.token, Life: c.opts.FenceTTL}
	}
	var failed error
	for i, err := range c.tier.fence(reqs) {
		if err != nil {
			failed = err
			f.open = append(f.open, f.keys[i])
		} else {
			f.held = append(f.held, f.keys[i])
		}
	}
	c.n.fences.Add(uint64(len(f.held)))
	if failed == nil {
		return nil
	}
	if c.opts.OnL2Down == FailClosed {
		// Nothing was written, so nothing needs protection. A fence whose
		// answer was lost is lifted too, or else ends by itself.
		c.release(f.keys, f.token, nil)
		return fmt.Errorf("%w: the write was not begun: %w", ErrL2Unavailable, failed)
	}
	for _, k := range f.open {
		c.pending.begin(k)
	}
	return nil
}

// lift ends the fences as the outcome of the write asks for.
func (f *fenced[K, V]) lift(w *Writing[K, V], outcome error) error {
	c := f.c
	// After the commit, before the acknowledgement: what L1 took in meanwhile
	// may have been read before.
	c.dropL1(f.keys)
	known := outcome == nil || errors.Is(outcome, ErrAborted)
	due := time.Now()
	if !known {
		c.n.writesUnknown.Add(1)
		due = f.start.Add(c.opts.FenceTTL)
	}
	if len(f.open) > 0 {
		unsent := batch[K]{keys: f.open}
		for _, k := range f.open {
			unsent.seqs = append(unsent.seqs, c.pending.end(k, f.token, due))
			unsent.tokens = append(unsent.tokens, f.token)
		}
		// Before the acknowledgement, if that can be: an L2 that was slow for a
		// moment is then no reason for another node to read the older value.
		if !known || c.tell(unsent) > 0 {
			defer c.recover()
		}
	}
	switch {
	case c.tier == nil && !known:
		for _, k := range f.keys { // the fence of a cache without L2
			c.pending.add(k, f.token, due)
		}
		c.recover()
		return nil
	case !known:
		for _, k := range f.held {
			c.overdue.add(fencedUntil[K]{k, f.token, due})
		}
		c.recover()
		return nil
	case c.tier == nil:
		return nil
	}
	var published map[K]loaded[V]
	if outcome == nil {
		published = w.published
	}
	failed := c.release(f.held, f.token, published)
	// The fence may stand, but an L2 that just failed may also have lost it, and
	// then a fill of what was read before the commit is not refused.
	if failed != nil && c.opts.OnL2Down == FailClosed && outcome == nil {
		return fmt.Errorf("%w: %w", ErrUnacknowledged, failed)
	}
	return nil
}

// release lifts fences and publishes. Keys for which that fails are remembered.
// Their fence still stands, unless it has run out or L2 has lost it.
func (c *Cache[K, V]) release(keys []K, token Token, published map[K]loaded[V]) (failed error) {
	if len(keys) == 0 {
		return nil
	}
	reqs := make([]ReleaseRequest, len(keys))
	gens := make([]uint64, len(keys))
	for i, k := range keys {
		reqs[i] = ReleaseRequest{Key: c.l2key(k), Token: token}
		gens[i] = c.l1.Generation(k)
		l, ok := published[k]
		negative := l.err != nil
		if !ok || negative && c.opts.NegativeTTL < 0 {
			continue
		}
		entry, err := c.encode(l.v, negative, token)
		if err != nil {
			c.warn.do(func() { c.log.Error("a value cannot be encoded for L2", "l2_key", reqs[i].Key, "error", err) })
			continue
		}
		reqs[i].Publish, reqs[i].TTL = entry, c.ttl(negative)+c.staleFor(negative)
	}
	start := time.Now()
	for i, r := range c.tier.release(reqs) {
		k := keys[i]
		switch {
		case r.Err != nil:
			failed = r.Err
			c.pending.add(k, token, time.Now())
		case r.Published:
			c.n.published.Add(1)
			l := published[k]
			if c.invertible(k, reqs[i].Key) {
				// Not for longer than it is in L2: see granted.
				ttl := reqs[i].TTL - c.staleFor(l.err != nil) - time.Since(start)
				c.l1.InsertAbsent(k, gens[i], l.v, l.err != nil, min(c.opts.L1TTL, ttl))
			}
		case r.Lost:
			c.n.lost.Add(1)
			// Without a fence, a read may have put into L1 since the commit what
			// the release has now removed, and nobody tells us of our own changes.
			c.l1.Invalidate(k)
		}
	}
	if failed != nil {
		c.recover()
	}
	return failed
}
