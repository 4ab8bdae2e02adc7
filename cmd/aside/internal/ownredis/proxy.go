package ownredis

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// proxy passes connections on to a Unix socket.
type proxy struct {
	listener net.Listener
	socket   string
	running  sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

func newProxy(socket string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a port for Redis: %w", err)
	}
	p := &proxy{listener: l, socket: socket, conns: map[net.Conn]struct{}{}}
	p.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.running.Go(func() { p.serve(conn) })
		}
	})
	return p, nil
}

// Addr returns the address as host:port.
func (p *proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections, and new ones as they come, as if the server had died. The port
// stays this proxy's own.
func (p *proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for conn := range p.conns {
		_ = conn.Close()
	}
}

// Restore ends what Cut began.
func (p *proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.Cut()
	p.running.Wait()
}

// hold notes conn, so that Cut closes it.
func (p *proxy) hold(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *proxy) drop(conn net.Conn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	_ = conn.Close()
}

func (p *proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.hold(client) {
		return
	}
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.hold(server) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
	<-done
}
