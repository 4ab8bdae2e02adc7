package aside

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/outbox"
)

// fence is a write under way, and the fences that it has put up in L2.
type fence[K comparable, V any] struct {
	c       *Cache[K, V]
	keys    []K
	ctx     context.Context // of the write
	op      *operation      // for the observer
	outcome *writeOutcome   // nil: the function was not called
	start   time.Time       // before the fences were sent, so they end no earlier than start + FenceTTL
	token   driver.Token
	held    []K      // keys with a fence
	names   []string // of these, in L2
	open    []K      // keys without one, with FailOpen
	missed  []K      // keys for which WriteTx.Fence returned an error
	gens    []uint64 // of the keys in a cache without L2, see publishL1
}

// add takes keys into the write and fences them.
func (f *fence[K, V]) add(keys []K) error {
	c := f.c
	f.keys = appendOrTake(f.keys, keys)
	c.sawWrite(keys)
	c.writing.add(keys)
	// L1 first, or a read of this process could go on hitting it while the
	// other nodes already wait for the new record.
	c.dropL1(keys)
	if err := f.raise(keys); err != nil {
		return err
	}
	// Again, since L1 may have taken the old record in before the fence came, and
	// the fence ended the tracking of the key: another node's write, while ours
	// runs, would not be told to this one.
	c.dropL1(keys)
	if c.l2 == nil {
		for _, k := range keys {
			f.gens = append(f.gens, c.l1.Generation(k))
		}
	}
	return nil
}

// raise fences keys.
func (f *fence[K, V]) raise(keys []K) error {
	c := f.c
	switch {
	case c.l2 == nil:
		return nil
	case len(keys) == 0: // they come with WriteTx.Fence
		if c.opts.OnL2Down == FailClosed && !c.l2.closed() {
			return fmt.Errorf("%w: the write was not begun", ErrL2Unavailable)
		}
		return nil
	}
	names, err := c.l2keys(keys)
	if err != nil {
		return err
	}
	if f.token == (driver.Token{}) {
		f.token = envelope.NewTokenOf(c.node)
	}
	start := time.Now()
	reqs := make([]driver.FenceRequest, len(keys))
	for i, name := range names {
		reqs[i] = driver.FenceRequest{Key: name, Token: f.token, Life: c.opts.FenceTTL}
	}
	var held, open []K
	var heldNames []string
	var uncertain []int // keys whose fence may have been put up all the same
	op := c.startOp(f.ctx, OpFence, 0, keys...)
	errs := c.l2.fence(reqs)
	failed := worst(errs...)
	c.endOp(op, OpResult{Err: failed})
	if failed == nil {
		held, heldNames = keys, names
	}
	for i, err := range errs {
		switch {
		case err == nil:
			if failed != nil {
				held, heldNames = append(held, keys[i]), append(heldNames, names[i])
			}
			c.saw(keys[i], EventFence, time.Since(start), 0, nil)
			continue
		case !nothingSent(err):
			uncertain = append(uncertain, i)
		}
		open = append(open, keys[i])
		c.saw(keys[i], EventFenceFailed, time.Since(start), 0, err)
	}
	c.n.fences.Add(uint64(len(held)))
	if failed != nil && c.opts.OnL2Down == FailClosed {
		// Nothing was written, so nothing needs protection, and of keys that L2
		// was not asked about there is nothing to tell. A fence whose answer was
		// lost is lifted too, or else ends by itself.
		for _, i := range uncertain {
			held, heldNames = append(held, keys[i]), append(heldNames, names[i])
		}
		_ = c.release(held, heldNames, f.token, nil, failed)
		return fmt.Errorf("%w: the write was not begun: %w", ErrL2Unavailable, failed)
	}
	f.held, f.names = appendOrTake(f.held, held), appendOrTake(f.names, heldNames)
	f.open = append(f.open, open...)
	for _, k := range open {
		c.outbox.Begin(k)
	}
	return nil
}

// appendOrTake appends b to a. If a is empty it is b, of which the caller keeps nothing that
// it would change.
func appendOrTake[T any](a, b []T) []T {
	if len(a) == 0 {
		return slices.Clip(b)
	}
	return append(a, b...)
}

