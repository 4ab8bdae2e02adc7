package l1

// few is up to how many entries a shard has so few, on average, that its own queues would
// not do. Which shards keys are in is chance: with room for four entries in each, three
// that are used may meet in one, and push each other out while others keep what nobody
// asks for. Only with costs are there so few.
const few = 32

func (t *Tier[K, V]) areFew() bool {
	return len(t.shards) > 1 && t.entries.Load() < int64(few*len(t.shards))
}

// evictOfFew evicts one entry, as if the shards' queues were one: of shards in turn the
// one that came first. It spares the one that was just inserted.
func (t *Tier[K, V]) evictOfFew(inserted *node[K, V]) {
	fromSmall := 10*t.smallCost() >= t.cost.Load()
	for t.cost.Load() > t.most {
		for range t.shards {
			i := int(t.turn.Add(1)) % len(t.shards)
			if t.evictUnused(i, fromSmall, inserted) {
				return
			}
		}
		fromSmall = false // all that was there has gone to main
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
	n := s.unused(fromSmall, inserted, t.moment())
	if n == nil {
		s.mu.Unlock()
		return false
	}
	t.evictLocked(i, n)
	return true
}
