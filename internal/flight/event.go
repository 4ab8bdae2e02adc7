package flight

import (
	"context"
	"sync"
	"sync/atomic"
)

// event happens once. A channel is made only for those who wait for it: most flights have
// one caller, who finds that all has happened.
type event struct {
	is atomic.Bool
	ch chan struct{} // guarded by the lock that each method is given
}

func (e *event) happened() bool { return e.is.Load() }

func (e *event) happens(mu *sync.Mutex) {
	mu.Lock()
	defer mu.Unlock()
	e.happensLocked()
}

func (e *event) happensLocked() {
	e.is.Store(true)
	if e.ch != nil {
		close(e.ch)
	}
}

// channel returns a channel that is closed when the event has happened.
func (e *event) channel(mu *sync.Mutex) <-chan struct{} {
	mu.Lock()
	defer mu.Unlock()
	if e.ch == nil {
		if e.is.Load() {
			return closed
		}
		e.ch = make(chan struct{})
	}
	return e.ch
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// await waits until the event has happened, or ctx ends first.
func (e *event) await(ctx context.Context, mu *sync.Mutex) error {
	if e.happened() {
		return nil
	}
	select {
	case <-e.channel(mu):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