// lift ends the fences as the outcome of the write asks for.
func (f *fence[K, V]) lift(w *WriteTx[K, V], outcome error) (err error) {
	c := f.c
	// After the commit, before the acknowledgement: what L1 took in meanwhile
	// may have been read before.
	c.dropL1(f.keys)
	known := outcome == nil || c.definite(outcome)
	f.outcome = &writeOutcome{known, outcome}
	due := time.Now()
	if !known {
		due = f.start.Add(c.opts.FenceTTL)
		c.n.writesUnknown.Add(1)
		c.sawAll(f.keys, EventUnknown, time.Since(f.start), outcome)
		c.warn.do("unknown outcome", func() {
			c.log.Warn("the outcome of a write is not known: its keys are not cached until the fence ends (see Aborted and DefiniteError)",
				"keys", len(f.keys), c.firstKey(f.keys), "fenced_for", time.Until(due).Round(time.Millisecond), "error", outcome)
		})
	}
	if len(f.missed) > 0 && (outcome == nil || !known) {
		// The function was told to roll back. If it did not, L2 is told as soon as it
		// can be, and nobody is told that all is well.
		for _, k := range f.missed {
			c.outbox.AddWrite(k, f.token, due)
		}
		c.startRecovery()
		if outcome == nil {
			defer func() {
				if err == nil {
					err = fmt.Errorf("%w: the write went on after WriteTx.Fence had failed", ErrUnacknowledged)
				}
			}()
		}
	}
	if len(f.open) > 0 {
		debts := make([]outbox.Debt[K], len(f.open))
		for i, k := range f.open {
			debts[i] = c.outbox.End(k, f.token, due)
		}
		// Before the acknowledgement, if that can be: an L2 that was slow for a
		// moment is then no reason for another node to read the older value.
		failed := 0
		if known {
			if _, failed = c.deliver(context.Background(), outbox.Batch[K]{Debts: debts}); failed > 0 {
				c.sawAll(f.open, EventReleaseFailed, 0, nil)
			}
		}
		if !known || failed > 0 {
			defer c.startRecovery()
		}
	}
	var published map[K]loaded[V]
	if outcome == nil {
		published = w.published
	}
	switch {
	case c.l2 == nil && !known:
		for _, k := range f.keys { // the fence of a cache without L2
			c.outbox.AddWrite(k, f.token, due)
		}
		c.startRecovery()
		return nil
	case !known:
		for _, k := range f.held {
			c.oweFence(k, f.token, due)
		}
		return nil
	case c.l2 == nil:
		c.publishL1(f, published, outcome)
		return nil
	}
	failed := c.releaseHeld(f, published)
	// The fence may stand, but an L2 that just failed may also have lost it, and
	// then a fill of what was read before the commit is not refused.
	if failed != nil && c.opts.OnL2Down == FailClosed && outcome == nil {
		return fmt.Errorf("%w: %w", ErrUnacknowledged, failed)
	}
	return nil
}

// release lifts fences after a write with some outcome, and publishes. Keys for which that
// fails are remembered. Their fence still stands, unless it has run out or L2 has lost it.
func (c *Cache[K, V]) release(keys []K, names []string, token driver.Token, published map[K]loaded[V], outcome error) (failed error) {
	if len(keys) == 0 {
		return nil
	}
	reqs := make([]driver.ReleaseRequest, len(keys))
	gens := make([]uint64, len(keys))
	for i, k := range keys {
		name := names[i]
		reqs[i] = driver.ReleaseRequest{Key: name, Token: token}
		gens[i] = c.l1.Generation(k)
		l, ok := published[k]
		negative := l.err != nil
		if !ok || l.unstamped || !c.storable(negative, l.told) {
			continue
		}
		ttl := c.ttl(negative, l.told)
		if entry, err := c.encode(name, l.v, negative, l.told, ttl, token); err == nil {
			reqs[i].Publish, reqs[i].TTL = entry, ttl+c.staleFor(negative)
		}
	}
	start := time.Now()
	for i, r := range c.l2.release(reqs) {
		k := keys[i]
		switch {
		case r.Err != nil:
			failed = r.Err
			c.outbox.AddWrite(k, token, time.Now())
			c.saw(k, EventReleaseFailed, time.Since(start), 0, r.Err)
		case r.Published:
			c.n.published.Add(1)
			c.n.stored(len(reqs[i].Publish))
			l := published[k]
			c.sawPublish(k, time.Since(start), l, reqs[i].Publish)
			if c.invertible(k, reqs[i].Key) {
				// Not for longer than it is in L2: see dropAfterGrant.
				ttl := reqs[i].TTL - c.staleFor(l.err != nil) - time.Since(start)
				c.l1.InsertAbsent(k, gens[i], l.v, l.err != nil, c.lifeFor(min(c.opts.L1TTL, ttl), l.marks, l.err == nil))
			}
		case r.Lost:
			c.n.lost.Add(1)
			c.warn.do("lost fence", func() {
				c.log.Warn("a fence was gone when its write ended: it ran out, or L2 lost it", c.keyAttr(reqs[i].Key), "after", time.Since(start).Round(time.Millisecond))
			})
			// Without a fence, a read may have put into L1 since the commit what the
			// release has now removed. L2 need not report our own changes to us (see
			// driver.Tier.Watch), and a report may come too late.
			c.invalidateL1(k)
			c.saw(k, EventFenceLost, time.Since(start), 0, nil)
		default:
			c.saw(k, EventRelease, time.Since(start), 0, outcome)
		}
	}
	if failed != nil {
		c.startRecovery()
	}
	return failed
}
