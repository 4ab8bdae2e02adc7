package aside

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// Peek returns what L1 has of key, or else what L2 has, and never loads. ok is false if
// neither has it. If they know that there is no such record, ok is true, and Err is
// ErrNotFound. A Peek stores nothing: what it finds in L2 is not put into L1, and the next
// Peek looks it up again. It begins no refresh. It waits for nobody's load, and for L2 no
// longer than Options.L2Timeout.
//
// With SkipL2, only L1 is asked; with Strong, only L2. If a Strong Peek finds a record, that
// is as new as the answer of a Strong read, and L1 drops what it has of the key, which may be
// older. Default may return a value that is past its TTL and kept for Options.StaleFor, with
// Stale set. The other modes have no effect.
//
// If ok is false, Err is nil, or says why L2 could not be asked: an error of L2,
// ErrL2Unavailable while the cache does not use it, that of ctx, or ErrClosed. Stats counts
// what a Peek finds, and nothing else.
func (c *Cache[K, V]) Peek(ctx context.Context, key K, mode Mode) (r Result[V], ok bool) {
	if r.Err = ctx.Err(); r.Err != nil {
		return r, false
	}
	if r.Err = checkKeys(key); r.Err != nil {
		return r, false
	}
	if mode&Strong == 0 {
		if r, ok = c.peekL1(key); ok {
			return r, true
		}
	}
	if c.l2 == nil || mode&SkipL2 != 0 {
		return r, false
	}
	if !c.inflight.begin() {
		r.Err = ErrClosed
		return r, false
	}
	defer c.inflight.done(1)
	l2key, err := c.l2key(key)
	if err != nil {
		r.Err = err
		return r, false
	}
	// A write of this node that L2 has not been told of is not in what L2 has.
	if c.outbox.Holds(key) || !c.l2.usable() {
		r.Err = ErrL2Unavailable
		return r, false
	}
	start := time.Now()
	g := c.l2.peek(l2key)
	r.L2Time = time.Since(start)
	if errors.Is(g.Err, errBreakerOpen) { // it is just being probed
		g.Err = ErrL2Unavailable
	}
	if r.Err = g.Err; r.Err != nil || g.Entry == nil || c.outbox.Holds(key) {
		return r, false
	}
	v, e, err := c.decode(key, g.Entry)
	age := time.Since(e.Stored)
	if err == nil {
		err = c.checkAge(e, age)
	}
	stale := g.Left > 0 && g.Left <= envelope.StaleFor(g.Entry)
	if err == nil && len(e.Tags) > 0 && !c.peekable(ctx, e, mode) {
		return r, false
	}
	if err != nil || e.Elsewhere || c.older(key, e.Version) || stale && mode&Strong != 0 {
		return r, false // a read would not take it, or load in its place
	}
	// As after a read that did not ask L1: what that has, or is about to get, may be older.
	c.invalidateL1(key)
	r.Source, r.Value, r.Negative, r.Version, r.Stale = SourceL2, v, e.Negative, e.Version, stale
	r.Age, r.Tags, r.Node = max(0, age), e.Tags, nodeOf(e.Token)
	if r.Left = c.freshFor(e, age); stale {
		r.Left = g.Left - envelope.StaleFor(g.Entry) // by how much it is past its TTL
	}
	c.n.hitsL2.Add(1)
	if e.Negative {
		r.Err = ErrNotFound
		c.n.negatives.Add(1)
	}
	if stale {
		c.n.stale.Add(1)
	}
	return r, true
}

// peek looks one key up without a lease, together with others that come at the same time.
func (g *guardedL2) peek(key string) driver.Grant {
	if g.peeking == nil {
		return driver.Grant{Err: fmt.Errorf("aside: L2 (%T) is not a driver.Peeking", g.l2)}
	}
	return g.peeks.do(g.partition(key), key)
}

func (g *guardedL2) peekAll(keys []string) []driver.Grant {
	out := eachOf(g, "peek", len(keys), len(keys)*int(g.entrySize.Load()),
		func(ctx context.Context) []driver.Grant { return g.peeking.Peek(ctx, keys) },
		func(a *driver.Grant) *error { return &a.Err })
	g.sawGrants(out)
	return out
}

// peekable reports whether an entry with tags has not been invalidated, as far as the
// mode must know.
func (c *Cache[K, V]) peekable(ctx context.Context, e envelope.Entry, mode Mode) bool {
	if c.l2.tagging == nil {
		return false
	}
	if mode&Strong != 0 || !c.tags.Watched() {
		ctx, cancel := context.WithTimeout(ctx, c.opts.L2Timeout)
		defer cancel()
		if c.callForTags(func() {}).wait(ctx) != nil {
			return false
		}
	}
	return c.tags.Good(marksOf(e))
}
