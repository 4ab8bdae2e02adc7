// Package asidetest helps to test programs that use package aside, and L2
// implementations: an in-memory L2, and the conformance suite that it and the
// Redis one pass.
package asidetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/internal/envelope"
)

// Server is the memory that several L2 clients share, as nodes share a Redis.
// It uses package time, so it runs on fake time within testing/synctest. The
// zero value is ready.
type Server struct {
	mu      sync.Mutex
	entries map[string]entry
	clients []*Client
}

type entry struct {
	b       []byte
	expires time.Time // zero: never
}

// endless reports whether the entry never expires, as none of package aside does.
func (e entry) endless() bool { return e.expires.IsZero() }

// Client is one node's connection to a Server. It implements aside.L2.
type Client struct {
	s *Server

	// guarded by s.mu
	watchers  map[string]aside.Watcher
	tracked   map[string]bool
	intercept Intercept
	answer    func(op, key string) error
	calls     map[string]int
}

var _ aside.L2 = (*Client)(nil)

// Intercept runs before an operation reaches the server, without locks, once
// per key. It may wait, to hold the operation back, or return an error, which
// is then the operation's answer. op is the L2 method's name.
type Intercept func(ctx context.Context, op, key string) error

// NewClient returns a client of s.
func (s *Server) NewClient() *Client {
	c := &Client{s: s, watchers: map[string]aside.Watcher{}, tracked: map[string]bool{}, calls: map[string]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, c)
	return c
}

// Intercept makes every operation of c run f first; nil ends that.
func (c *Client) Intercept(f Intercept) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.intercept = f
}

// Answer makes every operation of c run f after it was carried out; an error
// that f returns takes the place of the answer, as if that were lost on its way.
func (c *Client) Answer(f func(op, key string) error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.answer = f
}

// Calls returns how often the operation was called, by keys.
func (c *Client) Calls(op string) int {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.calls[op]
}

// Disconnect does what a lost and renewed connection does: tracking ends, and
// the watchers are told so.
func (c *Client) Disconnect() {
	c.s.mu.Lock()
	clear(c.tracked)
	ws := make([]aside.Watcher, 0, len(c.watchers))
	for _, w := range c.watchers {
		ws = append(ws, w)
	}
	c.s.mu.Unlock()
	for _, w := range ws {
		w.Lost()
	}
}

// Flush empties the server, as a restart without persistence would.
func (s *Server) Flush() {
	s.mu.Lock()
	s.entries = nil
	clients := slices.Clone(s.clients)
	s.mu.Unlock()
	for _, c := range clients {
		c.Disconnect()
	}
}

// Entry returns the raw bytes stored for a key, nil if absent.
func (s *Server) Entry(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, _ := s.getLocked(key)
	return bytes.Clone(e.b)
}

// SetEntry stores raw bytes, as a foreign program would. With a ttl of 0 they never
// expire.
func (s *Server) SetEntry(key string, b []byte, ttl time.Duration) {
	s.mu.Lock()
	push := s.setLocked(key, bytes.Clone(b), ttl)
	s.mu.Unlock()
	push()
}

// Restore puts an entry back without a word to anybody, as a server does that comes
// back from a snapshot, or a replica that lagged.
func (s *Server) Restore(key string, b []byte, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		s.entries = map[string]entry{}
	}
	s.entries[key] = entry{bytes.Clone(b), time.Now().Add(ttl)}
}

func (s *Server) getLocked(key string) (entry, bool) {
	e, ok := s.entries[key]
	if ok && !e.endless() && !e.expires.After(time.Now()) {
		delete(s.entries, key)
		return entry{}, false
	}
	return e, ok
}

// setLocked stores (or, with nil, removes) an entry and returns what tells the
// clients that track the key, to be called once s.mu is free. As in Redis, that
// ends the tracking, and who makes a change is told of it too.
func (s *Server) setLocked(key string, b []byte, ttl time.Duration) (push func()) {
	if b == nil {
		if _, ok := s.getLocked(key); !ok {
			return func() {}
		}
		delete(s.entries, key)
	} else {
		if s.entries == nil {
			s.entries = map[string]entry{}
		}
		e := entry{b: b}
		if ttl > 0 {
			e.expires = time.Now().Add(ttl)
		}
		s.entries[key] = e
	}
	var calls []func()
	for _, c := range s.clients {
		if !c.tracked[key] {
			continue
		}
		delete(c.tracked, key)
		for prefix, w := range c.watchers {
			if rest, ok := strings.CutPrefix(key, prefix); ok {
				calls = append(calls, func() { w.Changed(rest) })
			}
		}
	}
	return func() {
		for _, f := range calls {
			f()
		}
	}
}

