package l1

import (
	"math/bits"
	"sync/atomic"

	"github.com/asidecache/aside/internal/tags"
)

// node is an entry as a table holds it. It takes 48 bytes if the key is a string and the
// value a pointer. Of those that are in a table, only meta changes, and what a shard's
// lock guards.
type node[K comparable, V any] struct {
	key   K
	value V
	marks *tags.Held    // nil if nothing but the value is known
	meta  atomic.Uint64 // see life.go
	cost  uint32
	at    uint32 // where the shard's queues have it; under the shard's lock
}

// markedNode is a node with what a hit looks at of its marks beside it. That is 64 bytes,
// with a node of 48: a hit then touches no more memory than of an entry without marks.
type markedNode[K comparable, V any] struct {
	node node[K, V]
	held tags.Held
}

func newNode[K comparable, V any](key K, v V, marks *tags.Marks) *node[K, V] {
	if marks == nil {
		return &node[K, V]{key: key, value: v, cost: 1}
	}
	m := &markedNode[K, V]{node: node[K, V]{key: key, value: v, cost: 1}}
	m.held.Marks, m.node.marks = marks, &m.held
	return &m.node
}

func (n *node[K, V]) entry() Entry[V] { return n.entryAt(n.meta.Load()) }

func (n *node[K, V]) entryAt(meta uint64) Entry[V] {
	e := Entry[V]{Value: n.value, meta: meta &^ usedMask}
	if n.marks != nil {
		e.Marks = n.marks.Marks
	}
	return e
}

// table is a hash table that is read without a lock, and written under the lock of its
// shard. Nodes do not move in it, so who looks for one that stays there finds it. It
// does not grow: a bigger one takes its place.
//
// The bits of a hash, from the lowest: 32 choose the bucket, 7 tell the nodes in a bucket
// apart, and the highest choose the shard and the generation.
type table[K comparable, V any] struct {
	buckets []bucket[K, V]
	live    int // under the lock
}

const perBucket = 7

// bucket is as long as a cache line. A byte of meta for each node says whether there is one, and
// has 7 bits of its hash. The highest byte counts the nodes that are further on because
// this bucket was full: where it is 0, a search ends.
type bucket[K comparable, V any] struct {
	meta  atomic.Uint64
	nodes [perBucket]atomic.Pointer[node[K, V]]
}

const (
	everyByte = 0x0101010101010101
	taken     = 0x80
	passedAt  = 8 * perBucket
	passed    = 1 << passedAt
	maxPassed = 255 // and more: it stays so
)

func newTable[K comparable, V any](buckets int) *table[K, V] {
	return &table[K, V]{buckets: make([]bucket[K, V], buckets)}
}

// full: the next node wants a bigger table. Fuller than 0.7, searches become long where
// nodes come and go.
func (t *table[K, V]) full() bool { return 10*t.live >= 7*perBucket*len(t.buckets) }

func (t *table[K, V]) home(hash uint64) int { return t.scale(uint32(hash)) }

func (t *table[K, V]) scale(hash uint32) int {
	return int(uint64(hash) * uint64(len(t.buckets)) >> 32)
}

// next is where a search goes on after i, the n-th bucket of it: to any other, so that full
// buckets do not make their neighbours full, and from there on one by one.
func (t *table[K, V]) next(i, n int, hash uint64) int {
	if n == 1 {
		return t.scale(uint32(hash) * 0x9e3779b1)
	}
	if i++; i == len(t.buckets) {
		return 0
	}
	return i
}

func tagOf(hash uint64) uint64 { return hash>>32&0x7f | taken }

// find returns the node of a key, or nil.
func (t *table[K, V]) find(key K, hash uint64) *node[K, V] {
	want := tagOf(hash) * everyByte
	i := t.home(hash)
	for n := 1; ; n++ {
		b := &t.buckets[i]
		meta := b.meta.Load()
		// The highest bit of each byte that is 0, and perhaps of the one above it.
		differs := meta ^ want
		for same := (differs - everyByte) &^ differs & (taken * everyByte) & (passed - 1); same != 0; same &= same - 1 {
			if n := b.nodes[bits.TrailingZeros64(same)>>3].Load(); n != nil && n.key == key {
				return n
			}
		}
		if meta < passed || n > len(t.buckets) {
			return nil
		}
		i = t.next(i, n, hash)
	}
}

// add puts in a node whose key is not there. The table is not full.
func (t *table[K, V]) add(n *node[K, V], hash uint64) {
	i := t.home(hash)
	for steps := 1; ; steps++ {
		b := &t.buckets[i]
		meta := b.meta.Load()
		free := ^meta & (taken * everyByte) & (passed - 1)
		if free == 0 {
			if meta>>passedAt < maxPassed {
				b.meta.Store(meta + passed)
			}
			i = t.next(i, steps, hash)
			continue
		}
		slot := bits.TrailingZeros64(free) >> 3
		b.nodes[slot].Store(n)
		b.meta.Store(meta&^(0xff<<(8*slot)) | tagOf(hash)<<(8*slot))
		t.live++
		return
	}
}

// replace puts a node in the place of another of the same key.
func (t *table[K, V]) replace(old, n *node[K, V], hash uint64) {
	b, slot := t.place(old, hash)
	b.nodes[slot].Store(n)
}

// remove takes out a node that is there.
func (t *table[K, V]) remove(n *node[K, V], hash uint64) {
	at, slot := t.place(n, hash)
	at.nodes[slot].Store(nil)
	at.meta.Store(at.meta.Load() &^ (0xff << (8 * slot)))
	i := t.home(hash)
	for steps := 1; &t.buckets[i] != at; steps++ {
		b := &t.buckets[i]
		if meta := b.meta.Load(); meta >= passed && meta>>passedAt < maxPassed { // 0: a key has changed since
			b.meta.Store(meta - passed)
		}
		i = t.next(i, steps, hash)
	}
	t.live--
}

func (t *table[K, V]) place(n *node[K, V], hash uint64) (b *bucket[K, V], slot int) {
	i := t.home(hash)
	for steps := 1; ; steps++ {
		b = &t.buckets[i]
		for slot = range b.nodes {
			if b.nodes[slot].Load() == n {
				return b, slot
			}
		}
		i = t.next(i, steps, hash)
	}
}

// all goes through the nodes, in no order.
func (t *table[K, V]) all(yield func(*node[K, V]) bool) {
	for i := range t.buckets {
		for j := range t.buckets[i].nodes {
			if n := t.buckets[i].nodes[j].Load(); n != nil && !yield(n) {
				return
			}
		}
	}
}
