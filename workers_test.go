package aside

import (
	"runtime"
	"strings"
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
		if n := workersOfTest(); n != 0 {
			t.Errorf("%d goroutines after functions that end theirs", n)
		}
		for range 3 {
			burst(3*idleWorkers, func() {})
			if n := workersOfTest(); n != idleWorkers {
				t.Errorf("%d goroutines stay", n)
			}
		}
		burst(1, func() {})
		if n := workersOfTest(); n != idleWorkers {
			t.Errorf("%d goroutines after one more function", n)
		}
		if ran.Load() != 12*idleWorkers+1 {
			t.Errorf("%d functions ran", ran.Load())
		}
		close(end)
		synctest.Wait()
		if n := workersOfTest(); n != 0 {
			t.Errorf("%d goroutines at the end", n)
		}
		burst(2, func() {})
		if n := workersOfTest(); n != 0 {
			t.Errorf("%d goroutines after the end", n)
		}
	})
}

// workersOfTest counts the goroutines of workers in this test's bubble. All goroutines of
// the process would be more: those of other tests come and go.
func workersOfTest() (n int) {
	stacks := make([]byte, 1<<20)
	for s := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		head, _, _ := strings.Cut(s, "\n")
		if strings.Contains(head, "synctest bubble") && strings.Contains(s, "(*workers).work(") {
			n++
		}
	}
	return n
}
