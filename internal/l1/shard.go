package l1

import "sync"

// shard is a part of the entries, with a lock for those who change it. What it evicts
// follows S3-FIFO (Yang and others, "FIFO queues are all you need for cache eviction", SOSP
// 2023). Hits only count, up to three, and mostly that is one look. New entries queue in
// small, a tenth of the whole. Of those that come to its head, the ones that were hit go to
// main, others are evicted: so what is asked for once does not push out what is used. At
// the head of main, an entry that was hit queues again, once for each hit. An entry that
// was evicted lately, and comes back, goes to main at once.
type shard[K comparable, V any] struct {
	mu          sync.Mutex
	small, main queue[K, V]
	keep        uint64 // moments for which a stale entry is kept
	evicted     ghost
	_           [64]byte
}

func (s *shard[K, V]) live() int    { return s.small.live + s.main.live }
func (s *shard[K, V]) cost() uint64 { return s.small.cost + s.main.cost }

func (s *shard[K, V]) queueOf(n *node[K, V]) *queue[K, V] {
	if n.at&1 == s.main.id {
		return &s.main
	}
	return &s.small
}

func (s *shard[K, V]) add(n *node[K, V], hash uint64) {
	if s.evicted.has(hash) {
		s.main.push(n)
	} else {
		s.small.push(n)
	}
}

// victim takes the entry out of the queues that is to go next. There is one.
func (s *shard[K, V]) victim(at uint64) *node[K, V] {
	for {
		q := &s.main
		if s.main.live == 0 || s.small.live > 1 && 10*s.small.cost >= s.cost() { // one alone is new
			q = &s.small
		}
		if n := s.pass(q, nil, at); n != nil {
			return n
		}
	}
}

// unused takes the first entry that nobody used out of one of the queues. It looks at each
// entry there once.
func (s *shard[K, V]) unused(q *queue[K, V], spare *node[K, V], at uint64) *node[K, V] {
	for range q.live {
		if n := s.pass(q, spare, at); n != nil {
			return n
		}
	}
	return nil
}

// pass takes the entry out that came to one of the queues first, and returns it if nobody
// used it. Otherwise it queues again: that of small goes to main, that of main loses a hit,
// and spare stays as it is.
func (s *shard[K, V]) pass(q *queue[K, V], spare *node[K, V], at uint64) *node[K, V] {
	n, least, left := q.pop(), uint64(1), uint64(0)
	if q == &s.small {
		least = promoted
	} else if n.used() > 0 {
		left = n.used() - 1
	}
	switch {
	case n == spare:
		q.push(n)
		return nil
	case n.used() < least || n.ended(at, s.keep):
		return n
	}
	n.use(left)
	s.main.push(n)
	return nil
}

// promoted is how many hits an entry in small must have to stay. The paper has 2; of the
// loads in TestHitRatio 1 is better for all.
const promoted = 1

// clear forgets all entries, but not which were evicted.
func (s *shard[K, V]) clear() {
	s.small, s.main = queue[K, V]{}, queue[K, V]{id: 1}
}
