// Package l1 is the bounded in-process tier: W-TinyLFU eviction by otter, and
// generations, which keep a value that was requested before an invalidation
// from being inserted after it.
package l1

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Entry is a cached answer.
type Entry[V any] struct {
	Value V
	meta  uint64 // when it expires, in the clock's ns, doubled; plus 1 if Negative
}

// Negative: the primary has no such record; Value is the zero value.
func (e Entry[V]) Negative() bool { return e.meta&1 != 0 }

// Config of a Tier. At most one of MaxEntries and MaxCost is set; with neither
// nothing is ever kept, but generations still count.
type Config[K comparable, V any] struct {
	MaxEntries int
	MaxCost    uint64
	Cost       func(k K, v V, negative bool) uint32
}

// Tier is the in-process tier. All methods are safe for concurrent use.
//
// Each key belongs to one of a fixed number of stripes, and a stripe's
// generation advances with every invalidation of one of its keys. A reader
// notes the generation before it asks anyone for the value and hands it to
// Insert, which refuses if it has moved. Two keys that share a stripe cost each
// other at most an insert. Lock order: a stripe's lock before otter's own.
//
// Entries expire by their own time, which takes 8 bytes; otter's lists for it would
// take 24 more. One that has expired keeps its room until it is asked for, or until
// another needs it: nobody asks for it, so it is among the first to go.
type Tier[K comparable, V any] struct {
	cache   atomic.Pointer[otter.Cache[K, Entry[V]]] // nil: nothing is kept
	options otter.Options[K, Entry[V]]               // of the next cache, see Flush
	clock   *otter.CoarseClock
	stats   recorder
	seed    maphash.Seed
	stripes [stripeCount]stripe
}

const stripeCount = 4096

// resolution of the clock by which entries expire. Reading the precise time
// would be a fifth of a hit.
const resolution = 10 * time.Millisecond

type stripe struct {
	mu  sync.Mutex
	gen uint64
	_   [48]byte // one cache line each
}

// New makes a tier.
func New[K comparable, V any](c Config[K, V]) (*Tier[K, V], error) {
	t := &Tier[K, V]{seed: maphash.MakeSeed(), stats: newRecorder()}
	if c.MaxEntries <= 0 && c.MaxCost == 0 {
		return t, nil
	}
	t.clock = otter.NewCoarseClock(resolution)
	o := &t.options
	o.StatsRecorder = &t.stats
	if c.MaxCost > 0 {
		o.MaximumWeight = c.MaxCost
		o.Weigher = func(k K, e Entry[V]) uint32 {
			return c.Cost(k, e.Value, e.Negative())
		}
	} else {
		o.MaximumSize = c.MaxEntries
	}
	cache, err := otter.New(o)
	if err != nil {
		t.clock.Stop()
		return nil, err
	}
	t.cache.Store(cache)
	return t, nil
}

// Get returns the entry for key.
func (t *Tier[K, V]) Get(key K) (Entry[V], bool) {
	cache := t.cache.Load()
	if cache == nil {
		return Entry[V]{}, false
	}
	e, ok := cache.GetIfPresent(key)
	if ok && t.expired(e) {
		t.stats.expired.add(1)
		t.Drop(key)
		return Entry[V]{}, false
	}
	return e, ok
}

func (t *Tier[K, V]) expired(e Entry[V]) bool { return int64(e.meta>>1) <= t.clock.NowNano() }

func (t *Tier[K, V]) stripe(key K) *stripe {
	return &t.stripes[maphash.Comparable(t.seed, key)%stripeCount]
}

// Generation returns the key's present generation.
func (t *Tier[K, V]) Generation(key K) uint64 {
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen
}

// Insert stores an entry for ttl, unless the key's generation is no longer gen.
// The check and the store are one step: an invalidation comes before both, and
// makes it refuse, or after both, and removes the entry.
func (t *Tier[K, V]) Insert(key K, gen uint64, v V, negative bool, ttl time.Duration) bool {
	return t.insert(key, gen, v, negative, ttl, true)
}

