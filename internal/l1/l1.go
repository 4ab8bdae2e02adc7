// Package l1 is the bounded in-process tier: a hash table that is read without locks,
// S3-FIFO eviction, and generations, which keep a value that was requested before an
// invalidation from being inserted after it.
//
// A hit writes to nothing that others read, but for the first few of an entry. The policy
// has no list whose links a collection would follow: an entry is one object, and there are
// two pointers to it, from the table and from a queue.
package l1

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/tags"
)

// Entry is a cached answer.
type Entry[V any] struct {
	Value V
	meta  uint64      // its times and flags, see life.go
	Marks *tags.Marks // nil if nothing but the value is known
}

// Config of a Tier. At most one of MaxEntries and MaxCost is set; with neither
// nothing is ever kept, but generations still count.
type Config[K comparable, V any] struct {
	MaxEntries int
	MaxCost    uint64
	Cost       func(k K, v V, negative bool) uint32

	// Keep is for how long a value with Life.Keep is kept past its TTL, and Revalidate for
	// how much of that a hit is answered with it.
	Keep, Revalidate time.Duration

	// Tags judges entries with tags. Without it there are none.
	Tags *tags.Mirror

	Hit     func(k K, e Entry[V]) // a hit, while Watch is on
	Evicted func(k K)             // the tier was full; called without locks
	// Sampled is a key that stands for n reads of the last moments, Reads the number of
	// reads so far that were told by See.
	Sampled func(k K, n uint64)
	Reads   func() uint64
}

// Tier is the in-process tier. All methods are safe for concurrent use.
//
// Each key has one of a fixed number of generations, which advances with every
// invalidation of one of its keys. A reader notes the generation before it asks anyone for
// the value and hands it to Insert, which refuses if it has moved. Two keys that share a
// generation cost each other at most an insert. Keys of one generation are in one shard,
// whose lock makes Insert's look and its store one step. Nobody holds two shards' locks.
//
// Entries expire by their own time, which takes 8 bytes; lists for it would take more. One
// that has expired keeps its room until it is asked for, or until another needs it.
type Tier[K comparable, V any] struct {
	// what a hit looks at
	tables    []atomic.Pointer[table[K, V]] // of the shards; never nil
	shift     int                           // of a hash, to choose one
	attention atomic.Int64                  // hits from this moment of the clock on need attention
	seed      maphash.Seed
	tags      *tags.Mirror
	hits      counter
	clock     clock

	keep, revalidate time.Duration
	costOf           func(k K, v V, negative bool) uint32 // nil: each costs 1
	evicted          func(k K)
	most             uint64 // 0: nothing is kept

	_         [64]byte
	entries   atomic.Int64
	cost      atomic.Uint64
	evictions atomic.Uint64
	turn      atomic.Uint32 // of the shards, see evictOfFew

	shards      []shard[K, V]
	generations [generationCount]atomic.Uint64 // written under the lock of the shard
	seen        seen[K, V]
}

const (
	generationBits  = 12
	generationCount = 1 << generationBits
)

// New makes a tier.
func New[K comparable, V any](c Config[K, V]) (*Tier[K, V], error) {
	t := &Tier[K, V]{seed: maphash.MakeSeed(), hits: newCounter(), tags: c.Tags, costOf: c.Cost, evicted: c.Evicted}
	t.keep, t.revalidate = c.Keep, min(c.Revalidate, c.Keep)
	t.seen.hit, t.seen.sampled, t.seen.reads = c.Hit, c.Sampled, c.Reads
	t.clock.began = time.Now()
	if t.most = c.MaxCost; t.most == 0 {
		t.most, t.costOf = uint64(max(0, c.MaxEntries)), nil
	}
	if t.most > 0 {
		t.clock.start()
	}
	n := shardBits(t.most, t.costOf != nil)
	t.shift = 64 - n
	t.tables = make([]atomic.Pointer[table[K, V]], 1<<n)
	t.shards = make([]shard[K, V], 1<<n)
	for i := range t.shards {
		t.shards[i].keep = moments(t.keep)
		t.emptyLocked(i)
	}
	return t, nil
}

// shardBits says how many shards there are: enough that two writers seldom meet, and that
// the table of one grows in a few milliseconds; few enough that each has its share of hot
// keys.
//
// With costs, nobody knows how many entries there will be; see few.
func shardBits(most uint64, costs bool) int {
	switch n := min(bits.Len64(most/512), 10); {
	case most == 0:
		return 6 // for their locks
	case costs:
		return min(n, 4)
	default:
		return n
	}
}

func (t *Tier[K, V]) hash(key K) uint64 { return maphash.Comparable(t.seed, key) }

// find returns what there is for key, or nil.
func (t *Tier[K, V]) find(key K) *node[K, V] {
	hash := t.hash(key)
	return t.tables[hash>>t.shift].Load().find(key, hash)
}

