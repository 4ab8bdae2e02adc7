package l1

// queue has nodes in the order in which they came, in a ring. One that is taken out
// leaves a gap, which goes when it is the first, or when the ring is full.
type queue[K comparable, V any] struct {
	ring       []*node[K, V]
	head, span int // the first place, and the number of them, gaps included
	live       int
	cost       uint64
	id         uint32 // the lowest bit of node.at
}

func (q *queue[K, V]) push(n *node[K, V]) {
	if q.span == len(q.ring) {
		q.resize()
	}
	q.put(n)
	q.live++
	q.cost += uint64(n.cost)
}

func (q *queue[K, V]) put(n *node[K, V]) {
	i := q.head + q.span
	if i >= len(q.ring) {
		i -= len(q.ring)
	}
	q.ring[i], n.at = n, uint32(i)<<1|q.id
	q.span++
}

// resize makes room for half as many nodes as there are.
func (q *queue[K, V]) resize() {
	old := *q
	q.ring, q.head, q.span = make([]*node[K, V], q.live+q.live/2+4), 0, 0
	for i := range old.span {
		if n := old.ring[(old.head+i)%len(old.ring)]; n != nil {
			q.put(n)
		}
	}
}

// pop takes out the node that came first. There is one.
func (q *queue[K, V]) pop() *node[K, V] {
	for q.ring[q.head] == nil {
		q.skip()
	}
	n := q.ring[q.head]
	q.remove(n)
	return n
}

func (q *queue[K, V]) skip() {
	if q.head++; q.head == len(q.ring) {
		q.head = 0
	}
	q.span--
}

func (q *queue[K, V]) remove(n *node[K, V]) {
	i := int(n.at >> 1)
	q.ring[i] = nil
	q.live--
	q.cost -= uint64(n.cost)
	if i == q.head {
		q.skip()
	}
}

// replace gives a node the place of another.
func (q *queue[K, V]) replace(old, n *node[K, V]) {
	n.at = old.at
	q.ring[n.at>>1] = n
	q.cost += uint64(n.cost) - uint64(old.cost)
}
