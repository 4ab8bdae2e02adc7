package aside

import "sync/atomic"

// workers run functions in goroutines that they keep for a while: a new goroutine begins
// with a small stack, and what a batch does would have it copied to a larger one each time.
type workers struct {
	next chan func()
	end  <-chan struct{} // closed with the cache
	idle atomic.Int32
}

// idleWorkers is how many goroutines wait for the next function at most.
const idleWorkers = 32

func (w *workers) init(end <-chan struct{}) { w.next, w.end = make(chan func()), end }

// run runs f in a goroutine.
func (w *workers) run(f func()) {
	select {
	case w.next <- f:
	default:
		go w.work(f)
	}
}

func (w *workers) work(f func()) {
	for {
		f() // may end the goroutine
		if w.idle.Add(1) > idleWorkers {
			w.idle.Add(-1)
			return
		}
		select {
		case f = <-w.next:
			w.idle.Add(-1)
		case <-w.end:
			return
		}
	}
}
