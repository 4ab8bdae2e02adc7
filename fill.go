package aside

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
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

// encode makes the entry of a value or an absence. A value too large for L2 has an
// entry that says so: other nodes then load it for themselves, and are told when it
// changes as they are of others.
func (c *Cache[K, V]) encode(l2key string, v V, negative bool, version uint64, token driver.Token) ([]byte, error) {
	e := envelope.Entry{
		Negative: negative, Codec: c.entries.Codec, Schema: c.entries.Schema, Type: c.entries.Type,
		Version: version, Token: token, Stored: time.Now(), StaleFor: c.staleFor(negative),
	}
	if !negative {
		var err error
		if e.Payload, err = c.encodeValue(v); err != nil {
			c.n.unencodable.Add(1)
			c.warn.do("encode", func() {
				c.log.Error("a value cannot be encoded and is not stored in L2", "l2_key", l2key, "error", err)
			})
			return nil, err
		}
		if most := c.entries.MaxPayload; most > 0 && len(e.Payload) > most {
			c.n.tooLarge.Add(1)
			c.warn.do("too large", func() {
				c.log.Warn("a value is larger than MaxEntrySize and is not stored in L2", "l2_key", l2key, "bytes", len(e.Payload), "max", most)
			})
			e.Elsewhere, e.StaleFor = true, 0
		}
	}
	return envelope.Append(nil, e, c.opts.CompressAbove), nil
}

// decode decodes an entry that L2 has for k. Nothing that L2 has is trusted to be
// what a node has stored there.
func (c *Cache[K, V]) decode(k K, b []byte) (v V, e envelope.Entry, err error) {
	if e, err = c.entries.Decode(b); err == nil && !e.Negative && !e.Elsewhere {
		if v, err = c.decodeValue(e.Payload); err == nil {
			err = c.validate(k, v)
		}
	}
	return v, e, err
}

// clockSlack is by how much the clocks of nodes may differ before their entries are
// of no use to each other.
const clockSlack = time.Hour

// checkAge looks at the age of an entry, by the clock of the node that stored it: L2
// must have removed it by then. It does not if the entry was given no TTL.
func (c *Cache[K, V]) checkAge(e envelope.Entry, age time.Duration) error {
	switch {
	case age > max(0, c.fullTTL(e.Negative))+c.staleFor(e.Negative)+clockSlack:
		return fmt.Errorf("aside: the entry should have ended: it is %v old", age.Round(time.Second))
	case age < -clockSlack:
		return fmt.Errorf("aside: the entry says that it was stored at %v", e.Stored.UTC().Format(time.RFC3339))
	}
	return nil
}

// ttl returns a TTL shortened by the jitter.
func (c *Cache[K, V]) ttl(negative bool) time.Duration {
	d := c.fullTTL(negative)
	return max(d-time.Duration(c.opts.Jitter*rand.Float64()*float64(d)), time.Millisecond)
}

func (c *Cache[K, V]) fullTTL(negative bool) time.Duration {
	if negative {
		return c.opts.NegativeTTL
	}
	return c.opts.TTL
}

func (c *Cache[K, V]) staleFor(negative bool) time.Duration {
	if negative {
		return 0
	}
	return c.opts.StaleFor
}
