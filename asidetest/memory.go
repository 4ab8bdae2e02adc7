// Package asidetest helps to test programs that use package aside, and L2
// implementations: an in-memory L2, and the conformance suite that it and the
// Redis one pass.
package asidetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
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

// kind is the first byte, 0 where there is none.
func (e entry) kind() byte {
	if len(e.b) == 0 {
		return 0
	}
	return e.b[0]
}

// endless is how long an entry that has no end is let to live, once it is met.
const endless = time.Minute

// left is what an entry has left to live.
func (e entry) left() time.Duration {
	if e.expires.IsZero() {
		return endless
	}
	return time.Until(e.expires)
}

// Client is one node's connection to a Server. It implements driver.Tier.
type Client struct {
	s *Server

	// guarded by s.mu
	watchers  map[string]driver.Watcher
	tracked   map[string]bool
	intercept Intercept
	answer    func(op, key string) error
	calls     map[string]int
}

var _ driver.Tier = (*Client)(nil)

// Intercept runs before an operation reaches the server, without locks, once
// per key. It may wait, to hold the operation back, or return an error, which
// is then the operation's answer. op is the L2 method's name.
type Intercept func(ctx context.Context, op, key string) error

// NewClient returns a client of s.
func (s *Server) NewClient() *Client {
	c := &Client{s: s, watchers: map[string]driver.Watcher{}, tracked: map[string]bool{}, calls: map[string]int{}}
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
	ws := make([]driver.Watcher, 0, len(c.watchers))
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
	if ttl == 0 && b != nil {
		s.putLocked(key, entry{b: bytes.Clone(b)})
	}
	s.mu.Unlock()
	push()
}

// Restore puts an entry back without a word to anybody, as a server does that comes
// back from a snapshot, or a replica that lagged.
func (s *Server) Restore(key string, b []byte, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putLocked(key, entry{bytes.Clone(b), time.Now().Add(ttl)})
}

func (s *Server) putLocked(key string, e entry) {
	if s.entries == nil {
		s.entries = map[string]entry{}
	}
	s.entries[key] = e
}

func (s *Server) getLocked(key string) (entry, bool) {
	e, ok := s.entries[key]
	if ok && !e.expires.IsZero() && !e.expires.After(time.Now()) {
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
		s.putLocked(key, entry{b, time.Now().Add(ttl)})
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

// Acquire implements driver.Tier.
func (c *Client) Acquire(ctx context.Context, reqs []driver.LeaseRequest) []driver.Grant {
	out := make([]driver.Grant, len(reqs))
	for i, r := range reqs {
		err := c.do(ctx, "Acquire", r.Key, func() (push func()) {
			out[i], push = c.acquireLocked(r)
			return push
		})
		if err != nil {
			out[i] = driver.Grant{Err: err}
		}
	}
	return out
}

// Fill implements driver.Tier.
func (c *Client) Fill(ctx context.Context, reqs []driver.FillRequest) []driver.FillResult {
	out := make([]driver.FillResult, len(reqs))
	for i, r := range reqs {
		out[i].Err = c.do(ctx, "Fill", r.Key, func() (push func()) {
			if e, _ := c.s.getLocked(r.Key); !envelope.Holds(e.b, r.Lease) {
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

// Abandon implements driver.Tier.
func (c *Client) Abandon(ctx context.Context, reqs []driver.AbandonRequest) []error {
	out := make([]error, len(reqs))
	for i, r := range reqs {
		out[i] = c.do(ctx, "Abandon", r.Key, func() (push func()) {
			e, _ := c.s.getLocked(r.Key)
			if !envelope.Holds(e.b, r.Lease) {
				return nil
			}
			b, ttl := bytes.Clone(r.Restore), r.TTL
			if len(b) == 0 && !r.Drop {
				b, ttl = e.carried()
			}
			return c.s.setLocked(r.Key, b, ttl)
		})
	}
	return out
}

// Evict implements driver.Tier.
func (c *Client) Evict(ctx context.Context, reqs []driver.EvictRequest) []error {
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

// Clear implements driver.Tier.
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

// Watch implements driver.Tier.
func (c *Client) Watch(prefix string, w driver.Watcher) (stop func(), err error) {
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

// Ping implements driver.Tier.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, "Ping", "", func() func() { return nil })
}