func (t *Tier[K, V]) insert(key K, gen uint64, v V, negative bool, ttl time.Duration, replace bool) bool {
	if ttl <= 0 {
		return false
	}
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	cache := t.cache.Load() // not before the lock: see Flush
	if cache == nil || s.gen != gen {
		return false
	}
	now := t.clock.NowNano()
	e := Entry[V]{Value: v, meta: uint64(now+min(int64(ttl), math.MaxInt64-now)) << 1}
	if negative {
		e.meta++
	}
	if !replace {
		if old, ok := cache.GetEntryQuietly(key); ok && t.expired(old.Value) {
			t.Drop(key)
		}
		_, inserted := cache.SetIfAbsent(key, e)
		return inserted
	}
	cache.Set(key, e)
	return true
}

// Invalidate advances the key's generation, then drops its entry.
func (t *Tier[K, V]) Invalidate(key K) {
	s := t.stripe(key)
	s.mu.Lock()
	s.gen++
	s.mu.Unlock()
	t.Drop(key)
}

// InsertAbsent is Insert for a value that is no newer than what others may have
// inserted since.
func (t *Tier[K, V]) InsertAbsent(key K, gen uint64, v V, negative bool, ttl time.Duration) bool {
	return t.insert(key, gen, v, negative, ttl, false)
}

// Overtake invalidates the key on behalf of a reader that has a value as of gen,
// and knows of none newer: what others were about to insert may be older. It
// returns the generation with which the reader may insert its own, unless
// another invalidation has come since gen.
func (t *Tier[K, V]) Overtake(key K, gen uint64) uint64 {
	s := t.stripe(key)
	s.mu.Lock()
	s.gen++
	if s.gen == gen+1 {
		gen = s.gen
	}
	s.mu.Unlock()
	t.Drop(key)
	return gen
}

// Drop drops what is there, and nothing that is yet to be inserted.
func (t *Tier[K, V]) Drop(key K) {
	if cache := t.cache.Load(); cache != nil {
		cache.Invalidate(key)
	}
}

// Peek returns the entry for key without counting that as a use of it.
func (t *Tier[K, V]) Peek(key K) (Entry[V], bool) {
	cache := t.cache.Load()
	if cache == nil {
		return Entry[V]{}, false
	}
	e, ok := cache.GetEntryQuietly(key)
	if !ok || t.expired(e.Value) {
		return Entry[V]{}, false
	}
	return e.Value, true
}

// Flush does for every key what Invalidate does for one. It takes the same time
// however many entries there are: an empty cache takes the place of the present
// one. An insert that was let in before the generations moved went into the old
// cache; one of the new generation that still finds the old cache is lost, which
// is as if it had been evicted.
func (t *Tier[K, V]) Flush() {
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		s.gen++
		s.mu.Unlock()
	}
	if t.cache.Load() == nil {
		return
	}
	if cache, err := otter.New(&t.options); err == nil {
		t.cache.Store(cache)
	} else { // not for options that were good before
		t.cache.Load().InvalidateAll()
	}
}

// Stats is a snapshot of a tier's counters.
type Stats struct {
	Hits, Evictions uint64
	Entries         int
	Cost            uint64 // of all entries, with MaxCost; their number otherwise
}

// Stats returns a snapshot.
func (t *Tier[K, V]) Stats() Stats {
	expired := t.stats.expired.load() // before the hits that these were counted as
	st := Stats{Hits: t.stats.hits.load() - expired, Evictions: t.stats.evictions.load()}
	if cache := t.cache.Load(); cache != nil {
		st.Entries = cache.EstimatedSize()
		if st.Cost = uint64(st.Entries); cache.IsWeighted() {
			if w := cache.WeightedSize(); w != math.MaxUint64 {
				st.Cost = w
			}
		}
	}
	return st
}

// Close drops everything and stops the tier's goroutine.
func (t *Tier[K, V]) Close() {
	t.Flush()
	if cache := t.cache.Load(); cache != nil {
		cache.StopAllGoroutines()
		t.clock.Stop()
	}
}
