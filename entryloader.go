package aside

import (
	"context"
	"time"
)

// Loaded is the result of a load with what the loader knows of it. The zero value of
// each field but Value leaves things as they are for a Loader. A write can publish one
// too, see WriteTx.PublishEntry and Cache.SetEntry.
type Loaded[V any] struct {
	Value V

	// Absent: there is no such record. Value is not looked at. To return ErrNotFound
	// beside the Loaded is the same.
	Absent bool

	// NotModified: the record is still that of Previous. Value is not looked at. The
	// entry's life begins anew, with the TTL of this Loaded. A Version, an ETag or Tags
	// that are not set stay those of Previous. If Previous.OK is false, the load fails.
	NotModified bool

	// TTL is how long the entry lives, instead of Options.TTL, or of Options.NegativeTTL
	// if the record is absent. Options.Jitter applies, and Options.L1TTL still limits how
	// long it lives in L1. 0: the cache's own. Negative: the record has expired already,
	// which is the same as NoStore. More than ten years count as ten years.
	TTL time.Duration

	// Version of the record. It counts where Options.Version is not set, or tells 0 of
	// Value. It must be of the same scale as the other versions of the record, see
	// Options.Version. 0: not known.
	Version uint64

	// ETag is what the source of the record tells it apart by, such as the ETag of an
	// HTTP response. The next load of the record gets it in Previous. A longer one than
	// 256 bytes is not kept.
	ETag string

	// Tags are what the entry can be invalidated by, besides its key: at most 16, each of
	// 1 to 128 bytes. With others than these, the record is answered, but not stored.
	Tags []string

	// NoStore: the record is answered, and stored in no tier.
	NoStore bool
}

// Previous is what the cache still has of a record when it loads it. It may be old: the
// load is to find that out. Nobody may change its Value. Of a record that the cache has in
// L1 alone, Stored is not known.
type Previous[V any] struct {
	Value   V
	Version uint64    // 0: not known
	ETag    string    // as a load returned it in Loaded; "" if none did
	Stored  time.Time // by the clock of the node that stored it; zero: not known
	// OK is false if the cache has nothing of the record. That is what most loads get.
	OK bool
}

// EntryLoader is a Loader that tells more of a record than its value, and is told what
// the cache has of it. Whatever takes a Loader takes an EntryLoader too: the cache then
// calls LoadEntry, and never Load.
//
// The rules of Loader apply. If LoadEntry returns an error that is ErrNotFound, or wraps
// it, then TTL, Tags and NoStore of the Loaded count too; with any other error, nothing of
// it does.
type EntryLoader[K comparable, V any] interface {
	Loader[K, V]
	LoadEntry(ctx context.Context, key K, old Previous[V]) (Loaded[V], error)
}

// EntryLoaderFunc makes an EntryLoader of a function.
type EntryLoaderFunc[K comparable, V any] func(ctx context.Context, key K, old Previous[V]) (Loaded[V], error)

// LoadEntry calls f.
func (f EntryLoaderFunc[K, V]) LoadEntry(ctx context.Context, key K, old Previous[V]) (Loaded[V], error) {
	return f(ctx, key, old)
}

// Load calls f without anything previous, for those who know Loader alone.
func (f EntryLoaderFunc[K, V]) Load(ctx context.Context, key K) (V, error) {
	l, err := f(ctx, key, Previous[V]{})
	if err == nil && l.Absent {
		err = ErrNotFound
	}
	return l.Value, err
}

// BulkEntryLoader is to BulkLoader what EntryLoader is to Loader. old has the keys that
// the cache has something of, which are few: it may be nil. A key that is not in the
// returned map does not exist, as with a BulkLoader.
type BulkEntryLoader[K comparable, V any] interface {
	BulkLoader[K, V]
	LoadEntries(ctx context.Context, keys []K, old map[K]Previous[V]) (map[K]Loaded[V], error)
}

// BulkEntryLoaderFunc makes a BulkEntryLoader of a function.
type BulkEntryLoaderFunc[K comparable, V any] func(ctx context.Context, keys []K, old map[K]Previous[V]) (map[K]Loaded[V], error)

// LoadEntries calls f.
func (f BulkEntryLoaderFunc[K, V]) LoadEntries(ctx context.Context, keys []K, old map[K]Previous[V]) (map[K]Loaded[V], error) {
	return f(ctx, keys, old)
}

// LoadMany calls f without anything previous, for those who know BulkLoader alone.
func (f BulkEntryLoaderFunc[K, V]) LoadMany(ctx context.Context, keys []K) (map[K]V, error) {
	all, err := f(ctx, keys, nil)
	values := make(map[K]V, len(all))
	for k, l := range all {
		if !l.Absent {
			values[k] = l.Value
		}
	}
	return values, err
}
