package asidetest

import (
	"bytes"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// carried returns what a lease carries and for how long that still lives; nil if there
// is nothing, or it has ended.
func (e entry) carried() (b []byte, left time.Duration) {
	l, ok := envelope.ParseLease(e.b)
	if left = time.Until(l.Ends); !ok || l.Carried == nil || left <= 0 {
		return nil, 0
	}
	return bytes.Clone(l.Carried), left
}

func (c *Client) acquireLocked(r driver.LeaseRequest) (g driver.Grant, push func()) {
	e, _ := c.s.getLocked(r.Key)
	switch kind := e.kind(); {
	case kind == envelope.KindValue && !e.expires.IsZero() && e.left() <= envelope.StaleFor(e.b), isOver(e.b, r.Over):
		left := e.left()
		lease := envelope.Lease{Token: r.Lease, Carried: e.b, Ends: time.Now().Add(left)}
		return driver.Grant{State: driver.StateGranted, Entry: bytes.Clone(e.b), Left: left}, c.s.setLocked(r.Key, lease.Append(nil), r.TTL)
	case kind == envelope.KindValue, kind == envelope.KindNegative:
		c.tracked[r.Key] = true
		return driver.Grant{State: driver.StateFound, Entry: bytes.Clone(e.b)}, nil
	case envelope.Holds(e.b, r.Lease): // a retry
		b, left := e.carried()
		return driver.Grant{State: driver.StateGranted, Entry: b, Left: left}, nil
	case kind == envelope.KindLease && !e.expires.IsZero() && e.left() <= 10*r.TTL:
		c.tracked[r.Key] = true
		g.State = driver.StateLeased
		if r.Carried {
			g.Entry, g.Left = e.carried()
		}
		return g, nil
	case kind == envelope.KindFence:
		if e.expires.IsZero() { // no node stores a fence without an end
			c.s.entries[r.Key] = entry{e.b, time.Now().Add(endless)}
		}
		return driver.Grant{State: driver.StateFenced}, nil
	}
	return driver.Grant{State: driver.StateGranted}, c.s.setLocked(r.Key, envelope.AppendLease(nil, r.Lease), r.TTL)
}

// isOver reports whether an entry has the token that a lease is asked for over it.
func isOver(b []byte, over driver.Token) bool {
	_, t, ok := envelope.Head(b)
	return ok && t == over && over != driver.Token{}
}
