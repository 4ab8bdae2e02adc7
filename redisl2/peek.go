package redisl2

import (
	"context"

	"github.com/asidecache/aside/driver"
)

var _ driver.Peeking = (*Store)(nil)

// Peek implements driver.Peeking.
func (s *Store) Peek(ctx context.Context, keys []string) []driver.Grant {
	out := make([]driver.Grant, len(keys))
	peek.run(ctx, s, len(keys),
		func(i int) string { return keys[i] },
		func(int) args { return args{} },
		func(i int, a answer, err error) { out[i] = peeked(a, err) })
	return out
}

// peeked reads the answer of peek.lua.
func peeked(a answer, err error) driver.Grant {
	switch {
	case err == nil && a.kind == '_':
		return driver.Grant{State: driver.StateAbsent}
	case err == nil && a.kind == '*':
		return withLeft("peek", driver.StateFound, a)
	}
	g := acquired(a, err) // "L" or "F"
	if g.State == driver.StateFound {
		return driver.Grant{Err: errUnexpected("peek", a)}
	}
	return g
}
