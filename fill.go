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
		a := driver.AbandonRequest{Key: j.l2key, Lease: j.lease}
		if left := time.Until(j.staleUntil); j.stale != nil && (j.ans.Err != nil || j.ans.Stale || older) && !j.ans.Negative && left > 0 {
			a.Restore, a.TTL = j.stale, left
		}
		abandons = append(abandons, a)
		abandoned = append(abandoned, j)
	}
	if len(fills) > 0 {
		for i, r := range c.l2.fill(fills) {
			c.filled(filled[i], r, fills[i].TTL)
		}
	}
	if len(abandons) > 0 {
		for i, err := range c.l2.abandon(abandons) {
			if err != nil {
				c.oweLease(abandons[i])
			}
		}
		// Not before the lease is gone: those who try again would wait for it.
		for _, j := range abandoned {
			c.closeJob(j, flight.TrustNone)
		}
	}
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
			c.log.Warn("a loader returned an older version than the cache had, which is not stored: does it read a replica that lags?", "l2_key", j.l2key, "version", j.ans.Version)
		})
		return req, false
	}
	entry, err := c.encode(j.l2key, j.ans.Value, j.ans.Negative, j.ans.Version, j.lease)
	if err != nil {
		return req, false
	}
	return driver.FillRequest{Key: j.l2key, Lease: j.lease, Entry: entry, TTL: c.ttl(j.ans.Negative) + c.staleFor(j.ans.Negative)}, true
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

// filled ends a job whose answer was to be stored in L2 for ttl.
func (c *Cache[K, V]) filled(j *job[K, V], r driver.FillResult, ttl time.Duration) {
	trust := flight.TrustNone
	switch {
	case r.Stored:
		c.insertL1(j, min(c.opts.L1TTL, ttl-c.staleFor(j.ans.Negative)))
		trust = flight.TrustAll
	case r.Err == nil:
		c.n.fillsRefused.Add(1)
	default: // also with the breaker open: the lease was granted before that
		c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
	}
	c.closeJob(j, trust)
}

// stores reports whether a job's answer is to be kept.
func (c *Cache[K, V]) stores(j *job[K, V]) bool {
	return j.ans.Err == nil && !j.ans.Stale || j.ans.Negative && c.opts.NegativeTTL > 0
}
