package aside

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/outbox"
)

// fence is a write under way, and the fences that it has put up in L2.
type fence[K comparable, V any] struct {
	c     *Cache[K, V]
	keys  []K
	start time.Time // before the fences were sent, so they end no earlier than start + FenceTTL
	token driver.Token
	held  []K // keys with a fence
	open  []K // keys without one, with FailOpen
}

// raise fences the keys.
func (f *fence[K, V]) raise() error {
	c := f.c
	if c.l2 == nil {
		return nil
	}
	names, err := c.l2keys(f.keys)
	if err != nil {
		return err
	}
	f.token = envelope.NewToken()
	reqs := make([]driver.FenceRequest, len(f.keys))
	for i, name := range names {
		reqs[i] = driver.FenceRequest{Key: name, Token: f.token, Life: c.opts.FenceTTL}
	}
	var failed error
	var uncertain []K // keys whose fence may have been put up all the same
	for i, err := range c.l2.fence(reqs) {
		switch {
		case err == nil:
			f.held = append(f.held, f.keys[i])
			continue
		case !nothingSent(err):
			uncertain = append(uncertain, f.keys[i])
		}
		failed = err
		f.open = append(f.open, f.keys[i])
	}
	c.n.fences.Add(uint64(len(f.held)))
	if failed == nil {
		return nil
	}
	if c.opts.OnL2Down == FailClosed {
		// Nothing was written, so nothing needs protection, and of keys that L2
		// was not asked about there is nothing to tell. A fence whose answer was
		// lost is lifted too, or else ends by itself.
		c.release(append(f.held, uncertain...), f.token, nil)
		return fmt.Errorf("%w: the write was not begun: %w", ErrL2Unavailable, failed)
	}
	for _, k := range f.open {
		c.outbox.Begin(k)
	}
	return nil
}

// lift ends the fences as the outcome of the write asks for.
func (f *fence[K, V]) lift(w *WriteTx[K, V], outcome error) error {
	c := f.c
	// After the commit, before the acknowledgement: what L1 took in meanwhile
	// may have been read before.
	c.dropL1(f.keys)
	known := outcome == nil || c.definite(outcome)
	due := time.Now()
	if !known {
		due = f.start.Add(c.opts.FenceTTL)
		c.n.writesUnknown.Add(1)
		c.warn.do("unknown outcome", func() {
			c.log.Warn("the outcome of a write is not known: its keys are not cached until the fence ends (see Aborted and DefiniteError)",
				"keys", len(f.keys), "first", f.keys[0], "fenced_for", time.Until(due).Round(time.Millisecond), "error", outcome)
		})
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
			_, failed = c.deliver(context.Background(), outbox.Batch[K]{Debts: debts})
		}
		if !known || failed > 0 {
			defer c.startRecovery()
		}
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
func (c *Cache[K, V]) release(keys []K, token driver.Token, published map[K]loaded[V]) (failed error) {
	if len(keys) == 0 {
		return nil
	}
	reqs := make([]driver.ReleaseRequest, len(keys))
	gens := make([]uint64, len(keys))
	for i, k := range keys {
		name, err := c.l2key(k)
		if err != nil { // it was fenced under a name, and Key does not give it any more
			failed = err
			continue
		}
		reqs[i] = driver.ReleaseRequest{Key: name, Token: token}
		gens[i] = c.l1.Generation(k)
		l, ok := published[k]
		negative := l.err != nil
		if !ok || negative && c.opts.NegativeTTL < 0 {
			continue
		}
		version := uint64(0)
		if !negative {
			version, _ = c.version(l.v)
		}
		if entry, err := c.encode(name, l.v, negative, version, token); err == nil {
			reqs[i].Publish, reqs[i].TTL = entry, c.ttl(negative)+c.staleFor(negative)
		}
	}
	if failed != nil {
		return failed
	}
	start := time.Now()
	for i, r := range c.l2.release(reqs) {
		k := keys[i]
		switch {
		case r.Err != nil:
			failed = r.Err
			c.outbox.AddWrite(k, token, time.Now())
		case r.Published:
			c.n.published.Add(1)
			l := published[k]
			if c.invertible(k, reqs[i].Key) {
				// Not for longer than it is in L2: see dropAfterGrant.
				ttl := reqs[i].TTL - c.staleFor(l.err != nil) - time.Since(start)
				c.l1.InsertAbsent(k, gens[i], l.v, l.err != nil, min(c.opts.L1TTL, ttl))
			}
		case r.Lost:
			c.n.lost.Add(1)
			c.warn.do("lost fence", func() {
				c.log.Warn("a fence was gone when its write ended: it ran out, or L2 lost it", "l2_key", reqs[i].Key, "after", time.Since(start).Round(time.Millisecond))
			})
			// Without a fence, a read may have put into L1 since the commit what
			// the release has now removed, and nobody tells us of our own changes.
			c.invalidateL1(k)
		}
	}
	if failed != nil {
		c.startRecovery()
	}
	return failed
}
