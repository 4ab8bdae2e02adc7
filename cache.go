package aside

import "context"

// Cache is a typed two-tier cache-aside cache. Make one with New. All methods
// are safe for concurrent use.
type Cache[K comparable, V any] struct{}

// New makes a cache, or reports every fault of opts at once.
func New[K comparable, V any](opts Options[K, V]) (*Cache[K, V], error) {
	return &Cache[K, V]{}, nil
}

// Options of a cache; the zero value is an L1-only cache.
type Options[K comparable, V any] struct {
	Name string
	L2   L2
}

// Level is how current a read must be.
type Level uint8

const (
	// Default may be answered by L1.
	Default Level = iota
	// Strong returns every write acknowledged, on any node, before the read began.
	Strong
)

// Source says which tier answered.
type Source uint8

const (
	SourceNone Source = iota
	SourceL1
	SourceL2
	SourceLoad
)

// Info says how a read was answered.
type Info struct {
	Source    Source
	Coalesced bool
	Negative  bool
	Stale     bool
}

// Result is a value and how it was found. Err is set per key by ReadMany.
type Result[V any] struct {
	Value V
	Err   error
	Info
}

// Get reads key, loading it on a miss.
func (c *Cache[K, V]) Get(ctx context.Context, key K, loader Loader[K, V]) (V, error) {
	return loader.Load(ctx, key)
}

// Read is Get with a level, and tells how the answer was found. Negative
// answers have Err == ErrNotFound (also returned).
func (c *Cache[K, V]) Read(ctx context.Context, key K, loader Loader[K, V], level Level) (Result[V], error) {
	v, err := loader.Load(ctx, key)
	return Result[V]{Value: v, Err: err, Info: Info{Source: SourceLoad}}, err
}

// GetMany returns the values found, by key; absent keys are missing. Failed
// keys are reported in a KeyErrors beside the others' values.
func (c *Cache[K, V]) GetMany(ctx context.Context, keys []K, loader BulkLoader[K, V]) (map[K]V, error) {
	return loader.LoadMany(ctx, keys)
}

// ReadMany is GetMany with a level; one Result per distinct key.
func (c *Cache[K, V]) ReadMany(ctx context.Context, keys []K, loader BulkLoader[K, V], level Level) (map[K]Result[V], error) {
	m, err := loader.LoadMany(ctx, keys)
	out := make(map[K]Result[V])
	for k, v := range m {
		out[k] = Result[V]{Value: v}
	}
	return out, err
}

// Writing is handed to a write function, which may publish what it wrote.
type Writing[K comparable, V any] struct{}

// Publish offers the value now stored in the primary for key.
func (w *Writing[K, V]) Publish(key K, v V) {}

// PublishAbsent says that the primary now has no record for key.
func (w *Writing[K, V]) PublishAbsent(key K) {}

// Write fences keys, runs write, then releases or publishes them.
func (c *Cache[K, V]) Write(ctx context.Context, write func(ctx context.Context, w *Writing[K, V]) error, keys ...K) error {
	return write(ctx, &Writing[K, V]{})
}

// Invalidate drops keys that were changed elsewhere.
func (c *Cache[K, V]) Invalidate(ctx context.Context, keys ...K) error { return nil }

// Stats is a snapshot of the cache's counters and state.
type Stats struct {
	HitsL1, HitsL2, Misses, Negatives, Loads, LoadFailures, Coalesced uint64
	RefusedFills, Fences, L2Errors, L1Evictions, Overloads            uint64
	L1Entries                                                         int
	Degraded                                                          bool
	DegradedReason                                                    string
}

// Stats returns a snapshot.
func (c *Cache[K, V]) Stats() Stats { return Stats{} }

// Clear drops every entry of this cache from both tiers.
func (c *Cache[K, V]) Clear(ctx context.Context) error { return nil }

// Close finishes running loads, releases leases and stops the cache.
func (c *Cache[K, V]) Close(ctx context.Context) error { return nil }
