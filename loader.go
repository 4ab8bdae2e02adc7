package aside

import "context"

// Loader reads one record from the primary.
//
// Load must return the current record for key, read from the primary and not
// from a replica that lags, or ErrNotFound (alone or wrapped) if there is none.
// What it returns must depend on key alone: calls for one key at one time share
// one Load, so two loaders that differ for a key would answer for each other.
// The value is shared by all callers and kept in L1; nobody may change it.
//
// ctx carries the values of the call that started the load but neither its
// deadline nor its cancellation, since others wait for the same load; its
// deadline is Options.LoadTimeout.
// A panic reaches the
// callers as a *PanicError.
type Loader[K comparable, V any] interface {
	Load(ctx context.Context, key K) (V, error)
}

// LoaderFunc makes a Loader of a function.
type LoaderFunc[K comparable, V any] func(ctx context.Context, key K) (V, error)

// Load calls f.
func (f LoaderFunc[K, V]) Load(ctx context.Context, key K) (V, error) { return f(ctx, key) }

// BulkLoader reads several records from the primary in one go, under the rules
// of Loader.
//
// A key that is missing in the returned map, without an error, does not exist.
// To fail single keys return a KeyErrors beside the map; any other error fails
// every key that is not in the map.
type BulkLoader[K comparable, V any] interface {
	LoadMany(ctx context.Context, keys []K) (map[K]V, error)
}

// BulkLoaderFunc makes a BulkLoader of a function.
type BulkLoaderFunc[K comparable, V any] func(ctx context.Context, keys []K) (map[K]V, error)

// LoadMany calls f.
func (f BulkLoaderFunc[K, V]) LoadMany(ctx context.Context, keys []K) (map[K]V, error) {
	return f(ctx, keys)
}
