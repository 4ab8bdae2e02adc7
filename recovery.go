package aside

import (
	"context"
	"errors"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/outbox"
)

// Bounds of what is remembered of leases and fences: both end by themselves.
const (
	maxLeaseDebts = 8192
	maxFenceDebts = 8192
)

// oweLease has a lease given back as soon as L2 answers.
func (c *Cache[K, V]) oweLease(a driver.AbandonRequest) {
	if !c.outbox.AddLease(a) {
		c.debtDropped("leases that could not be given back", maxLeaseDebts)
	}
	c.startRecovery()
}

// oweFence has a key released once more when its fence has ended, at due.
func (c *Cache[K, V]) oweFence(k K, token driver.Token, due time.Time) {
	if !c.outbox.AddFence(k, token, due) {
		c.debtDropped("fences of writes with unknown outcome", maxFenceDebts)
	}
	c.startRecovery()
}

func (c *Cache[K, V]) debtDropped(what string, most int) {
	c.n.untold.Add(1)
	c.warn.do(what, func() {
		c.log.Warn("too many "+what+" to remember: they end by themselves", "remembered", most)
	})
}

const (
	drainBatch = 256
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// startRecovery makes sure that a goroutine probes L2 until it works and has been
// told everything, and then ends.
func (c *Cache[K, V]) startRecovery() {
	c.happenings.poke()
	c.rec.Lock()
	defer c.rec.Unlock()
	c.rec.wanted = true
	if c.rec.running || !c.inflight.begin() {
		return
	}
	c.rec.running = true
	go func() {
		defer c.inflight.done(1)
		c.recovery()
	}()
}

func (c *Cache[K, V]) recovery() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() { // a clear that takes long ends with the cache
		select {
		case <-c.inflight.closing:
			cancel()
		case <-ended:
		}
	}()
	wait, overflow := firstRetry, false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.inflight.closing:
			return
		}
		c.rec.Lock()
		c.rec.wanted = false
		c.rec.Unlock()
		overflow = c.logOverflow(overflow)
		next, progress := c.drain(ctx, false)
		overflow = c.logOverflow(overflow)
		// Not before: an outage is over when L2 has been told of all writes.
		if c.l2 != nil && c.l2.closed() && c.outbox.Len(outbox.Write) == 0 && c.tags.Pending() == 0 {
			c.l2.inUse()
		}
		if c.outbox.Empty() && c.tags.Pending() == 0 && (c.l2 == nil || c.l2.closed()) {
			c.rec.Lock()
			over := !c.rec.wanted
			c.rec.running = !over
			c.rec.Unlock()
			if over {
				c.happenings.poke()
				return
			}
		}
		if wait = min(2*wait, lastRetry); progress {
			wait = firstRetry
		}
		if d := time.Until(next); !next.IsZero() && d > wait && (c.l2 == nil || c.l2.closed()) {
			wait = min(d, lastRetry)
		}
		timer.Reset(wait)
	}
}

// logOverflow logs the begin and the end of an overflow; before is what it returned
// last.
func (c *Cache[K, V]) logOverflow(before bool) (now bool) {
	now = c.outbox.Overflowed()
	switch {
	case now && !before:
		c.log.Warn("more than MaxPending keys were written while L2 could not be reached: the cache is not used until it has been cleared", "max", c.opts.MaxPending)
	case before && !now:
		c.log.Info("the whole cache was cleared, since too many keys had been written while L2 could not be reached")
	}
	return now
}

// drain tells L2 everything that it can be told now. next is when there is more to
// tell, if that is known. final: see outbox.Take.
func (c *Cache[K, V]) drain(ctx context.Context, final bool) (next time.Time, progress bool) {
	if c.l2 != nil && !c.l2.closed() && c.l2.probe() != nil {
		return time.Time{}, false
	}
	progress = c.tellTags()
	now := time.Now()
	for {
		b := c.outbox.Take(now, drainBatch, final)
		told, failed := c.deliver(ctx, b)
		progress = progress || told > 0
		switch {
		case failed > 0 && (b.All || c.l2 != nil && !c.l2.closed()):
			return time.Time{}, progress // the next time begins with other debts
		case !b.More:
			return b.Next, progress
		}
	}
}

// deliver tells L2 of a batch, and returns how many debts it took and how many it
// failed for.
func (c *Cache[K, V]) deliver(ctx context.Context, b outbox.Batch[K]) (told, failed int) {
	if b.All {
		if c.l2 != nil && c.l2.clear(ctx, c.prefix) != nil {
			return 0, 1
		}
		c.flushL1()
		c.sawFlush()
		c.outbox.Cleared(b)
		return 1, 0
	}
	var keys, leases []outbox.Debt[K]
	for _, d := range b.Debts {
		if d.Kind == outbox.Lease {
			leases = append(leases, d)
		} else {
			keys = append(keys, d)
		}
	}
	record := func(debts []outbox.Debt[K], errs []error) {
		for i, err := range errs {
			if err == nil {
				told++
				c.outbox.Told(debts[i])
			} else {
				failed++
				c.outbox.Failed(b, debts[i])
			}
		}
	}
	record(keys, c.redeliverReleases(keys))
	record(leases, c.redeliverLeases(leases))
	return told, failed
}

// redeliverReleases releases keys in L2 after their writes ended, publishing nothing,
// and drops them from L1. A release does to a key what an invalidation does. It also
// lifts the write's fence, which may be there although its answer was lost.
//
// L1 was dropped when the writes ended. Since then it may have kept values of the
// primary, for DegradedL1TTL at most. It is dropped again because a write of unknown
// outcome may have been applied after that.
func (c *Cache[K, V]) redeliverReleases(debts []outbox.Debt[K]) []error {
	errs := make([]error, len(debts))
	if c.l2 != nil && len(debts) > 0 {
		reqs := make([]driver.ReleaseRequest, 0, len(debts))
		at := make([]int, 0, len(debts))
		for i, d := range debts {
			name, err := c.l2key(d.Key)
			if err != nil {
				continue // it had a name when it was written; Key does not give it any more
			}
			reqs, at = append(reqs, driver.ReleaseRequest{Key: name, Token: d.Token}), append(at, i)
		}
		for i, r := range c.l2.release(reqs) {
			errs[at[i]] = r.Err
		}
	}
	for i, err := range errs {
		if err == nil {
			c.invalidateL1(debts[i].Key)
			c.saw(debts[i].Key, EventDeliver, 0, 0, nil)
		}
	}
	return errs
}

// redeliverLeases gives leases back.
func (c *Cache[K, V]) redeliverLeases(debts []outbox.Debt[K]) []error {
	if len(debts) == 0 {
		return nil
	}
	reqs := make([]driver.AbandonRequest, len(debts))
	for i, d := range debts {
		reqs[i] = *d.Lease
	}
	errs := c.l2.abandon(reqs)
	for i, err := range errs {
		if errors.Is(err, ErrL2Key) {
			errs[i] = nil // a lease under which something else is stored ends by itself
		}
	}
	return errs
}
