package aside

import (
	"context"
	"errors"
	"fmt"
)

// Update is a Write that publishes and returns the record that it made. update creates
// or changes the record of key in the primary, and returns the whole record as the
// primary has it now, such as by RETURNING. If it returns an error that matches
// ErrNotFound, nothing was changed and the key is released at once: Update returns the
// error, marked with Aborted. Other errors are as in Write.
//
// Update returns what update returned. With ErrUnacknowledged it is the record that was
// written.
func (c *Cache[K, V]) Update(ctx context.Context, key K, update func(ctx context.Context) (V, error)) (v V, err error) {
	err = c.Write(ctx, key, func(ctx context.Context, w *WriteTx[K, V]) (err error) {
		if v, err = update(ctx); err == nil {
			w.Publish(key, v)
		}
		return missing(err)
	})
	return v, err
}

// Delete is a Write that publishes that the record is gone. remove deletes the record
// of key from the primary. If it returns an error that matches ErrNotFound, there was no
// such record: the key is released at once, and Delete returns the error, marked with
// Aborted.
func (c *Cache[K, V]) Delete(ctx context.Context, key K, remove func(ctx context.Context) error) error {
	return c.Write(ctx, key, func(ctx context.Context, w *WriteTx[K, V]) error {
		err := remove(ctx)
		if err == nil {
			w.PublishAbsent(key)
		}
		return missing(err)
	})
}

// missing marks ErrNotFound as definite. It publishes nothing: the function may have
// meant another record than that of the key.
func missing(err error) error {
	if err = sound(err); errors.Is(err, ErrNotFound) {
		return Aborted(err)
	}
	return err
}

// Create makes a record whose key is known only after it was made, such as a serial ID.
// create inserts the record and returns its key, and the whole record as the primary has
// it. Create returns them too. Use Update for a key that is known before.
//
// Call w.Fence with the key before the primary commits, which takes a transaction:
//
//	insert the row, w.Fence(id), commit
//
// Then all is as in Write: the record is published, and a crash at any point leaves
// nothing old behind.
//
// Without w.Fence, such as for an insert that commits by itself, the key is invalidated
// after create has returned, and nothing is published. If somebody asked for the key before
// there was a record, the cache may have a negative entry. It is gone when Create returns
// nil. But if the process dies in between, or if the outcome of create is unknown, it can
// stay for NegativeTTL, or until Options.Feed tells of the insert.
//
// With FailClosed create does not run while L2 is known to be unavailable. If L2 fails
// after it, the error matches ErrUnacknowledged, and the key and the record are those
// that were made.
func (c *Cache[K, V]) Create(ctx context.Context, create func(ctx context.Context, w *WriteTx[K, V]) (K, V, error)) (key K, v V, err error) {
	w := c.Part()
	var unknown error
	err = runWrite(ctx, func(ctx context.Context) (err error) {
		if key, v, err = create(ctx, w); err != nil {
			return err
		}
		if w.has(key) {
			w.Publish(key, v)
		} else if checkKeys(key) == nil { // or no entry can be found
			if err := c.invalidate(ctx, []K{key}); err != nil {
				unknown = fmt.Errorf("%w: %w", ErrUnacknowledged, err)
			}
		}
		return nil
	}, w)
	if err == nil {
		err = unknown
	}
	return key, v, err
}