// Get returns the entry for key. It is fresh, or stale if a hit may be (Config.Revalidate).
func (t *Tier[K, V]) Get(key K) (e Entry[V], ok bool) {
	n := t.find(key)
	if n == nil {
		return e, false
	}
	meta := n.meta.Load()
	if !t.good(n) {
		t.remove(n)
		return e, false
	}
	e = n.entryAt(meta)
	now := t.clock.now()
	if at := moment(now); e.attention() <= at {
		if e, ok = t.aged(n, e, at); !ok {
			return e, false
		}
	}
	if meta&usedMask != usedMask {
		n.meta.CompareAndSwap(meta, meta+1)
	}
	t.hits.add(1)
	if now >= t.attention.Load() {
		t.attend(key, e, now)
	}
	return e, true
}

// good reports whether no tag of an entry was invalidated.
func (t *Tier[K, V]) good(n *node[K, V]) bool { return n.marks == nil || t.tags.Holds(n.marks) }

// lock locks the shard of a key.
func (t *Tier[K, V]) lock(key K) (i int, hash uint64) {
	hash = t.hash(key)
	i = int(hash >> t.shift)
	t.shards[i].mu.Lock()
	return i, hash
}

func (t *Tier[K, V]) generation(hash uint64) *atomic.Uint64 {
	return &t.generations[hash>>(64-generationBits)]
}

// Generation returns the key's present generation.
func (t *Tier[K, V]) Generation(key K) uint64 {
	return t.generation(t.hash(key)).Load()
}

// Insert stores an entry for its life, unless the key's generation is no longer gen.
// The check and the store are one step: an invalidation comes before both, and
// makes it refuse, or after both, and removes the entry.
func (t *Tier[K, V]) Insert(key K, gen uint64, v V, negative bool, life Life) bool {
	return t.insert(key, gen, v, negative, life, true)
}

// InsertAbsent is Insert for a value that is no newer than what others may have
// inserted since.
func (t *Tier[K, V]) InsertAbsent(key K, gen uint64, v V, negative bool, life Life) bool {
	return t.insert(key, gen, v, negative, life, false)
}

func (t *Tier[K, V]) insert(key K, gen uint64, v V, negative bool, life Life, replace bool) bool {
	if life.TTL <= 0 || t.most == 0 || key != key { // NaN would never be found again
		return false
	}
	n := newNode(key, v, life.Marks)
	n.meta.Store(t.metaOf(negative, life))
	if t.costOf != nil {
		n.cost = max(1, t.costOf(key, v, negative))
	}
	tooBig := uint64(n.cost) > t.most
	t.good(n) // now, and not at its first hit
	i, hash := t.lock(key)
	inserted := t.generation(hash).Load() == gen && t.insertLocked(i, n, hash, replace, tooBig)
	t.shards[i].mu.Unlock()
	if inserted && tooBig {
		t.tellEvicted(key)
	} else if inserted {
		t.makeRoom(i, n)
	}
	return inserted
}

func (t *Tier[K, V]) insertLocked(i int, n *node[K, V], hash uint64, replace, tooBig bool) bool {
	s, tab := &t.shards[i], t.tables[i].Load()
	old := tab.find(n.key, hash)
	if old != nil && !replace {
		if old.entry().fresh() > t.moment() && t.good(old) {
			return false
		}
	}
	if tooBig { // as if it had been evicted at once
		if old != nil {
			t.removeLocked(i, old, hash)
		}
		return true
	}
	if old != nil {
		n.use(min(old.used()+1, usedMask))
		s.queueOf(old).replace(old, n)
		tab.replace(old, n, hash)
		t.cost.Add(uint64(n.cost) - uint64(old.cost))
		return true
	}
	if tab.full() {
		tab = t.grow(i, tab)
	}
	s.add(n, hash)
	tab.add(n, hash)
	t.entries.Add(1)
	t.cost.Add(uint64(n.cost))
	return true
}

// grow puts a table of half as many more in the place of one. Who still reads that one
// began before what comes next.
func (t *Tier[K, V]) grow(i int, old *table[K, V]) *table[K, V] {
	tab := newTable[K, V](len(old.buckets) + len(old.buckets)/2 + 1)
	for n := range old.all {
		tab.add(n, t.hash(n.key))
	}
	t.tables[i].Store(tab)
	return tab
}

// makeRoom evicts until all fits, after an insert into shard i. It begins there: mostly that
// suffices, and each shard keeps its share. An entry that is alone there is new.
func (t *Tier[K, V]) makeRoom(i int, inserted *node[K, V]) {
	for least := 2; t.cost.Load() > t.most; least = 1 {
		if t.areFew() {
			t.evictOfFew(inserted)
			continue
		}
		t.evict(i, least)
		i = (i + 1) % len(t.shards)
	}
}

