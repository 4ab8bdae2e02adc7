package check

import (
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/gate"
)

// A node that hangs holds up its own clients alone. Caught: clients that chose a
// target anew for each operation, of which none went on after a moment.
func TestStickyClients(t *testing.T) {
	f := newFleet(t, 3)
	hang := gate.New(t)
	asked, enough := make(chan int, 1<<16), make(chan struct{})
	f.enter = func(q query) {
		if q.node == 1 && q.body.Name != "" && q.method == http.MethodPut {
			hang.Pass("node 1")
		}
		asked <- q.node
	}
	stop := make(chan struct{})
	ended := gate.Async(func() *Report {
		return mustRun(t, Config{Targets: f.urls, Clients: 6, Keys: 4, Writes: 0.5, Sticky: true, Stop: stop, Timeout: time.Minute})
	})
	// All clients of node 1 hang, and the others do a thousand operations more.
	for range 2 {
		gate.Await(t, "a client of node 1", hang.Arrived)
	}
	go func() {
		others := 0
		for node := range asked {
			if node == 1 {
				continue
			}
			if others++; others == 1000 {
				close(enough)
			}
		}
	}()
	gate.Await(t, "the others' operations", enough)
	close(stop)
	select {
	case <-ended:
		t.Fatal("it did not wait for what was under way")
	default:
	}
	hang.Open()
	report := gate.Await(t, "the end", ended)
	close(asked)
	if report.Interrupted || report.Unfinished != 0 || report.Failed != 0 || report.Operations < 1000 {
		t.Errorf("%d operations, %d failed, %d unfinished, interrupted: %v", report.Operations, report.Failed, report.Unfinished, report.Interrupted)
	}
}
