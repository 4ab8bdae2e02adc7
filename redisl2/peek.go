package redisl2

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

var _ driver.Peeking = (*Store)(nil)

// Peek implements driver.Peeking.
func (s *Store) Peek(ctx context.Context, keys []string) []driver.Grant {
	out := make([]driver.Grant, len(keys))
	peek.runMany(ctx, s, len(keys),
		func(i int) string { return keys[i] },
		func(int) args { return args{} },
		func(i int, m rueidis.RedisMessage, err error) { out[i] = peeked(m, err) })
	return out
}

// peeked reads the answer of peek.lua.
func peeked(m rueidis.RedisMessage, err error) driver.Grant {
	switch {
	case err == nil && m.IsNil():
		return driver.Grant{State: driver.StateAbsent}
	case err == nil && m.IsArray():
		return withLeft("peek", driver.StateFound, m)
	}
	g := acquired(m, err) // "L" or "F"
	if g.State == driver.StateFound {
		return driver.Grant{Err: fmt.Errorf("redisl2: unexpected answer of peek: %d bytes", len(g.Entry))}
	}
	return g
}
