package aside

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
)

// orphans are leases that L2 may have granted to this node without its knowing,
// or that could not be given back. Nobody will fill them, and other readers of
// the key would wait until they expire, so they are abandoned as soon as L2
// answers again. The list is bounded: a lease's own expiry is the safe end.
type orphans struct {
	mu   sync.Mutex
	list []driver.AbandonRequest
}

const maxOrphans = 8192

// add reports whether there was room.
func (o *orphans) add(a driver.AbandonRequest) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) >= maxOrphans {
		return false
	}
	o.list = append(o.list, a)
	return true
}

func (o *orphans) take(limit int) (batch []driver.AbandonRequest) {
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

// remember has a lease given back as soon as L2 answers.
func (c *Cache[K, V]) remember(a driver.AbandonRequest) {
	if !c.orphans.add(a) {
		c.untold("leases that could not be given back", maxOrphans)
	}
	c.startRecovery()
}

// rememberFence has a key released once more when its fence has ended.
func (c *Cache[K, V]) rememberFence(f fencedUntil[K]) {
	if !c.overdue.add(f) {
		c.untold("fences of writes with unknown outcome", maxOverdue)
	}
	c.startRecovery()
}

func (c *Cache[K, V]) untold(what string, most int) {
	c.n.untold.Add(1)
	c.warn.do(what, func() {
		c.log.Warn("too many "+what+" to remember: they end by themselves", "remembered", most)
	})
}

func (c *Cache[K, V]) orphan(j *job[K, V]) {
	c.remember(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
}

const (
	drainBatch = 256
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// startRecovery makes sure that a goroutine probes L2 until it works and has been
// told everything, and then ends.
func (c *Cache[K, V]) startRecovery() {
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
	wait := firstRetry
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
		next, progress := c.drain(ctx, false)
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
func (c *Cache[K, V]) drain(ctx context.Context, final bool) (next time.Time, progress bool) {
	if c.tier != nil && !c.tier.closed() && c.tier.probe() != nil {
		return time.Time{}, false
	}
	now := time.Now()
	if final {
		now = now.Add(c.opts.FenceTTL)
		c.pending.rewind()
	}
	for {
		b := c.pending.take(now, drainBatch)
		if !b.next.IsZero() && (next.IsZero() || b.next.Before(next)) {
			next = b.next
		}
		failed := 0
		if b.all || len(b.keys) > 0 {
			failed = c.tell(ctx, b)
			progress = progress || failed < max(1, len(b.keys))
		}
		if failed > 0 && (b.all || !c.tier.closed()) {
			return time.Time{}, progress // the next time goes on behind these keys
		}
		if !b.more && !b.all {
			break // what is left comes again
		}
	}
	var again []fencedUntil[K]
	defer func() {
		for _, f := range again {
			c.rememberFence(f)
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
		failed := c.releaseOverdue(batch)
		again = append(again, failed...)
		progress = progress || len(failed) < len(batch)
		if len(failed) > 0 && !c.tier.closed() {
			return time.Time{}, progress
		}
	}
	for c.tier != nil {
		batch := c.orphans.take(drainBatch)
		if len(batch) == 0 {
			break
		}
		failed := false
		for i, err := range c.tier.abandon(batch) {
			if err != nil && !errors.Is(err, ErrL2Key) { // such a lease ends by itself
				failed = true
				c.remember(batch[i])
			}
		}
		if failed {
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
func (c *Cache[K, V]) tell(ctx context.Context, b batch[K]) (failed int) {
	if b.all {
		if c.tier != nil && c.tier.clear(ctx, c.prefix) != nil {
			return 1
		}
		c.flushL1()
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
func (c *Cache[K, V]) releaseOverdue(batch []fencedUntil[K]) (failed []fencedUntil[K]) {
	keys, tokens := make([]K, len(batch)), make([]driver.Token, len(batch))
	for i, f := range batch {
		keys[i], tokens[i] = f.key, f.token
	}
	for i, err := range c.releaseAgain(keys, tokens) {
		if err != nil {
			failed = append(failed, batch[i])
		}
	}
	return failed
}

// releaseAgain releases keys in L2 after their writes ended, publishing nothing,
// and drops them from L1.
func (c *Cache[K, V]) releaseAgain(keys []K, tokens []driver.Token) []error {
	errs := make([]error, len(keys))
	if c.tier != nil {
		reqs := make([]driver.ReleaseRequest, 0, len(keys))
		at := make([]int, 0, len(keys))
		for i, k := range keys {
			name, err := c.l2key(k)
			if err != nil {
				continue // it had a name when it was written; Key does not give it any more
			}
			reqs, at = append(reqs, driver.ReleaseRequest{Key: name, Token: tokens[i]}), append(at, i)
		}
		for i, r := range c.tier.release(reqs) {
			errs[at[i]] = r.Err
		}
	}
	for i, err := range errs {
		if err == nil {
			c.invalidateL1(keys[i])
		}
	}
	return errs
}
