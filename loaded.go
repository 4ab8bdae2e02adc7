package aside

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/tags"
)

// loaded is what a load, or a write, brought of one key.
type loaded[V any] struct {
	v   V
	err error // ErrNotFound: there is no such record
	told
}

// told is what a loader or a write told of a record besides its value.
type told struct {
	ttl     time.Duration // 0: the cache's own
	version uint64        // 0: not known
	etag    string
	tags    []string
	noStore bool
	stated  bool        // Options.Version does not tell the version
	marks   *tags.Marks // what L1 keeps of it
	// of the tags: nobody knows from when on they count, so L2 may not have them
	unstamped bool
}

// before is what the cache has of a record when it loads it.
type before[V any] struct {
	Previous[V]
	tags []string
}

// entry makes a loaded of what a loader has returned for key.
func (c *Cache[K, V]) entry(key K, l Loaded[V], err error, old before[V]) loaded[V] {
	out := loaded[V]{v: l.Value, err: err, told: told{ttl: l.TTL, version: l.Version, etag: l.ETag, tags: slices.Clone(l.Tags), noStore: l.NoStore}}
	var none V
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return loaded[V]{err: err}
	case err != nil || l.Absent:
		out.v, out.version, out.etag = none, 0, ""
		if err == nil {
			out.err = ErrNotFound
		}
	case l.NotModified:
		if !old.OK {
			return loaded[V]{err: fmt.Errorf("aside: the loader returned NotModified for key %v, but it was given nothing previous (Previous.OK was false): it must return the record", key)}
		}
		out.v = old.Value
		if out.version == 0 {
			out.version = old.Version
		}
		if out.etag == "" {
			out.etag = old.ETag
		}
		if len(out.tags) == 0 {
			out.tags = old.tags
		}
	}
	if out.err == nil {
		c.settleVersion(key, out.v, &out.told)
		c.addTags(out.v, &out.told)
	}
	c.bound(key, &out.told)
	return out
}

// plain makes a loaded of a value or an error that nothing more is known of.
func (c *Cache[K, V]) plain(key K, v V, err error) loaded[V] {
	l := loaded[V]{v: v, err: err}
	if err == nil {
		l.version, _ = c.version(v)
		c.addTags(v, &l.told)
		c.bound(key, &l.told)
	}
	return l
}

// addTags gives a record its tags, if nobody has told them.
func (c *Cache[K, V]) addTags(v V, t *told) {
	if c.opts.Tags == nil || len(t.tags) > 0 {
		return
	}
	var err error
	if t.tags, err = c.tagsOf(v); err != nil {
		t.noStore = true // without its tags it could not be invalidated
	}
}

// bound keeps what was told within its bounds. What is beyond them never fails a read.
func (c *Cache[K, V]) bound(key K, t *told) {
	switch {
	case t.ttl < 0:
		t.noStore, t.ttl = true, 0
	case t.ttl > 0:
		t.ttl = min(max(t.ttl, time.Millisecond), maxDuration)
	}
	if len(t.etag) > envelope.MaxETag {
		c.warn.do("etag", func() {
			c.log.Warn("an ETag is too long and is not kept", c.firstKey([]K{key}), "bytes", len(t.etag), "max", envelope.MaxETag)
		})
		t.etag = ""
	}
	if len(t.tags) > envelope.MaxTags || slices.ContainsFunc(t.tags, func(tag string) bool { return tag == "" || len(tag) > envelope.MaxTag }) {
		c.warn.do("tags", func() {
			c.log.Warn("a record has too many tags, or one that is empty or too long, and is not stored", c.firstKey([]K{key}),
				"tags", len(t.tags), "max", envelope.MaxTags, "max_bytes", envelope.MaxTag)
		})
		t.noStore, t.tags = true, nil
	}
}

// previous returns what the cache has of a job's record.
func (c *Cache[K, V]) previous(ctx context.Context, j *job[K, V]) (old before[V]) {
	if j.stale != nil {
		if v, e, err := c.decode(j.key, j.stale); err == nil && !e.Negative && !e.Elsewhere && c.goodPrevious(ctx, j, marksOf(e)) {
			return before[V]{Previous[V]{Value: v, Version: e.Version, ETag: e.ETag, Stored: e.Stored, OK: true}, e.Tags}
		}
	}
	if e, ok := c.l1.Peek(j.key); ok && !e.Negative() && c.goodPrevious(ctx, j, e.Marks) {
		old.Value, old.Version, old.OK = e.Value, c.versionOf(e.Value, e.Marks), true
		if e.Marks != nil {
			old.ETag, old.tags = e.Marks.ETag, e.Marks.Tags
		}
	}
	return old
}
