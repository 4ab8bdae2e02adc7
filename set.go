package aside

import (
	"context"
	"errors"
	"iter"
)

// Set stores v as the record of key in both tiers, and invalidates what other nodes have.
// It is a Write whose function changes nothing and publishes v. If another write or an
// invalidation of the key overlaps with it, the key is removed. Like any entry, it may be
// gone at the next read.
//
// Set is right for data that has no primary behind it, and for records that never change.
// It is wrong for a record that was read from the primary: another write may have changed
// it since, and Set would bring the old one back for as long as it lives. There a read
// must load it (Get, or Read with Refresh). To publish what a write has just made, use
// Write and WriteTx.Publish.
//
// The errors are those of Write. With L2, a value that cannot be encoded is no error: the key
// is removed, no tier stores the value, and it is logged and counted (Stats.Unencodable).
func (c *Cache[K, V]) Set(ctx context.Context, key K, v V) error {
	return c.SetEntry(ctx, key, Loaded[V]{Value: v})
}

// SetEntry is Set with what else is known of the record, as WriteTx.PublishEntry takes
// it. With Absent, it stores that there is no such record. With NoStore, it is an
// invalidation.
func (c *Cache[K, V]) SetEntry(ctx context.Context, key K, l Loaded[V]) error {
	if l.NotModified {
		return errors.New("aside: SetEntry with NotModified: there is nothing previous, set the Value")
	}
	if len(l.Tags) > 0 && c.l2 != nil && c.l2.tagging != nil && !c.tags.armed.Load() && c.l2.usable() && c.inflight.begin() {
		_ = c.askTagsOnce(ctx) // or this record, the first with tags, would not be stored
		c.inflight.done(1)
	}
	return c.Write(ctx, key, func(_ context.Context, w *WriteTx[K, V]) error {
		w.PublishEntry(key, l)
		return nil
	})
}

// All goes through the values that L1 has, in no order. It leaves out expired values and
// absences. It does not count as a read: nothing is loaded or counted, and no entry stays
// longer because of it. An entry that is stored or removed meanwhile may be seen or not.
func (c *Cache[K, V]) All() iter.Seq2[K, V] { return values(c.l1.All()) }

// Hottest is All, but begins with the values that L1 would evict last: those that are read
// most. Before the first value it copies all of L1, even if the loop ends early. So it takes
// time and memory in proportion to that.
func (c *Cache[K, V]) Hottest() iter.Seq2[K, V] { return values(c.l1.Hottest()) }

// Len returns the number of entries in L1: values and absences. It includes expired entries
// that nobody has asked for since. Stats has it too.
func (c *Cache[K, V]) Len() int { return c.l1.Len() }
