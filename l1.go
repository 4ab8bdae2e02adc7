package aside

import "time"

// readL1 answers a read from L1, if that has the key.
func (c *Cache[K, V]) readL1(key K) (r Result[V], ok bool) {
	e, ok := c.l1.Get(key)
	if !ok {
		return r, false
	}
	r.Source, r.Value = SourceL1, e.Value
	if e.Negative() {
		c.n.negatives.Add(1)
		r.Negative, r.Err = true, ErrNotFound
	} else {
		r.Version, _ = c.version(e.Value)
	}
	return r, true
}

// insertL1 puts a job's answer into L1, unless another flight has taken the job's
// place, or an invalidation could not name the key.
func (c *Cache[K, V]) insertL1(j *job[K, V], ttl time.Duration) {
	if !j.replaced && c.invertible(j.key, j.l2key) {
		c.l1.Insert(j.key, j.gen, j.ans.Value, j.ans.Negative, ttl)
	}
}

// invalidateL1 drops a key from L1. What was asked for before is not inserted any
// more, and nobody joins a read that began before.
func (c *Cache[K, V]) invalidateL1(k K) {
	c.l1.Invalidate(k)
	c.flights.Forget(k)
}

// flushL1 does for all keys what invalidateL1 does for one.
func (c *Cache[K, V]) flushL1() {
	c.l1.Flush()
	c.flights.ForgetAll()
}

// dropL1 invalidates several keys.
func (c *Cache[K, V]) dropL1(keys []K) {
	for _, k := range keys {
		c.invalidateL1(k)
	}
}
