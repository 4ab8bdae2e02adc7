// Package testsync helps tests to force an interleaving and to wait for it, without
// sleeping.
package testsync

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, on the slowest machine.
const patience = 20 * time.Second

// Gate stops the goroutines that come to it until it is opened.
type Gate struct {
	Arrived chan string // what the goroutines that came were called
	open    chan struct{}
	once    sync.Once
}

// NewGate returns a closed gate, which the end of the test opens.
func NewGate(t testing.TB) *Gate {
	g := &Gate{Arrived: make(chan string, 1024), open: make(chan struct{})}
	t.Cleanup(g.Open)
	return g
}

// Pass waits until the gate is open.
func (g *Gate) Pass(name string) {
	g.Arrived <- name
	<-g.open
}

// First returns a function that stops only its first caller at the gate.
func (g *Gate) First() func(name string) {
	var n atomic.Int64
	return func(name string) {
		if n.Add(1) == 1 {
			g.Pass(name)
		}
	}
}

// Open lets everybody through, from now on.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// Await returns what comes out of ch, or fails the test if nothing does.
func Await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// Async runs f in a goroutine and returns the channel that its result comes on.
func Async[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}

// Eventually waits for a condition that other goroutines, or servers, bring
// about, or fails the test.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Poll(patience, ok) {
		t.Fatalf("never happened: %s", what)
	}
}

// Poll reports whether cond came true within limit. It asks often at first.
func Poll(limit time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(limit)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
	}
}
