package asidetest

import (
	"bytes"
	"context"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var _ driver.Peeking = (*Client)(nil)

// Peek implements driver.Peeking.
func (c *Client) Peek(ctx context.Context, keys []string) []driver.Grant {
	out := make([]driver.Grant, len(keys))
	for i, key := range keys {
		if err := c.do(ctx, "Peek", key, func() func() { out[i] = c.s.peekLocked(key); return nil }); err != nil {
			out[i] = driver.Grant{Err: err}
		}
	}
	return out
}

func (s *Server) peekLocked(key string) (g driver.Grant) {
	e, _ := s.getLocked(key)
	switch e.kind() {
	case envelope.KindValue, envelope.KindNegative:
		g = driver.Grant{State: driver.StateFound, Entry: bytes.Clone(e.b)}
		if envelope.StaleFor(e.b) > 0 && !e.expires.IsZero() {
			g.Left = e.left()
		}
		return g
	case envelope.KindLease:
		g.State = driver.StateLeased
		g.Entry, g.Left = e.carried()
		return g
	case envelope.KindFence:
		return driver.Grant{State: driver.StateFenced}
	}
	return driver.Grant{State: driver.StateAbsent}
}
