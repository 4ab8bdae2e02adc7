// Package roundtrips counts round trips from the outside: it stands between a
// client and Redis, and sees how often the client speaks after it was spoken to.
package roundtrips

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy forwards connections to one server.
type Proxy struct {
	upstream string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}

	trips atomic.Int64
	bytes atomic.Int64 // in both directions; that they no longer grow means quiet
}

// Listen starts a proxy in front of upstream (host:port).
func Listen(upstream string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{upstream: upstream, listener: l, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the address to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Trips is how many round trips were begun. Whatever a client sends before it is
// answered belongs to one; what it sends on two connections at once are two.
func (p *Proxy) Trips() int64 { return p.trips.Load() }

// Quiet returns when nothing has passed for as long as calm, or after limit.
func (p *Proxy) Quiet(calm, limit time.Duration) {
	last, since := p.bytes.Load(), time.Now()
	for end := since.Add(limit); time.Now().Before(end) && time.Since(since) < calm; {
		time.Sleep(calm / 8)
		if now := p.bytes.Load(); now != last {
			last, since = now, time.Now()
		}
	}
}

// Close ends all connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil // closed: no more are kept
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// keep registers connections that Close must close; false: it was called.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.conns == nil {
			return false
		}
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(client, server) {
		return
	}
	var asked atomic.Bool // the client spoke last
	var answers sync.WaitGroup
	answers.Go(func() {
		p.forward(client, server, func() { asked.Store(false) })
	})
	p.forward(server, client, func() {
		if !asked.Swap(true) {
			p.trips.Add(1)
		}
	})
	answers.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// forward copies until either side ends, and then ends both.
func (p *Proxy) forward(to, from net.Conn, seen func()) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			// Before it is passed on, since the answer may come at once.
			seen()
			p.bytes.Add(int64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
