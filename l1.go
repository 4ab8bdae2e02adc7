package aside

import (
	"context"
	"iter"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/l1"
)

// hitL1 is for a hit in L1 that is more than a fresh value: an absence, or an entry that is
// to be refreshed.
func (c *Cache[K, V]) hitL1(ctx context.Context, key K, e l1.Entry[V], loader Loader[K, V], bulk *bulkRead[K, V]) {
	c.countL1(e)
	if e.Due() {
		c.refreshHit(ctx, key, loader, bulk)
	}
}

func (c *Cache[K, V]) countL1(e l1.Entry[V]) {
	if e.Negative() {
		c.n.negatives.Add(1)
	}
	if e.Stale() {
		c.n.stale.Add(1)
	}
}

// readL1 answers a read from L1, if that has the key.
func (c *Cache[K, V]) readL1(ctx context.Context, key K, loader Loader[K, V], bulk *bulkRead[K, V]) (r Result[V], ok bool) {
	e, ok := c.l1.Get(key)
	if !ok {
		return r, false
	}
	if !e.Plain() {
		c.hitL1(ctx, key, e, loader, bulk)
	}
	r = c.resultL1(e)
	r.Miss = missOf(e)
	return r, true
}

// missOf says that a read that finds a stale entry asks for a load.
func missOf[V any](e l1.Entry[V]) Miss {
	if e.Stale() {
		return MissStale
	}
	return MissNone
}

// peekL1 returns what L1 has of a key, which is no use of it: a refresh that is due is left
// to the reads.
func (c *Cache[K, V]) peekL1(key K) (r Result[V], ok bool) {
	e, ok := c.l1.Peek(key)
	if !ok {
		return r, false
	}
	c.n.peekedL1.Add(1)
	c.countL1(e)
	return c.resultL1(e), true
}

func (c *Cache[K, V]) resultL1(e l1.Entry[V]) (r Result[V]) {
	r.Source, r.Value, r.Stale, r.Left, r.Node = SourceL1, e.Value, e.Stale(), c.l1.Left(e), c.node
	if e.Marks != nil {
		r.Tags, r.marks = e.Marks.Tags, e.Marks
	}
	if e.Negative() {
		r.Negative, r.Err = true, ErrNotFound
	} else {
		r.Version = c.versionOf(e.Value, e.Marks)
	}
	return r
}

// insertL1 puts a job's answer into L1, unless another flight has taken the job's
// place, or an invalidation could not name the key.
func (c *Cache[K, V]) insertL1(j *job[K, V], ttl time.Duration) (inserted bool) {
	if j.replaced || !c.invertible(j.key, j.l2key) {
		return false
	}
	life := c.life(j, ttl)
	if j.renews == (driver.Token{}) && !j.call.Answered() {
		return c.l1.Insert(j.key, j.gen, j.ans.Value, j.ans.Negative, life)
	}
	// Others may have inserted since, and what they know may be newer.
	inserted = c.l1.InsertAbsent(j.key, j.gen, j.ans.Value, j.ans.Negative, life)
	if !inserted {
		c.l1.Drop(j.key) // or older, and then it would stay
	}
	return inserted
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

// values are those of entries, without the absences.
func values[K comparable, V any](entries iter.Seq2[K, l1.Entry[V]]) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for k, e := range entries {
			if !e.Negative() && !yield(k, e.Value) {
				return
			}
		}
	}
}

// publishL1 ends a write with some outcome in a cache without L2, and stores what it has
// published. f.gens are the keys' generations from before the write function ran. The write's
// own end has moved each by one: if it has moved further, something else touched the key, and
// nobody knows which record is the last. (Or a key that shares the generation: then this one
// is loaded.)
func (c *Cache[K, V]) publishL1(f *fence[K, V], published map[K]loaded[V], outcome error) {
	for i, k := range f.keys {
		l, ok := published[k]
		negative := l.err != nil
		if !ok || !c.storable(negative, l.told) || c.outbox.Holds(k) || c.writing.many(k) {
			c.saw(k, EventRelease, time.Since(f.start), 0, outcome)
			continue
		}
		life := c.lifeFor(min(c.opts.L1TTL, c.ttl(negative, l.told)), l.marks, !negative)
		life.Keep = c.opts.keeps() > 0
		if c.l1.InsertAbsent(k, f.gens[i]+1, l.v, negative, life) {
			c.n.published.Add(1)
			c.saw(k, EventPublish, 0, l.version, nil)
		} else {
			c.saw(k, EventRelease, time.Since(f.start), 0, outcome)
		}
	}
}
