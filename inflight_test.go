package aside

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Whoever is in holds the end up, and whoever comes later does not get in.
func TestInflight(t *testing.T) {
	var l inflight
	l.init()
	if !l.begin() {
		t.Fatal("not let in")
	}
	l.add(2)
	l.done(1)
	if !l.close() || l.close() {
		t.Error("the first close is not the first, or the second is")
	}
	<-l.closing
	if l.begin() {
		t.Error("let in after the end")
	}
	select {
	case <-l.idle:
		t.Error("idle, though two are in")
	default:
	}
	l.done(2)
	<-l.idle
	if l.begin() {
		t.Error("let in after the end")
	}

	var none inflight
	none.init()
	none.close()
	<-none.idle
}

// The last one leaves while others find that they have come too late.
// Caught: those just counted out again, so that nobody tells of the end.
func TestInflightCloseRacesWithBegin(t *testing.T) {
	for range 200 {
		var l inflight
		l.init()
		l.begin()
		l.close()
		var coming, done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for !done.Load() {
				l.begin()
				coming.Store(true)
			}
		})
		for !coming.Load() {
			runtime.Gosched()
		}
		l.done(1)
		done.Store(true)
		wg.Wait()
		select {
		case <-l.idle:
		default:
			t.Fatal("nothing runs, and nobody has told")
		}
	}
}
