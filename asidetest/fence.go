package asidetest

import (
	"bytes"
	"context"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// fence returns a fence with those writers whose records have not ended by now, each
// with its end. ok is false for a fence that is not understood: it stands until the
// entry expires. What is done to the bytes is what Redis' scripts do.
func (e entry) fence(now time.Time) (f envelope.Fence, ok bool) {
	f, ok = envelope.ParseFence(e.b)
	if !ok {
		return f, false
	}
	var all []envelope.Writer
	end := now.Add(e.left()).Truncate(time.Millisecond)
	for _, w := range f.Writers {
		if w.Ends.IsZero() || w.Ends.After(end.Add(time.Second)) {
			w.Ends = end // no record outlives its key
		}
		if w.Ends.After(now) {
			all = append(all, w)
		}
	}
	f.Writers = all
	return f, true
}

// Fence implements driver.Tier.
func (c *Client) Fence(ctx context.Context, reqs []driver.FenceRequest) []error {
	out := make([]error, len(reqs))
	for i, r := range reqs {
		out[i] = c.do(ctx, "Fence", r.Key, func() (push func()) {
			b, life := c.s.fenceLocked(r)
			return c.s.setLocked(r.Key, b, life)
		})
	}
	return out
}

func (s *Server) fenceLocked(r driver.FenceRequest) (b []byte, life time.Duration) {
	e, _ := s.getLocked(r.Key)
	if e.kind() != envelope.KindFence || e.expires.IsZero() {
		return envelope.Fence{Writers: []envelope.Writer{{Token: r.Token}}}.Append(nil), r.Life
	}
	now := time.Now().Truncate(time.Millisecond)
	was, ok := e.fence(now)
	if !ok {
		return envelope.MarkFence(e.b), max(e.left(), r.Life)
	}
	mine := envelope.Writer{Token: r.Token, Ends: now.Add(r.Life)}
	rest := envelope.Writer{Token: envelope.Common}
	f := envelope.Fence{Shared: was.Shared}
	last := mine.Ends
	add := func(w envelope.Writer) {
		switch {
		case w.Token != envelope.Common && len(f.Writers) < envelope.MaxWriters:
			f.Writers = append(f.Writers, w)
		case w.Ends.After(rest.Ends):
			rest.Ends = w.Ends
		}
	}
	again := false
	for _, w := range was.Writers {
		if w.Token == mine.Token {
			again = true
			continue
		}
		f.Shared = true
		if w.Ends.After(last) {
			last = w.Ends
		}
		add(w)
	}
	add(mine)
	if !rest.Ends.IsZero() {
		f.Writers = append(f.Writers, rest)
	}
	if again && !f.Shared { // what a feed told of before this writer came is no business of his
		f.Since = was.Since
	}
	return f.Append(nil), last.Sub(now)
}

// Release implements driver.Tier.
func (c *Client) Release(ctx context.Context, reqs []driver.ReleaseRequest) []driver.ReleaseResult {
	out := make([]driver.ReleaseResult, len(reqs))
	for i, r := range reqs {
		out[i].Err = c.do(ctx, "Release", r.Key, func() (push func()) {
			out[i], push = c.releaseLocked(r)
			return push
		})
	}
	return out
}

func (c *Client) releaseLocked(r driver.ReleaseRequest) (res driver.ReleaseResult, push func()) {
	e, _ := c.s.getLocked(r.Key)
	if e.kind() != envelope.KindFence {
		return driver.ReleaseResult{Lost: true}, c.s.setLocked(r.Key, nil, 0)
	}
	now := time.Now().Truncate(time.Millisecond)
	f, ok := e.fence(now)
	if !ok { // this fence may be in it
		c.s.entries[r.Key] = entry{e.b, time.Now().Add(e.left())}
		return driver.ReleaseResult{}, func() {}
	}
	others := envelope.Fence{Shared: true}
	var last time.Time
	mine, crowd := false, false
	for _, w := range f.Writers {
		if w.Token == r.Token {
			mine = true
			continue
		}
		crowd = crowd || w.Token == envelope.Common
		others.Writers = append(others.Writers, w)
		if w.Ends.After(last) {
			last = w.Ends
		}
	}
	switch {
	case len(others.Writers) > 0:
		return driver.ReleaseResult{Lost: !mine && !crowd}, c.s.setLocked(r.Key, others.Append(nil), last.Sub(now))
	case mine && r.Publish != nil && !f.Shared && (f.Since == 0 || since(r.Publish, f.Since)):
		push = c.s.setLocked(r.Key, bytes.Clone(r.Publish), r.TTL)
		c.tracked[r.Key] = true
		return driver.ReleaseResult{Published: true}, push
	}
	return driver.ReleaseResult{Lost: !mine}, c.s.setLocked(r.Key, nil, 0)
}

// Invalidate implements driver.Tier.
func (c *Client) Invalidate(ctx context.Context, keys []string) []error {
	out := make([]error, len(keys))
	for i, key := range keys {
		out[i] = c.do(ctx, "Invalidate", key, func() (push func()) { return c.s.invalidateLocked(key) })
	}
	return out
}

func (s *Server) invalidateLocked(key string) (push func()) {
	e, _ := s.getLocked(key)
	if e.kind() == envelope.KindFence {
		return s.setLocked(key, envelope.MarkFence(e.b), e.left())
	}
	return s.setLocked(key, nil, 0)
}
