package l1

import (
	"iter"
	"time"
)

// Left returns how long an entry stays fresh; negative: by how much it is past its TTL.
func (t *Tier[K, V]) Left(e Entry[V]) time.Duration {
	return time.Duration(int64(e.fresh())-int64(t.moment())) << unit
}

// All goes through what is fresh, in no order. It is no use of the entries. What is
// inserted or dropped meanwhile may be seen or not.
func (t *Tier[K, V]) All() iter.Seq2[K, Entry[V]] {
	return t.look(func(yield func(*node[K, V]) bool) {
		for i := range t.tables {
			for n := range t.tables[i].Load().all {
				if !yield(n) {
					return
				}
			}
		}
	})
}

// Hottest is All, from the most to the least used, as far as the policy tells them apart.
func (t *Tier[K, V]) Hottest() iter.Seq2[K, Entry[V]] {
	return t.look(func(yield func(*node[K, V]) bool) {
		var ranks [2 * (usedMask + 1)][]*node[K, V]
		for i := range t.shards {
			s := &t.shards[i]
			s.mu.Lock()
			for n := range t.tables[i].Load().all {
				r := 2*n.used() + uint64(n.at&1)
				ranks[r] = append(ranks[r], n)
			}
			s.mu.Unlock()
		}
		for r := len(ranks) - 1; r >= 0; r-- {
			for _, n := range ranks[r] {
				if !yield(n) {
					return
				}
			}
		}
	})
}

// look goes through what is fresh of the keys of nodes. A node may be out of the table by
// now, so its key is looked up.
func (t *Tier[K, V]) look(nodes iter.Seq[*node[K, V]]) iter.Seq2[K, Entry[V]] {
	return func(yield func(K, Entry[V]) bool) {
		for n := range nodes {
			if e, _, ok := t.Stale(n.key); ok && !e.Stale() && !yield(n.key, e) {
				return
			}
		}
	}
}

// Len returns the number of entries, those included that have ended and were not asked
// for since.
func (t *Tier[K, V]) Len() int { return int(t.entries.Load()) }
