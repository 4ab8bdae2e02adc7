package check

import (
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

// A node that hangs delays only its own clients. Caught: clients that chose a target for each
// operation, so that soon all of them hung.
func TestStickyClients(t *testing.T) {
	f := newFleet(t, 3)
	hang := testsync.NewGate(t)
	asked, enough := make(chan int, 1<<16), make(chan struct{})
	f.enter = func(q query) {
		if q.node == 1 && q.body.Name != "" && q.method == http.MethodPut {
			hang.Pass("node 1")
		}
		asked <- q.node
	}
	stop := make(chan struct{})
	ended := testsync.Async(func() *Report {
		r, err := Run(t.Context(), Config{Targets: f.urls, Clients: 6, Keys: 4, Writes: 0.5, Sticky: true, Stop: stop, Timeout: time.Minute})
		if err != nil {
			t.Error(err)
		}
		return r
	})
	// All clients of node 1 hang, and the others do another thousand operations.
	for range 2 {
		testsync.Await(t, "a client of node 1", hang.Arrived)
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
	testsync.Await(t, "the others' operations", enough)
	close(stop)
	select {
	case <-ended:
		t.Fatal("it did not wait for what was under way")
	default:
	}
	hang.Open()
	report := testsync.Await(t, "the end", ended)
	close(asked)
	if report.Interrupted || report.Unfinished != 0 || report.Failed != 0 || report.Operations < 1000 {
		t.Errorf("%d operations, %d failed, %d unfinished, interrupted: %v", report.Operations, report.Failed, report.Unfinished, report.Interrupted)
	}
}

// Some records get only default reads, and the overall share of strong reads is right.
// Caught: the same mixture for all records, with which a node without invalidations was never
// detected.
func TestRecordsWithoutStrongReads(t *testing.T) {
	f := newFleet(t, 1)
	reads := map[string]*[2]int{} // by id, default and strong
	f.answer = func(_ http.ResponseWriter, q query) bool {
		if q.method == http.MethodGet {
			if reads[q.body.ID] == nil {
				reads[q.body.ID] = new([2]int)
			}
			if q.strong {
				reads[q.body.ID][1]++
			} else {
				reads[q.body.ID][0]++
			}
		}
		return false
	}
	// 7 keys: with a multiple of 3 it would always be the records of the same slots.
	mustRun(t, Config{Targets: f.urls, Clients: 4, Keys: 7, Life: 200, Writes: 0.05, Strong: 0.5, Operations: 5_000})
	var sum [2]int
	alone, records := 0, 0
	for _, n := range reads {
		sum[0], sum[1] = sum[0]+n[0], sum[1]+n[1]
		if n[0]+n[1] >= 50 {
			records++
			if n[1] == 0 {
				alone++
			}
		}
	}
	if share := float64(sum[1]) / float64(sum[0]+sum[1]); share < 0.35 || share > 0.65 {
		t.Errorf("%d default and %d strong reads", sum[0], sum[1])
	}
	if alone < records/6 || alone > records/2 {
		t.Errorf("%d of %d records had no strong reads", alone, records)
	}
}
