package check

import (
	"net/http"
	"strings"
	"sync"
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

// Every record is read at the default level, and some at no other. Caught: the
// same mixture for all, under which a node that is told of no change is never
// seen to be behind; a share of strong reads that is not the one asked for.
func TestRecordsWithoutStrongReads(t *testing.T) {
	for _, strong := range []float64{-1, 0.2, 0.5, 0.9, 1} {
		f := newFleet(t, 1)
		var mu sync.Mutex
		reads := map[string]*[2]int{} // by id, default and strong
		f.enter = func(q query) {
			if q.method != http.MethodGet {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			n := reads[q.body.ID]
			if n == nil {
				n = new([2]int)
				reads[q.body.ID] = n
			}
			if q.strong {
				n[1]++
			} else {
				n[0]++
			}
		}
		report := mustRun(t, Config{Targets: f.urls, Clients: 4, Keys: 4, Life: 200, Writes: 0.01, Strong: strong, Operations: 20_000, Seed: 1})
		var sum [2]int
		alone := 0
		for id, n := range reads {
			if !strings.HasPrefix(id, report.Prefix) || n[0]+n[1] < 50 {
				continue
			}
			sum[0], sum[1] = sum[0]+n[0], sum[1]+n[1]
			if n[1] == 0 {
				alone++
			}
			if n[0] == 0 && strong < 1 {
				t.Errorf("strong %v: %s was read %d times, always at level strong", strong, id, n[1])
			}
		}
		share := float64(sum[1]) / float64(sum[0]+sum[1])
		if want := max(strong, 0); share < want-0.1 || share > want+0.1 {
			t.Errorf("strong %v: the share of strong reads was %v", strong, share)
		}
		if strong < 0.9 && alone < len(reads)/10 {
			t.Errorf("strong %v: %d of %d records had no strong reads", strong, alone, len(reads))
		}
	}
}
