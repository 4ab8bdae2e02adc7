package l1

import (
	"iter"
	"time"

	"github.com/maypok86/otter/v2"
)

// Left returns how long an entry stays fresh; negative: by how much it is past its TTL.
func (t *Tier[K, V]) Left(e Entry[V]) time.Duration {
	at, fresh := t.moment(t.clock.NowNano()), t.fresh(e)
	return time.Duration(int64(fresh)-int64(at)) << unit
}

// All goes through what is fresh, in no order. It is no use of the entries. What is
// inserted or dropped meanwhile may be seen or not.
func (t *Tier[K, V]) All() iter.Seq2[K, Entry[V]] {
	return t.look((*otter.Cache[K, Entry[V]]).All)
}

// Hottest is All, from the most to the least used as the engine sees it. The engine holds
// its lock meanwhile, under which nobody may insert: so it is gone through first.
func (t *Tier[K, V]) Hottest() iter.Seq2[K, Entry[V]] {
	return t.look(func(c *otter.Cache[K, Entry[V]]) iter.Seq2[K, Entry[V]] {
		return func(yield func(K, Entry[V]) bool) {
			entries := make([]otter.Entry[K, Entry[V]], 0, c.EstimatedSize())
			for e := range c.Hottest() {
				entries = append(entries, e)
			}
			for _, e := range entries {
				if !yield(e.Key, e.Value) {
					return
				}
			}
		}
	})
}

func (t *Tier[K, V]) look(all func(*otter.Cache[K, Entry[V]]) iter.Seq2[K, Entry[V]]) iter.Seq2[K, Entry[V]] {
	return func(yield func(K, Entry[V]) bool) {
		cache := t.cache.Load()
		if cache == nil {
			return
		}
		for k, e := range all(cache) {
			if t.fresh(e) > t.moment(t.clock.NowNano()) && t.good(e) && !yield(k, e) {
				return
			}
		}
	}
}

// Len returns the number of entries, those included that have ended and were not asked
// for since.
func (t *Tier[K, V]) Len() int {
	if cache := t.cache.Load(); cache != nil {
		return cache.EstimatedSize()
	}
	return 0
}
