package aside

import (
	"context"
	"time"
)

// Loaded is the result of a load: the value, and what else the loader knows of it. A field
// that is zero changes nothing: the cache then acts as for a plain Loader. A write can
// publish a Loaded too, see WriteTx.PublishEntry and Cache.SetEntry.
type Loaded[V any] struct {
	Value V

	// Absent: there is no such record. Value is ignored. A loader can return the error
	// ErrNotFound instead.
	Absent bool

	// NotModified: the record is the same as in Previous. Value is ignored. The entry's
	// life begins again, with the TTL of this Loaded. If Version, ETag or Tags are not set,
	// those of Previous stay. If Previous.OK is false, the load fails.
	NotModified bool

	// TTL is how long the entry lives, instead of Options.TTL, or of Options.NegativeTTL
	// if the record is absent. Options.Jitter applies, and Options.L1TTL still limits how
	// long it lives in L1. 0: Options.TTL or NegativeTTL. Negative: the record has expired
	// already, which is the same as NoStore. More than ten years count as ten years.
	TTL time.Duration

	// Version of the record. It is used if Options.Version is not set, or returns 0 for
	// Value. It must be of the same scale as the other versions of the record, see
	// Options.Version. 0: not known.
	Version uint64

	// ETag identifies this state of the record at its source, such as the ETag of an
	// HTTP response. The next load of the record gets it in Previous. An ETag of more than
	// 256 bytes is not kept.
	ETag string

	// Tags: Cache.InvalidateTag of one of them drops the entry. At most 16, each of 1 to
	// 128 bytes. If one is invalid, the read gets the record, but it is not stored.
	Tags []string

	// NoStore: the read gets the record, and no tier stores it.
	NoStore bool
}

// Previous is what the cache still has of a record when it loads it. It may be old. The
// loader must check. Nobody may change its Value. If only L1 has the record, Stored is not
// known.
type Previous[V any] struct {
	Value   V
	Version uint64    // 0: not known
	ETag    string    // as a load returned it in Loaded; "" if none did
	Stored  time.Time // by the clock of the node that stored it; zero: not known
	// OK is false if the cache has nothing of the record. That is what most loads get.
	OK bool
}

// EntryLoader is a Loader that returns more than the value of a record, and gets what the
// cache has of it. You can use an EntryLoader wherever a Loader is asked for: the cache
// then calls LoadEntry, and never Load.
//
// The rules of Loader apply. If LoadEntry returns ErrNotFound, or an error that wraps it,
// the cache uses TTL, Tags and NoStore of the Loaded. With any other error it ignores the
// Loaded.
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

// Load calls f without a Previous. It is for code that only knows Loader.
func (f EntryLoaderFunc[K, V]) Load(ctx context.Context, key K) (V, error) {
	l, err := f(ctx, key, Previous[V]{})
	if err == nil && l.Absent {
		err = ErrNotFound
	}
	return l.Value, err
}

// BulkEntryLoader is an EntryLoader for several keys. old contains the keys of which the
// cache has something. These are few, and old may be nil. A key that is not in the
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

// LoadMany calls f without a Previous. It is for code that only knows BulkLoader.
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
