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
	Evicted func(k K)             // the tier was full; called under locks of the engine
	// Sampled is a key that stands for n reads of the last moments, Reads the number of
	// reads so far that were told by See.
	Sampled func(k K, n uint64)
	Reads   func() uint64
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
	// what a hit looks at, on one cache line
	cache     atomic.Pointer[otter.Cache[K, Entry[V]]] // nil: nothing is kept
	clock     *otter.CoarseClock
	attention atomic.Int64 // hits from this moment of the clock on need attention
	origin    int64        // of the moments of entries, by the clock

	keep, revalidate time.Duration
	tags             *tags.Mirror

	options otter.Options[K, Entry[V]] // of the next cache, see Flush
	stats   recorder
	began   time.Time
	seed    maphash.Seed
	seen    seen[K, V]
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
	t := &Tier[K, V]{seed: maphash.MakeSeed(), stats: newRecorder(), began: time.Now()}
	t.tags = c.Tags
	t.seen.hit, t.seen.sampled, t.seen.reads = c.Hit, c.Sampled, c.Reads
	if c.MaxEntries <= 0 && c.MaxCost == 0 {
		return t, nil
	}
	t.clock = otter.NewCoarseClock(resolution)
	t.origin = t.clock.NowNano()
	t.keep, t.revalidate = c.Keep, min(c.Revalidate, c.Keep)
	o := &t.options
	o.StatsRecorder = &t.stats
	if c.Evicted != nil {
		o.OnAtomicDeletion = func(e otter.DeletionEvent[K, Entry[V]]) {
			if e.Cause == otter.CauseOverflow {
				c.Evicted(e.Key)
			}
		}
	}
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

// Get returns the entry for key. It is fresh, or stale if a hit may be (Config.Revalidate).
func (t *Tier[K, V]) Get(key K) (Entry[V], bool) {
	cache := t.cache.Load()
	if cache == nil {
		return Entry[V]{}, false
	}
	e, ok := cache.GetIfPresent(key)
	if !ok {
		return e, false
	}
	if e.Marks != nil && !t.tags.Good(e.Marks) {
		t.stats.uncounted.add(1)
		t.Drop(key)
		return Entry[V]{}, false
	}
	now := t.clock.NowNano()
	if e.attention() <= t.moment(now) {
		if e, ok = t.aged(key, e, now); !ok {
			return e, false
		}
	}
	if now >= t.attention.Load() {
		t.attend(key, e, now)
	}
	return e, true
}

// good reports whether no tag of the entry was invalidated.
func (t *Tier[K, V]) good(e Entry[V]) bool { return e.Marks == nil || t.tags.Good(e.Marks) }

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

// Insert stores an entry for its life, unless the key's generation is no longer gen.
// The check and the store are one step: an invalidation comes before both, and
// makes it refuse, or after both, and removes the entry.
func (t *Tier[K, V]) Insert(key K, gen uint64, v V, negative bool, life Life) bool {
	return t.insert(key, gen, v, negative, life, true)
}

func (t *Tier[K, V]) insert(key K, gen uint64, v V, negative bool, life Life, replace bool) bool {
	if life.TTL <= 0 {
		return false
	}
	s := t.stripe(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	cache := t.cache.Load() // not before the lock: see Flush
	if cache == nil || s.gen != gen {
		return false
	}
	e := Entry[V]{Value: v, meta: t.metaOf(negative, life), Marks: life.Marks}
	if !replace {
		if old, ok := cache.GetEntryQuietly(key); ok && (t.fresh(old.Value) <= t.moment(t.clock.NowNano()) || !t.good(old.Value)) {
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
	t.Advance(key)
	t.Drop(key)
}

// Advance refuses what others were about to insert for the key, and leaves what is there.
func (t *Tier[K, V]) Advance(key K) {
	s := t.stripe(key)
	s.mu.Lock()
	s.gen++
	s.mu.Unlock()
}

// InsertAbsent is Insert for a value that is no newer than what others may have
// inserted since.
func (t *Tier[K, V]) InsertAbsent(key K, gen uint64, v V, negative bool, life Life) bool {
	return t.insert(key, gen, v, negative, life, false)
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

// Peek returns the entry for key, fresh or stale, without counting that as a use of it.
func (t *Tier[K, V]) Peek(key K) (Entry[V], bool) {
	e, _, ok := t.Stale(key)
	return e, ok
}

// Inspect is Peek, and tells how long the entry still lives.
func (t *Tier[K, V]) Inspect(key K) (e Entry[V], left time.Duration, ok bool) {
	if e, ok = t.Peek(key); ok {
		at := t.moment(t.clock.NowNano())
		left = time.Duration((e.end() - min(at, e.end())) << unit)
	}
	return e, left, ok
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
	uncounted := t.stats.uncounted.load() // before the hits that these were counted as
	st := Stats{Hits: t.stats.hits.load() - uncounted, Evictions: t.stats.evictions.load()}
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
