package aside

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// encode makes the entry of a value or an absence. A value too large for L2 has an
// entry that says so: other nodes then load it for themselves, and are told when it
// changes as they are of others. ttl is how long it lives until it is stale.
func (c *Cache[K, V]) encode(l2key string, v V, negative bool, t told, ttl time.Duration, token driver.Token) ([]byte, error) {
	e := envelope.Entry{
		Negative: negative, Codec: c.entries.Codec, Schema: c.entries.Schema, Type: c.entries.Type,
		Version: t.version, Token: token, Stored: time.Now(), StaleFor: c.staleFor(negative),
		ETag: t.etag,
	}
	stampEntry(&e, t.marks)
	if t.ttl > 0 {
		e.Life = ttl
	}
	if !negative {
		var err error
		if e.Payload, err = c.encodeValue(v); err != nil {
			c.n.unencodable.Add(1)
			c.warn.do("encode", func() {
				c.log.Error("a value cannot be encoded and is not stored in L2", c.keyAttr(l2key), "error", err)
			})
			return nil, err
		}
		if most := c.entries.MaxPayload; most > 0 && len(e.Payload) > most {
			c.n.tooLarge.Add(1)
			c.warn.do("too large", func() {
				c.log.Warn("a value is larger than MaxEntrySize and is not stored in L2", c.keyAttr(l2key), "bytes", len(e.Payload), "max", most)
			})
			e.Elsewhere, e.StaleFor = true, 0
		}
	}
	return envelope.Append(nil, e, c.opts.CompressAbove), nil
}

// decode decodes an entry that L2 has for k. Nothing that L2 has is trusted to be
// what a node has stored there.
func (c *Cache[K, V]) decode(k K, b []byte) (v V, e envelope.Entry, err error) {
	if e, err = c.entries.Decode(b); err == nil && !e.Negative && !e.Elsewhere {
		if v, err = c.decodeValue(e.Payload); err == nil {
			err = c.validate(k, v)
		}
	}
	return v, e, err
}

// clockSlack is by how much the clocks of nodes may differ before their entries are
// of no use to each other.
const clockSlack = time.Hour

// checkAge looks at the age of an entry, by the clock of the node that stored it: L2
// must have removed it by then. It does not if the entry was given no TTL.
func (c *Cache[K, V]) checkAge(e envelope.Entry, age time.Duration) error {
	switch {
	case age > c.lifeOf(e)+c.staleFor(e.Negative)+clockSlack:
		return fmt.Errorf("aside: the entry should have ended: it is %v old", age.Round(time.Second))
	case age < -clockSlack:
		return fmt.Errorf("aside: the entry says that it was stored at %v", e.Stored.UTC().Format(time.RFC3339))
	}
	return nil
}

// lifeOf returns how long an entry lives at most until it is stale.
func (c *Cache[K, V]) lifeOf(e envelope.Entry) time.Duration {
	if e.Life > 0 {
		return min(e.Life, maxDuration)
	}
	return max(0, c.fullTTL(e.Negative))
}

// ttl returns the TTL of a record, shortened by the jitter.
func (c *Cache[K, V]) ttl(negative bool, t told) time.Duration {
	d := t.ttl
	if d == 0 {
		d = c.fullTTL(negative)
	}
	return max(d-time.Duration(c.opts.Jitter*rand.Float64()*float64(d)), time.Millisecond)
}

// l1TTL is how long an entry may live in L1 that L2 does not have: no longer than its
// record is said to.
func (c *Cache[K, V]) l1TTL(d time.Duration, t told) time.Duration {
	if t.ttl > 0 {
		d = min(d, t.ttl)
	}
	return min(d, c.opts.L1TTL)
}

func (c *Cache[K, V]) fullTTL(negative bool) time.Duration {
	if negative {
		return c.opts.NegativeTTL
	}
	return c.opts.TTL
}

func (c *Cache[K, V]) staleFor(negative bool) time.Duration {
	if negative {
		return 0
	}
	return c.opts.keeps()
}
