package aside

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever is in holds the end up, and whoever comes later does not get in.
func TestLife(t *testing.T) {
	var l life
	l.init()
	if !l.enter() {
		t.Fatal("not let in")
	}
	l.more(2)
	l.leave(1)
	if !l.close() || l.close() {
		t.Error("the first close is not the first, or the second is")
	}
	<-l.closing
	if l.enter() {
		t.Error("let in after the end")
	}
	select {
	case <-l.idle:
		t.Error("idle, though two are in")
	default:
	}
	l.leave(2)
	<-l.idle
	if l.enter() {
		t.Error("let in after the end")
	}

	var none life
	none.init()
	none.close()
	<-none.idle
}

// The last one leaves while others find that they have come too late.
// Caught: those just counted out again, so that nobody tells of the end.
func TestLastOneLeavesWhileOthersCome(t *testing.T) {
	for range 200 {
		var l life
		l.init()
		l.enter()
		l.close()
		var coming, done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !done.Load() {
				l.enter()
				coming.Store(true)
			}
		})
		for !coming.Load() {
			runtime.Gosched()
		}
		l.leave(1)
		done.Store(true)
		wg.Wait()
		select {
		case <-l.idle:
		default:
			t.Fatal("nothing runs, and nobody has told")
		}
	}
}
