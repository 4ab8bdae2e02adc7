// Package testsync helps tests of concurrent code: they stop goroutines at a chosen
// point, and wait for what must happen, without sleeping.
package testsync

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, on the slowest machine.
const patience = 20 * time.Second

// Gate stops goroutines that call Pass until it is opened.
type Gate struct {
	// Arrived gets the name of each goroutine that calls Pass.
	Arrived chan string
	open    chan struct{}
	once    sync.Once
}

// NewGate returns a closed gate. It is opened at the end of the test, if not before.
func NewGate(t testing.TB) *Gate {
	g := &Gate{Arrived: make(chan string, 1024), open: make(chan struct{})}
	t.Cleanup(g.Open)
	return g
}

// Pass sends name to Arrived and waits until the gate is open.
func (g *Gate) Pass(name string) {
	g.Arrived <- name
	<-g.open
}

// First returns a function that calls Pass for its first caller only.
func (g *Gate) First() func(name string) {
	var n atomic.Int64
	return func(name string) {
		if n.Add(1) == 1 {
			g.Pass(name)
		}
	}
}

// Open opens the gate for good.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// Await receives from ch. It fails the test if nothing arrives within 20 seconds.
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

// Async runs f in a goroutine and returns a channel that gets its result.
func Async[T any](f func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- f() }()
	return ch
}

// Eventually waits until ok returns true. It fails the test after 20 seconds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Poll(patience, ok) {
		t.Fatalf("never happened: %s", what)
	}
}

// Poll calls cond until it returns true, and reports whether it did within limit.
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