// evict evicts one entry of a shard, if it has at least so many.
func (t *Tier[K, V]) evict(i, least int) {
	s := &t.shards[i]
	s.mu.Lock()
	if s.live() < least {
		s.mu.Unlock()
		return
	}
	t.evictLocked(i, s.victim(t.moment()))
}

// evictLocked evicts an entry that was taken out of its shard's queues, and unlocks the shard.
func (t *Tier[K, V]) evictLocked(i int, n *node[K, V]) {
	s := &t.shards[i]
	hash := t.hash(n.key)
	t.tables[i].Load().remove(n, hash)
	s.evicted.add(hash, s.live())
	t.entries.Add(-1)
	t.cost.Add(-uint64(n.cost))
	s.mu.Unlock()
	t.tellEvicted(n.key)
}

func (t *Tier[K, V]) tellEvicted(key K) {
	t.evictions.Add(1)
	if t.evicted != nil {
		t.evicted(key)
	}
}

// Invalidate advances the key's generation, then drops its entry.
func (t *Tier[K, V]) Invalidate(key K) {
	i, hash := t.lock(key)
	defer t.shards[i].mu.Unlock()
	t.generation(hash).Add(1)
	t.dropLocked(i, key, hash)
}

// Advance refuses what others were about to insert for the key, and leaves what is there.
func (t *Tier[K, V]) Advance(key K) {
	i, hash := t.lock(key)
	defer t.shards[i].mu.Unlock()
	t.generation(hash).Add(1)
}

// Overtake invalidates the key on behalf of a reader that has a value as of gen,
// and knows of none newer: what others were about to insert may be older. It
// returns the generation with which the reader may insert its own, unless
// another invalidation has come since gen.
func (t *Tier[K, V]) Overtake(key K, gen uint64) uint64 {
	i, hash := t.lock(key)
	defer t.shards[i].mu.Unlock()
	t.dropLocked(i, key, hash)
	if now := t.generation(hash).Add(1); now == gen+1 {
		return now
	}
	return gen
}

// Drop drops what is there, and nothing that is yet to be inserted.
func (t *Tier[K, V]) Drop(key K) {
	i, hash := t.lock(key)
	defer t.shards[i].mu.Unlock()
	t.dropLocked(i, key, hash)
}

func (t *Tier[K, V]) dropLocked(i int, key K, hash uint64) {
	if n := t.tables[i].Load().find(key, hash); n != nil {
		t.removeLocked(i, n, hash)
	}
}

// remove drops an entry, and not another that has taken its place.
func (t *Tier[K, V]) remove(n *node[K, V]) {
	i, hash := t.lock(n.key)
	defer t.shards[i].mu.Unlock()
	if t.tables[i].Load().find(n.key, hash) == n {
		t.removeLocked(i, n, hash)
	}
}

func (t *Tier[K, V]) removeLocked(i int, n *node[K, V], hash uint64) {
	t.shards[i].queueOf(n).remove(n)
	t.tables[i].Load().remove(n, hash)
	t.entries.Add(-1)
	t.cost.Add(-uint64(n.cost))
}

// Peek returns the entry for key, fresh or stale, without counting that as a use of it.
func (t *Tier[K, V]) Peek(key K) (Entry[V], bool) {
	e, _, ok := t.Stale(key)
	return e, ok
}

// Inspect is Peek, and tells how long the entry still lives.
func (t *Tier[K, V]) Inspect(key K) (e Entry[V], left time.Duration, ok bool) {
	if e, ok = t.Peek(key); ok {
		left = time.Duration((t.end(e) - min(t.moment(), t.end(e))) << unit)
	}
	return e, left, ok
}

// Flush does for every key what Invalidate does for one. It takes the same time
// however many entries there are: an empty table takes the place of the present one of
// each shard.
func (t *Tier[K, V]) Flush() {
	each := generationCount / len(t.shards)
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for g := range each {
			t.generations[i*each+g].Add(1)
		}
		t.entries.Add(-int64(s.live()))
		t.cost.Add(-s.cost())
		t.emptyLocked(i)
		s.mu.Unlock()
	}
}

func (t *Tier[K, V]) emptyLocked(i int) {
	t.shards[i].clear()
	t.tables[i].Store(newTable[K, V](1))
}

// Stats is a snapshot of a tier's counters.
type Stats struct {
	Hits, Evictions uint64
	Entries         int
	Cost            uint64 // of all entries, with MaxCost; their number otherwise
}

// Stats returns a snapshot.
func (t *Tier[K, V]) Stats() Stats {
	return Stats{Hits: t.hits.load(), Evictions: t.evictions.Load(), Entries: t.Len(), Cost: t.cost.Load()}
}

// Close drops everything and stops the tier's goroutine.
func (t *Tier[K, V]) Close() {
	t.Flush()
	t.clock.close()
}
