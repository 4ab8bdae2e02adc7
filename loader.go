package aside

import "context"

// Loader reads one record from the primary.
//
// Load returns the current record of key, or ErrNotFound (alone or wrapped) if
// there is none. It must read the primary, not a replica that lags. The result must
// depend on key alone: concurrent calls for one key share one Load, so one caller may
// get what the loader of another returned. All callers share the value, and L1 keeps
// it: nobody may change it.
//
// ctx has the values of the call that started the load, but not its deadline and not
// its cancellation, because others may wait for the same load. Its deadline is
// Options.LoadTimeout. If Load panics, the callers get a *PanicError.
type Loader[K comparable, V any] interface {
	Load(ctx context.Context, key K) (V, error)
}

// LoaderFunc makes a Loader of a function.
type LoaderFunc[K comparable, V any] func(ctx context.Context, key K) (V, error)

// Load calls f.
func (f LoaderFunc[K, V]) Load(ctx context.Context, key K) (V, error) { return f(ctx, key) }

// BulkLoader reads several records from the primary at once. The rules of Loader
// apply.
//
// A key that is not in the returned map does not exist, if there is no error. To fail
// single keys, return a KeyErrors with the map. Any other error fails every key that
// is not in the map.
type BulkLoader[K comparable, V any] interface {
	LoadMany(ctx context.Context, keys []K) (map[K]V, error)
}

// BulkLoaderFunc makes a BulkLoader of a function.
type BulkLoaderFunc[K comparable, V any] func(ctx context.Context, keys []K) (map[K]V, error)

// LoadMany calls f.
func (f BulkLoaderFunc[K, V]) LoadMany(ctx context.Context, keys []K) (map[K]V, error) {
	return f(ctx, keys)
}
