package aside

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// At most idleWorkers goroutines stay, they run what comes next, and they end with the
// cache. Caught: goroutines that stay without bound, or stay behind; one that ends with the
// function that has ended its goroutine, and is counted for ever.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		var w workers
		end := make(chan struct{})
		w.init(end)
		var ran atomic.Int32
		burst := func(n int, f func()) {
			gate := make(chan struct{})
			var all sync.WaitGroup
			all.Add(n)
			for range n {
				w.run(func() {
					defer all.Done()
					<-gate
					ran.Add(1)
					f()
				})
			}
			synctest.Wait()
			close(gate)
			all.Wait()
			synctest.Wait()
		}
		burst(3*idleWorkers, runtime.Goexit)
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d goroutines after functions that end theirs", n)
		}
		for range 3 {
			burst(3*idleWorkers, func() {})
			if n := runtime.NumGoroutine() - before; n != idleWorkers {
				t.Errorf("%d goroutines stay", n)
			}
		}
		burst(1, func() {})
		if n := runtime.NumGoroutine() - before; n != idleWorkers {
			t.Errorf("%d goroutines after one more function", n)
		}
		if ran.Load() != 12*idleWorkers+1 {
			t.Errorf("%d functions ran", ran.Load())
		}
		close(end)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d goroutines at the end", n)
		}
		burst(2, func() {})
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d goroutines after the end", n)
		}
	})
}
