package aside

import (
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/tags"
)

// Versions of one record are compared wherever they come from: an entry of L2 with the
// one in L1, a load with the value that it replaces, a change of the feed with an entry.
// So they are all of one scale. Where Options.Version tells one, that counts, and what a
// loader told does not: writes and loaders that tell nothing have no other.

// settleVersion settles the version of a record of which a loader or a write told more.
func (c *Cache[K, V]) settleVersion(key K, v V, t *told) {
	of, _ := c.version(v)
	switch {
	case of == 0:
		t.stated = t.version != 0
		return
	case t.version != 0 && t.version != of:
		c.warn.do("version", func() {
			c.log.Warn("a loader or a write told another version of a record than Options.Version, which counts", c.firstKey([]K{key}),
				"told", t.version, "version", of)
		})
	}
	t.version = of
}

// versionOf returns the version of what L1 has, 0 if it is not known.
func (c *Cache[K, V]) versionOf(v V, m *tags.Marks) uint64 {
	if m != nil && m.Version != 0 {
		return m.Version
	}
	n, _ := c.version(v)
	return n
}

// tellMarks adds to the marks of an entry of L2 what its value does not tell.
func (c *Cache[K, V]) tellMarks(m *tags.Marks, v V, e *envelope.Entry) *tags.Marks {
	version := e.Version
	if version != 0 {
		if of, _ := c.version(v); of == version {
			version = 0
		}
	}
	return m.Tell(version, e.ETag)
}
