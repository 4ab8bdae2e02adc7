package check

import (
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/asidetest/testsync"
)

// Correct nodes break no promise. Records are created and deleted during the run, and none of
// them is left.
func TestHonestFleet(t *testing.T) {
	const operations = 10_000
	f := newFleet(t, 3)
	r := mustRun(t, Config{Targets: f.urls, Operations: operations, Keys: 3, Clients: 16, Life: 800})
	if err := r.Broken(); err != nil {
		t.Error(err, r.History.Violations)
	}
	if err := r.Unproven(); err != nil {
		t.Error(err)
	}
	if r.Failed != 0 || r.Operations != operations || r.Unfinished != 0 || r.Interrupted {
		t.Errorf("%d operations, %d unfinished, %v", r.Operations, r.Unfinished, r.Errors)
	}
	if n := r.History.Total() + r.Late; n != r.Operations {
		t.Errorf("%d operations in histories, of %d", n, r.Operations)
	}
	for kind, n := range r.History.Ops {
		if history.Kind(kind) != 0 && history.Kind(kind) != history.Drop && n < 5 {
			t.Errorf("%d operations of the kind %v", n, history.Kind(kind))
		}
	}
	for _, id := range f.remaining() {
		t.Errorf("%s was left", id)
	}
	for id := range f.records {
		if !strings.HasPrefix(id, r.Prefix) {
			t.Errorf("a record with the id %q, not %s...", id, r.Prefix)
		}
	}
}

// The run ends exactly after its number of operations, and the seed decides its choices.
// Caught: one operation too many.
func TestOperationsAndSeed(t *testing.T) {
	wants := func(seed uint64) string {
		f := newFleet(t, 2)
		var b strings.Builder
		f.enter = func(q query) { // one client, so one at a time
			id := q.body.ID[strings.LastIndex(q.body.ID, "-")+1:]
			fmt.Fprintln(&b, q.node, q.method, q.strong, id)
		}
		r := mustRun(t, Config{Targets: f.urls, Operations: 333, Clients: 1, Keys: 2, Life: 50, Seed: seed})
		if r.Operations != 333 || r.Config.Seed != seed && seed != 0 || r.Config.Seed == 0 {
			t.Errorf("%d operations, seed %d", r.Operations, r.Config.Seed)
		}
		return b.String()
	}
	seven, sevenAgain := wants(7), wants(7)
	if seven != sevenAgain {
		t.Error("the same seed made other choices")
	}
	none, noneAgain := wants(0), wants(0)
	if wants(8) == seven || none == noneAgain {
		t.Error("another seed made the same choices")
	}
}

// At the end of the duration no request begins, and running requests are finished: they are
// often the slowest. Caught: requests aborted at the end.
func TestDurationWaitsForResponses(t *testing.T) {
	f := newFleet(t, 1)
	held := testsync.NewGate(t)
	var asked atomic.Int64
	f.enter = func(query) {
		if n := asked.Add(1); n > 20 && n <= 23 {
			held.Pass("a request")
		}
	}
	done := testsync.Async(func() *Report {
		r, err := Run(t.Context(), Config{Targets: f.urls, Clients: 3, Keys: 2, Duration: time.Millisecond * 300})
		if err != nil {
			t.Error(err)
		}
		return r
	})
	for range 3 {
		testsync.Await(t, "requests", held.Arrived)
	}
	select {
	case <-done:
		t.Error("it did not wait")
	case <-time.After(500 * time.Millisecond): // longer than the run
	}
	held.Open()
	r := testsync.Await(t, "the report", done)
	if r.Unfinished != 0 || r.Interrupted || r.Failed != 0 || r.Elapsed < 300*time.Millisecond || r.Timeline.Between(0, 1<<60).Operations != r.Operations {
		t.Errorf("%+v", r)
	}
}

// A negative share means none.
func TestShares(t *testing.T) {
	f := newFleet(t, 2)
	r := mustRun(t, Config{Targets: f.urls, Operations: 500, Writes: -1, Strong: 1})
	if n := r.History.Ops[history.ReadDefault]; n != 0 {
		t.Errorf("%d default reads, of none", n)
	}
	if n := r.Latency["write"].Count; n != 0 || r.Latency["create"].Count == 0 {
		t.Errorf("%d writes, of none, %v", n, r.Latency)
	}
	r = mustRun(t, Config{Targets: f.urls, Operations: 500, Writes: 1, Strong: -1})
	if n := r.History.Ops[history.ReadStrong]; n != 0 || r.Latency["write"].Count < 100 {
		t.Errorf("%d strong reads, of none, %v", n, r.Latency)
	}
}

func TestValidateReportsAllMistakes(t *testing.T) {
	c := Config{
		Targets: []string{"http://user:secret@h/\x7f", "h", "http://a/b", "http://a/b/"}, Clients: -1, Keys: maxKeys + 1, Life: -1,
		Writes: 1.5, Strong: math.NaN(), Duration: -1, Operations: -1, Timeout: -1, Promises: []history.Promise{"P9"},
	}
	_, err := Run(t.Context(), c)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"target 1", "target 2", "target 4: http://a/b/ is given twice", "clients", "keys", "life", "writes", "strong", "duration", "operations", "timeout", `"P9"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if err := (&Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "target") {
		t.Errorf("no targets: %v", err)
	}
	if err := (&Config{Targets: []string{"http://h"}}).Validate(); err != nil {
		t.Error(err)
	}
}
