package aside

import (
	"sync"
	"time"
)

// orphans are leases that L2 may have granted to this node without its knowing,
// or that could not be given back. Nobody will fill them, and other readers of
// the key would wait until they expire, so they are abandoned as soon as L2
// answers again. The list is bounded: a lease's own expiry is the safe end.
type orphans struct {
	mu   sync.Mutex
	list []AbandonRequest
}

const maxOrphans = 8192

func (o *orphans) add(a AbandonRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) < maxOrphans {
		o.list = append(o.list, a)
	}
}

func (o *orphans) take(limit int) (batch []AbandonRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(limit, len(o.list))
	batch, o.list = o.list[:n:n], o.list[n:]
	return batch
}

func (o *orphans) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list)
}

func (c *Cache[K, V]) orphan(j *job[K, V]) {
	c.orphans.add(AbandonRequest{Key: j.l2key, Lease: j.lease})
	c.recover()
}

const (
	drainBatch = 256
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// recover makes sure that a goroutine probes L2 until it works and has been
// told everything, and then ends.
func (c *Cache[K, V]) recover() {
	c.rec.Lock()
	defer c.rec.Unlock()
	c.rec.wanted = true
	if c.rec.running || !c.life.enter() {
		return
	}
	c.rec.running = true
	go func() {
		defer c.life.leave(1)
		c.recovery()
	}()
}

func (c *Cache[K, V]) recovery() {
	wait := firstRetry
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-c.life.closing:
			return
		}
		c.rec.Lock()
		c.rec.wanted = false
		c.rec.Unlock()
		next, progress := c.drain(false)
		if c.pending.len() == 0 && c.orphans.len() == 0 && c.overdue.len() == 0 && (c.tier == nil || c.tier.closed()) {
			c.rec.Lock()
			over := !c.rec.wanted
			c.rec.running = !over
			c.rec.Unlock()
			if over {
				return
			}
		}
		if wait = min(2*wait, lastRetry); progress {
			wait = firstRetry
		}
		if d := time.Until(next); !next.IsZero() && d > wait && (c.tier == nil || c.tier.closed()) {
			wait = min(d, lastRetry)
		}
		timer.Reset(wait)
	}
}

// drain tells L2 what it does not know, oldest first. Keys that L2 fails for
// stay, and do not hold up those behind them: one master of a cluster may be down
// while the others work. next is when there may be more to tell, if that is
// known. With final set, writes of unknown outcome are not waited for.
func (c *Cache[K, V]) drain(final bool) (next time.Time, progress bool) {
	if c.tier != nil && !c.tier.closed() && c.tier.probe() != nil {
		return time.Time{}, false
	}
	now, after := time.Now(), c.rec.after.Load()
	if final {
		now, after = now.Add(c.opts.FenceTTL), 0
	}
	for {
		b := c.pending.take(now, drainBatch, after)
		if !b.all && len(b.keys) == 0 {
			next = b.next
			c.rec.after.Store(0) // what is left comes again
			break
		}
		failed := c.tell(b)
		progress = progress || failed < max(1, len(b.keys))
		if !b.all {
			after = b.seqs[len(b.seqs)-1]
			c.rec.after.Store(after)
		}
		if failed > 0 && (b.all || !c.tier.closed()) {
			return time.Time{}, progress
		}
	}
	var again []fencedUntil[K]
	defer func() {
		for _, f := range again {
			c.overdue.add(f)
		}
	}()
	for c.tier != nil && !final { // not before the fences end, so not when closing
		batch, later := c.overdue.take(time.Now(), drainBatch)
		if len(batch) == 0 {
			if next.IsZero() || !later.IsZero() && later.Before(next) {
				next = later
			}
			break
		}
		untold := c.releaseOverdue(batch)
		again = append(again, untold...)
		progress = progress || len(untold) < len(batch)
		if len(untold) > 0 && !c.tier.closed() {
			return time.Time{}, progress
		}
	}
	for c.tier != nil {
		batch := c.orphans.take(drainBatch)
		if len(batch) == 0 {
			break
		}
		if c.tier.abandon(batch) != nil {
			for _, a := range batch {
				c.orphans.add(a)
			}
			break
		}
		progress = true
	}
	return next, progress
}

// tell releases a batch in L2. A release does to a key what an invalidation
// does, and lifts the write's fence too, if that was put there by a command whose
// answer was lost. L1 was dropped when the writes ended, and has since kept what
// was read from the primary only for DegradedL1TTL; it is dropped again for the
// writes of unknown outcome. It returns for how many keys it failed.
func (c *Cache[K, V]) tell(b batch[K]) (failed int) {
	if b.all {
		if c.tier != nil && c.tier.clear(c.prefix) != nil {
			return 1
		}
		c.l1.Flush()
		c.pending.sentAll(b)
		return 0
	}
	for i, err := range c.releaseAgain(b.keys, b.tokens) {
		if err == nil {
			c.pending.sent(b, i)
		} else {
			failed++
		}
	}
	return failed
}

// releaseOverdue returns those for which it failed.
func (c *Cache[K, V]) releaseOverdue(batch []fencedUntil[K]) (untold []fencedUntil[K]) {
	keys, tokens := make([]K, len(batch)), make([]Token, len(batch))
	for i, f := range batch {
		keys[i], tokens[i] = f.key, f.token
	}
	for i, err := range c.releaseAgain(keys, tokens) {
		if err != nil {
			untold = append(untold, batch[i])
		}
	}
	return untold
}

// releaseAgain releases keys in L2 after their writes ended, publishing nothing,
// and drops them from L1.
func (c *Cache[K, V]) releaseAgain(keys []K, tokens []Token) []error {
	errs := make([]error, len(keys))
	if c.tier != nil {
		reqs := make([]ReleaseRequest, len(keys))
		for i, k := range keys {
			reqs[i] = ReleaseRequest{Key: c.l2key(k), Token: tokens[i]}
		}
		for i, r := range c.tier.release(reqs) {
			errs[i] = r.Err
		}
	}
	for i, err := range errs {
		if err == nil {
			c.l1.Invalidate(keys[i])
		}
	}
	return errs
}
