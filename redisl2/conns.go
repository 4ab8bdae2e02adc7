package redisl2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conns are the connections that rueidis has made. It makes a new one for the next
// command when one is closed, and fails the commands under way: so to close one is
// to leave the server behind an address for the one that is there now.
type conns struct {
	mu       sync.Mutex
	open     map[*conn]struct{}
	lastEnd  time.Time            // of a connection to a server, not to a sentinel
	leaveAt  map[string]time.Time // by address: not to be left before
	logAt    time.Time
	shutDown bool

	doubt doubt // whether one has to be waited for; not that of forOnce
	// gen counts what happens to connections to servers: that one is dialed, is there,
	// fails or ends. While it stays, each answer comes from a connection that was there.
	gen  atomic.Uint64
	used used
	// sole is the connection that was the only one when only was asked last. It may have gone.
	sole atomic.Pointer[conn]
}

// conn is one connection.
type conn struct {
	net.Conn
	of    *conns
	addr  string // as rueidis knows the server
	kind  connKind
	since atomic.Pointer[time.Time] // the server said something for the first time
	why   atomic.Pointer[error]     // it was left for

	shared shared
}

// read tells those whose commands were under way why the connection was left.
func (c *conn) read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.since.Load() == nil {
		now := time.Now()
		c.since.Store(&now)
	}
	if err != nil {
		c.raise()
		if why := c.why.Load(); why != nil {
			err = fmt.Errorf("redisl2: connection left: %w", *why)
		}
	}
	return n, err
}

func (c *conn) write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		c.raise()
	}
	return n, err
}

// raise raises the doubt before rueidis sees that the connection is lost.
func (c *conn) raise() {
	if c.kind != forOnce {
		c.of.doubt.raise()
	}
	if c.kind == toServer {
		c.of.gen.Add(1)
	}
}

type connKind uint8

const (
	toServer   connKind = iota
	toSentinel          // hears of nothing that L1 has to know
	forOnce             // see admit: neither tracks nor is left
)

// sentinelDial marks the dialer of sentinels, which rueidis calls with the same
// function as that of servers. It is what a nil Resolver is.
var sentinelDial = new(net.Resolver)

type dialFunc = func(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error)

// dial is rueidis' own way to connect.
func dial(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	if t == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	return (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, "tcp", addr)
}

// dialer returns a function for rueidis that connects with inner.
func (cs *conns) dialer(inner dialFunc, kind connKind) dialFunc {
	return func(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
		c := &conn{of: cs, addr: addr, kind: kind}
		if d.Resolver == sentinelDial {
			c.kind = toSentinel
		}
		c.raise()
		nc, err := inner(ctx, addr, d, t)
		if err != nil {
			return nil, err
		}
		c.Conn = nc
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if cs.shutDown {
			_ = nc.Close()
			return nil, errClosed
		}
		if cs.open == nil {
			cs.open = map[*conn]struct{}{}
		}
		cs.open[c] = struct{}{}
		if c.kind == toServer {
			cs.gen.Add(1)
		}
		return c, nil
	}
}

func (c *conn) Close() error {
	c.raise()
	c.of.mu.Lock()
	if _, ok := c.of.open[c]; ok {
		delete(c.of.open, c)
		if c.kind == toServer {
			c.of.lastEnd = time.Now()
		}
	}
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// since returns when the newest connection to addr was there to be used, if there
// is one.
func (cs *conns) since(addr string) (at time.Time, ok bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if c.addr == addr && c.kind == toServer {
			if since := c.since.Load(); since != nil {
				ok = true
				if since.After(at) {
					at = *since
				}
			}
		}
	}
	return at, ok
}

// only reports whether gen is of now, and there is one connection to servers: what was
// answered since gen was read was answered over that one.
func (cs *conns) only(gen uint64) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	var sole *conn
	for c := range cs.open {
		if c.kind != toServer {
			continue
		}
		if sole != nil {
			return false
		}
		sole = c
	}
	if sole == nil || cs.gen.Load() != gen {
		return false
	}
	cs.sole.Store(sole)
	return true
}

// leaveEvery bounds how often an address is left, on the average: the server there
// may be of no use for as long as an operator takes.
const leaveEvery = 500 * time.Millisecond

// leave closes the connections to addr, all with "", for a reason, and reports
// whether that is to be logged. rueidis tells the watchers of each that closes.
func (cs *conns) leave(addr string, why error) (left, log bool) {
	cs.mu.Lock()
	now := time.Now()
	var end []*conn
	for c := range cs.open {
		if c.kind == toServer && (addr == "" || c.addr == addr) && !now.Before(cs.leaveAt[c.addr]) {
			end = append(end, c)
		}
	}
	if cs.leaveAt == nil {
		cs.leaveAt = map[string]time.Time{}
	}
	for _, c := range end {
		cs.leaveAt[c.addr] = now.Add(leaveEvery/2 + rand.N(leaveEvery))
	}
	if log = len(end) > 0 && !now.Before(cs.logAt); log {
		cs.logAt = now.Add(10 * time.Second)
	}
	cs.mu.Unlock()
	for _, c := range end {
		c.why.Store(&why)
		_ = c.Close()
	}
	return len(end) > 0, log
}

// sentinelsOnly reports whether what has just been closed was a sentinel's
// connection: none to a server has been, for longer than rueidis takes to tell of
// that.
func (cs *conns) sentinelsOnly() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return time.Since(cs.lastEnd) > 10*time.Second
}

// end closes the connections that are no client's that will be closed.
func (cs *conns) end() {
	cs.mu.Lock()
	cs.shutDown = true
	var once []*conn
	for c := range cs.open {
		if c.kind == forOnce {
			once = append(once, c)
		}
	}
	cs.mu.Unlock()
	for _, c := range once {
		_ = c.Close()
	}
}

// onlyOnce returns f for a client that must not come to another server: from its
// second call on it fails.
func onlyOnce(f dialFunc) dialFunc {
	var mu sync.Mutex
	used := false
	return func(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if used {
			return nil, errors.New("redisl2: the connection was lost")
		}
		used = true
		return f(ctx, addr, d, t)
	}
}
