package aside

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
)

// A key may be personal, such as a mail address, and logs are read and kept by others
// than the data. So the log has a hash of it, by which lines can be told apart and one
// key be found; and the key itself only for those who ask for the level debug.

// keyAttr names a key of L2 in the log.
func (c *Cache[K, V]) keyAttr(l2key string) slog.Attr {
	sum := sha256.Sum256([]byte(l2key))
	hash := slog.String("key_hash", hex.EncodeToString(sum[:8]))
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		return slog.Group("", hash, slog.String("l2_key", l2key))
	}
	return hash
}

// firstKey names the first of some keys.
func (c *Cache[K, V]) firstKey(keys []K) slog.Attr {
	if c.opts.Key == nil {
		return slog.Attr{} // of a cache without L2
	}
	l2key, err := c.l2key(keys[0])
	if err != nil {
		return slog.Attr{} // it had a name when the write began
	}
	return c.keyAttr(l2key)
}
