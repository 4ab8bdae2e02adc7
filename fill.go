package aside

import (
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/flight"
)

// fill stores the answers of loads under their leases, or gives the leases
// back, and ends the jobs. It encodes in its own goroutine, a batch's: each of the
// loads' goroutines would have its stack grown for that.
func (c *Cache[K, V]) fill(jobs []*job[K, V]) {
	var (
		fills             []driver.FillRequest
		filled, abandoned []*job[K, V]
		abandons          []driver.AbandonRequest
	)
	for _, j := range jobs {
		older := c.olderThanStale(j)
		if req, ok := c.fillRequest(j, older); ok {
			fills = append(fills, req)
			filled = append(filled, j)
			continue
		}
		// What the lease carries comes back if the load has brought nothing newer.
		// So it does if nobody wants the answer to be stored.
		back := j.ans.Err != nil || j.ans.Stale || older || j.asks&Refresh == 0 && !j.keeps()
		a := driver.AbandonRequest{Key: j.l2key, Lease: j.lease, Drop: j.ans.Negative || !back, Carrying: j.stale != nil}
		abandons = append(abandons, a)
		abandoned = append(abandoned, j)
	}
	if len(fills) > 0 {
		for _, j := range filled {
			c.startJobOp(j, OpFill)
		}
		for i, r := range c.l2.fill(fills) {
			c.top.big.Raise(filled[i].key, int64(len(fills[i].Entry)), time.Now())
			c.filled(filled[i], r, len(fills[i].Entry), fills[i].TTL)
		}
	}
	if len(abandons) > 0 {
		for i, err := range c.l2.abandon(abandons) {
			if err != nil {
				c.oweEnd(abandoned[i], abandons[i])
			}
		}
		// Not before the lease is gone: those who try again would wait for it.
		for _, j := range abandoned {
			if j.refreshes() {
				c.overtake(j)
			}
			c.closeFilled(j, flight.TrustNone)
		}
	}
}

// closeFilled ends a job of which L2 has been told. A Refresh is answered only now: until
// then others found the older value, in L2 or in what the lease carries.
func (c *Cache[K, V]) closeFilled(j *job[K, V], t flight.Trust) {
	if j.refreshes() {
		c.publishAnswer(j)
	}
	c.closeJob(j, t)
}

// refreshes reports whether the job's leader has asked for a Refresh.
func (j *job[K, V]) refreshes() bool { return j.asks&Refresh != 0 }

// overtaken reports whether a Refresh has an answer, and no lease to store it with, although
// no write is under way: L2 could not be asked, or another load took too long.
func (j *job[K, V]) overtaken() bool {
	return (j.ans.Err == nil && !j.ans.Stale || j.ans.Negative) && j.asks&SkipL2 == 0 &&
		(j.mode == fillDegraded || j.mode == fillNothing) && j.ans.Miss != MissFenced
}

// dropOvertaken has L2 drop what it has of the jobs' keys, with the leases of others, and
// ends the jobs.
func (c *Cache[K, V]) dropOvertaken(jobs []*job[K, V]) {
	if len(jobs) == 0 {
		return
	}
	keys := make([]string, len(jobs))
	for i, j := range jobs {
		keys[i] = j.l2key
	}
	for i, err := range c.l2.invalidate(keys) {
		if err != nil {
			c.oweDrop(jobs[i].key)
		}
	}
	for _, j := range jobs {
		c.overtake(j) // what others found before, and did not insert yet
		trust := flight.TrustNone
		if j.mode == fillDegraded && c.stores(j) && !c.olderThanKept(j) {
			c.sawInsert(j, c.insertL1(j, j.ttl))
			trust = flight.TrustLocal
		}
		c.publishAnswer(j)
		c.closeJob(j, trust)
	}
}

// oweDrop has L2 drop what it has of a key as soon as that can be. Until then this node
// reads the primary.
func (c *Cache[K, V]) oweDrop(key K) {
	c.outbox.AddWrite(key, driver.Token{}, time.Now())
	c.startRecovery()
}

// oweEnd has L2 told later that a job's lease has ended. After a Refresh with a new answer
// that is too weak: the lease may carry the older one.
func (c *Cache[K, V]) oweEnd(j *job[K, V], a driver.AbandonRequest) {
	if j.refreshes() && a.Drop {
		c.oweDrop(j.key)
		return
	}
	c.oweLease(a)
}

// fillRequest makes the request that stores a job's answer, if it is to be stored
// and can be. older: it is older than the stale value that it is to replace.
func (c *Cache[K, V]) fillRequest(j *job[K, V], older bool) (req driver.FillRequest, ok bool) {
	if !c.stores(j) {
		return req, false
	}
	if older {
		c.n.olderLoads.Add(1)
		c.warn.do("older load", func() {
			c.log.Warn("a loader returned an older version than the cache had, which is not stored: does it read a replica that lags?", c.keyAttr(j.l2key), "version", j.ans.Version)
		})
		return req, false
	}
	if j.told.unstamped {
		c.insertL1(j, c.l1TTL(c.opts.DegradedL1TTL, j.told)) // the table of tags could not be read
		return req, false
	}
	entry, err := c.encode(j.l2key, j.ans.Value, j.ans.Negative, j.told, j.ttl, j.lease)
	if err != nil {
		return req, false
	}
	return driver.FillRequest{Key: j.l2key, Lease: j.lease, Entry: entry, TTL: j.ttl + c.staleFor(j.ans.Negative), Carrying: j.stale != nil}, true
}

// olderThanStale reports whether a loaded value is older than the stale one that
// the lease was granted over.
func (c *Cache[K, V]) olderThanStale(j *job[K, V]) bool {
	if j.stale == nil || j.ans.Version == 0 || j.ans.Negative {
		return false
	}
	e, err := c.entries.Decode(j.stale)
	return err == nil && e.Version > j.ans.Version
}

// filled ends a job whose answer, of size bytes, was to be stored in L2 for ttl.
func (c *Cache[K, V]) filled(j *job[K, V], r driver.FillResult, size int, ttl time.Duration) {
	trust := flight.TrustNone
	if j.refreshes() {
		c.overtake(j) // what others found before the fill, and may have inserted
	}
	switch {
	case r.Stored:
		c.n.fills.Add(1)
		c.n.stored(size)
		c.saw(j.key, EventFill, 0, j.ans.Version, nil)
		c.insertL1(j, min(c.opts.L1TTL, ttl-c.staleFor(j.ans.Negative)))
		trust = flight.TrustAll
		c.endJobOp(j, OutcomeStored, nil)
	case r.Err == nil:
		c.n.fillsRefused.Add(1)
		c.saw(j.key, EventFillRefused, 0, j.ans.Version, nil)
		c.endJobOp(j, OutcomeRefused, nil)
	default: // also with the breaker open: the lease was granted before that
		c.saw(j.key, EventFillFailed, 0, j.ans.Version, r.Err)
		c.endJobOp(j, OutcomeFailed, r.Err)
		c.oweEnd(j, driver.AbandonRequest{Key: j.l2key, Lease: j.lease, Drop: true})
	}
	c.closeFilled(j, trust)
}

// stores reports whether a job's answer is to be kept.
func (c *Cache[K, V]) stores(j *job[K, V]) bool {
	return c.storable(j.ans.Negative, j.told) && (j.ans.Negative || j.ans.Err == nil && !j.ans.Stale)
}

// storable reports whether a record may be stored, by the options and what was told of it.
func (c *Cache[K, V]) storable(negative bool, t told) bool {
	return !t.noStore && (!negative || c.opts.NegativeTTL > 0 || t.ttl > 0)
}
