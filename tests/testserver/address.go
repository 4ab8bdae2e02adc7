package testserver

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Address is an address that stays while the server behind it changes, as a
// virtual IP or the name of a service does: new connections reach the new server,
// and those that are open stay with the old one.
type Address struct {
	l net.Listener

	mu    sync.Mutex
	to    string
	made  int
	conns map[net.Conn]bool // nil when it is closed
	done  sync.WaitGroup
}

// AddressOf starts an address of the server at to (host:port).
func AddressOf(t testing.TB, to string) *Address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &Address{l: l, to: to, conns: map[net.Conn]bool{}}
	a.done.Go(a.accept)
	t.Cleanup(func() {
		_ = l.Close()
		a.mu.Lock()
		for c := range a.conns {
			_ = c.Close()
		}
		a.conns = nil
		a.mu.Unlock()
		a.done.Wait()
	})
	return a
}

// Addr is host:port.
func (a *Address) Addr() string { return a.l.Addr().String() }

// Point has new connections go to another server.
func (a *Address) Point(to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to = to
}

// Made is how many connections were made.
func (a *Address) Made() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made
}

func (a *Address) accept() {
	for {
		c, err := a.l.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		to := a.to
		a.made++
		a.mu.Unlock()
		s, err := net.Dial("tcp", to)
		if err != nil {
			_ = c.Close()
			continue
		}
		a.mu.Lock()
		open := a.conns != nil
		if open {
			a.conns[c], a.conns[s] = true, true
		}
		a.mu.Unlock()
		if !open {
			_, _ = c.Close(), s.Close()
			return
		}
		pipe := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_, _ = to.Close(), from.Close()
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.conns, to)
			delete(a.conns, from)
		}
		a.done.Go(func() { pipe(c, s) })
		a.done.Go(func() { pipe(s, c) })
	}
}