// do runs f under the server's lock, after the intercept.
func (c *Client) do(ctx context.Context, op, key string, f func() (push func())) error {
	c.s.mu.Lock()
	c.calls[op]++
	intercept, answer := c.intercept, c.answer
	c.s.mu.Unlock()
	if intercept != nil {
		if err := intercept(ctx, op, key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.s.mu.Lock()
	push := f()
	c.s.mu.Unlock()
	if push != nil {
		push()
	}
	if answer != nil {
		return answer(op, key)
	}
	return nil
}

func leaseBytes(t aside.Token) []byte { return envelope.AppendLease(nil, t) }

// Acquire implements aside.L2.
func (c *Client) Acquire(ctx context.Context, reqs []aside.LeaseRequest) []aside.Acquired {
	out := make([]aside.Acquired, len(reqs))
	for i, r := range reqs {
		err := c.do(ctx, "Acquire", r.Key, func() (push func()) {
			e, ok := c.s.getLocked(r.Key)
			lease := leaseBytes(r.Lease)
			kind := byte(0)
			if ok && len(e.b) > 0 {
				kind = e.b[0]
			}
			switch {
			case kind == envelope.KindValue && !e.endless() && time.Until(e.expires) <= envelope.StaleFor(e.b):
				out[i] = aside.Acquired{State: aside.StateGranted, Entry: bytes.Clone(e.b), Left: time.Until(e.expires)}
				push = c.s.setLocked(r.Key, lease, r.TTL)
			case kind == envelope.KindValue, kind == envelope.KindNegative:
				out[i] = aside.Acquired{State: aside.StateFound, Entry: bytes.Clone(e.b)}
				c.tracked[r.Key] = true
			case kind == envelope.KindLease && !bytes.Equal(e.b, lease) && !e.endless() && time.Until(e.expires) <= 10*r.TTL:
				out[i] = aside.Acquired{State: aside.StateLeased}
				c.tracked[r.Key] = true
			case kind == envelope.KindFence:
				out[i] = aside.Acquired{State: aside.StateFenced}
				if e.endless() {
					e.expires = time.Now().Add(time.Minute)
					c.s.entries[r.Key] = e
				}
			default:
				out[i] = aside.Acquired{State: aside.StateGranted}
				push = c.s.setLocked(r.Key, lease, r.TTL)
			}
			return push
		})
		if err != nil {
			out[i] = aside.Acquired{Err: err}
		}
	}
	return out
}

// Fill implements aside.L2.
func (c *Client) Fill(ctx context.Context, reqs []aside.FillRequest) []aside.FillResult {
	out := make([]aside.FillResult, len(reqs))
	for i, r := range reqs {
		out[i].Err = c.do(ctx, "Fill", r.Key, func() (push func()) {
			if e, _ := c.s.getLocked(r.Key); !bytes.Equal(e.b, leaseBytes(r.Lease)) {
				return nil
			}
			out[i].Stored = true
			push = c.s.setLocked(r.Key, bytes.Clone(r.Entry), r.TTL)
			c.tracked[r.Key] = true
			return push
		})
	}
	return out
}

// Abandon implements aside.L2.
func (c *Client) Abandon(ctx context.Context, reqs []aside.AbandonRequest) []error {
	out := make([]error, len(reqs))
	for i, r := range reqs {
		out[i] = c.do(ctx, "Abandon", r.Key, func() (push func()) {
			if e, _ := c.s.getLocked(r.Key); !bytes.Equal(e.b, leaseBytes(r.Lease)) {
				return nil
			}
			return c.s.setLocked(r.Key, bytes.Clone(r.Restore), r.TTL)
		})
	}
	return out
}

// Evict implements aside.L2.
func (c *Client) Evict(ctx context.Context, reqs []aside.EvictRequest) []error {
	out := make([]error, len(reqs))
	for i, r := range reqs {
		out[i] = c.do(ctx, "Evict", r.Key, func() (push func()) {
			if e, ok := c.s.getLocked(r.Key); !ok || !bytes.Equal(e.b, r.Entry) {
				return nil
			}
			return c.s.setLocked(r.Key, nil, 0)
		})
	}
	return out
}

// fences is a decoded F entry: each writer's token and its fence's end, in order. It
// is kept encoded in the entries, in the bytes that the scripts of redisl2 write.
type fences struct {
	mark byte // even as long as one writer alone has touched the key
	of   []fenceOf
}

type fenceOf struct {
	token aside.Token
	ends  int64 // Unix ms
}

// common is the token of the record that writers beyond maxFences share.
var common aside.Token

const (
	fenceRecord = envelope.TokenLen + 13
	maxFences   = 32
)

// decodeFences reads a fence. One that it cannot read stands until it expires.
func decodeFences(e entry) (f fences, fenced, readable bool) {
	if len(e.b) == 0 || e.b[0] != envelope.KindFence || e.endless() {
		return f, false, false
	}
	if len(e.b) < 2 || e.b[1] != '0' && e.b[1] != '1' || (len(e.b)-2)%fenceRecord != 0 {
		return f, true, false
	}
	f.mark = e.b[1]
	for b := e.b[2:]; len(b) > 0; b = b[fenceRecord:] {
		ends, err := strconv.ParseInt(string(b[envelope.TokenLen:fenceRecord]), 10, 64)
		if err != nil {
			return f, true, false
		}
		if ends == 0 { // a writer who is alone
			ends = e.expires.UnixMilli()
		}
		if ends > time.Now().UnixMilli() {
			f.of = append(f.of, fenceOf{aside.Token(b), ends})
		}
	}
	return f, true, true
}

// take removes a token's record, and reports whether it was there.
func (f *fences) take(t aside.Token) bool {
	n := len(f.of)
	f.of = slices.DeleteFunc(f.of, func(o fenceOf) bool { return o.token == t })
	return len(f.of) < n
}

func (f *fences) encode() (b []byte, ttl time.Duration) {
	b = []byte{envelope.KindFence, f.mark}
	for _, o := range f.of {
		b = append(b, o.token[:]...)
		b = fmt.Appendf(b, "%013d", o.ends)
		ttl = max(ttl, time.Until(time.UnixMilli(o.ends)))
	}
	return b, ttl
}

// Fence implements aside.L2.
func (c *Client) Fence(ctx context.Context, reqs []aside.FenceRequest) []error {
	out := make([]error, len(reqs))
	for i, r := range reqs {
		out[i] = c.do(ctx, "Fence", r.Key, func() (push func()) {
			e, _ := c.s.getLocked(r.Key)
			f, fenced, readable := decodeFences(e)
			if !fenced {
				b := append([]byte{envelope.KindFence, '0'}, r.Token[:]...)
				return c.s.setLocked(r.Key, append(b, "0000000000000"...), r.Life)
			}
			if !readable {
				return c.s.setLocked(r.Key, marked(e.b), max(r.Life, time.Until(e.expires)))
			}
			f.take(r.Token)
			if len(f.of) > 0 {
				f.mark = '1'
			}
			ends := time.Now().Add(r.Life).UnixMilli()
			shared := slices.IndexFunc(f.of, func(o fenceOf) bool { return o.token == common })
			rest := fenceOf{token: common}
			if shared >= 0 {
				rest = f.of[shared]
				f.of = slices.Delete(f.of, shared, shared+1)
			}
			if len(f.of) >= maxFences {
				rest.ends = max(rest.ends, ends)
			} else {
				f.of = append(f.of, fenceOf{r.Token, ends})
			}
			if rest.ends > 0 {
				f.of = append(f.of, rest)
			}
			b, ttl := f.encode()
			return c.s.setLocked(r.Key, b, ttl)
		})
	}
	return out
}

// marked returns a fence, of whatever format, with the mark that several writers
// have touched the key.
func marked(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) > 1 {
		b[1] |= 1
	}
	return b
}

// Release implements aside.L2.
func (c *Client) Release(ctx context.Context, reqs []aside.ReleaseRequest) []aside.ReleaseResult {
	out := make([]aside.ReleaseResult, len(reqs))
	for i, r := range reqs {
		out[i].Err = c.do(ctx, "Release", r.Key, func() (push func()) {
			e, _ := c.s.getLocked(r.Key)
			f, fenced, readable := decodeFences(e)
			if fenced && !readable {
				return nil
			}
			mine := f.take(r.Token)
			covered := slices.ContainsFunc(f.of, func(o fenceOf) bool { return o.token == common })
			out[i].Lost = !mine && !covered
			switch {
			case len(f.of) > 0:
				f.mark = '1'
				b, ttl := f.encode()
				return c.s.setLocked(r.Key, b, ttl)
			case mine && r.Publish != nil && f.mark == '0':
				out[i].Published = true
				push = c.s.setLocked(r.Key, bytes.Clone(r.Publish), r.TTL)
				c.tracked[r.Key] = true
				return push
			default:
				return c.s.setLocked(r.Key, nil, 0)
			}
		})
	}
	return out
}

// Invalidate implements aside.L2.
func (c *Client) Invalidate(ctx context.Context, keys []string) []error {
	out := make([]error, len(keys))
	for i, key := range keys {
		out[i] = c.do(ctx, "Invalidate", key, func() (push func()) { return c.s.invalidateLocked(key) })
	}
	return out
}

func (s *Server) invalidateLocked(key string) (push func()) {
	e, _ := s.getLocked(key)
	if _, fenced, _ := decodeFences(e); fenced {
		return s.setLocked(key, marked(e.b), time.Until(e.expires))
	}
	return s.setLocked(key, nil, 0)
}

// Clear implements aside.L2.
func (c *Client) Clear(ctx context.Context, prefix string) error {
	return c.do(ctx, "Clear", prefix, func() (push func()) {
		var pushes []func()
		for key := range c.s.entries {
			if strings.HasPrefix(key, prefix) {
				pushes = append(pushes, c.s.invalidateLocked(key))
			}
		}
		return func() {
			for _, p := range pushes {
				p()
			}
		}
	})
}

// Watch implements aside.L2.
func (c *Client) Watch(prefix string, w aside.Watcher) (stop func(), err error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if _, ok := c.watchers[prefix]; ok {
		return nil, errors.New("asidetest: another cache with prefix " + prefix + " uses this client")
	}
	c.watchers[prefix] = w
	return func() {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		delete(c.watchers, prefix)
	}, nil
}

// Ping implements aside.L2.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, "Ping", "", func() func() { return nil })
}
