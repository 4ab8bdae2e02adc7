package l1

// few is the number of entries for each shard below which all shards evict as one. Which
// shard a key is in is chance: with room for four entries in each, three keys in use may
// meet in one shard and push each other out, while other shards keep what nobody asks for.
// Only a tier with costs has so few entries.
const few = 32

func (t *Tier[K, V]) areFew() bool {
	return len(t.shards) > 1 && t.entries.Load() < int64(few*len(t.shards))
}

// evictOfFew evicts one entry as if the queues of all shards were one: it takes the shards
// in turn, and of each the entry that came first. It spares the one that was just inserted,
// which may be all that one of the queues has.
func (t *Tier[K, V]) evictOfFew(inserted *node[K, V]) {
	fromSmall := 10*t.smallCost() >= t.cost.Load()
	for t.cost.Load() > t.most {
		for range t.shards {
			i := int(t.turn.Add(1)) % len(t.shards)
			if t.evictUnused(i, fromSmall, inserted) {
				return
			}
		}
		fromSmall = !fromSmall
	}
}

func (t *Tier[K, V]) smallCost() (sum uint64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		sum += s.small.cost
		s.mu.Unlock()
	}
	return sum
}

// evictUnused looks at each entry of one queue of a shard once, until there is one to evict.
func (t *Tier[K, V]) evictUnused(i int, fromSmall bool, inserted *node[K, V]) bool {
	s := &t.shards[i]
	s.mu.Lock()
	q := &s.main
	if fromSmall {
		q = &s.small
	}
	n := s.unused(q, inserted, t.moment())
	if n == nil {
		s.mu.Unlock()
		return false
	}
	t.evictLocked(i, n)
	return true
}
