package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

// Errors break no promise and are counted by their kind. Caught: a write with unknown outcome
// missing in the history; a refused write in the history; a 404 of a proxy read as an
// absence; any 503, or a 408, counted as refused; a 404 of a write after the deletion counted
// as an error; a failed read in the history; a deletion of a record whose creation had an
// unknown outcome.
func TestErrorsAreNotViolations(t *testing.T) {
	// nowAndThen answers one in ten requests of a method.
	nowAndThen := func(method string, answer func(w http.ResponseWriter, q query)) func(http.ResponseWriter, query) bool {
		return func(w http.ResponseWriter, q query) bool {
			// The first requests are those of the probe.
			if q.method != method || !q.f.nth(method, 10) {
				return false
			}
			answer(w, q)
			return true
		}
	}
	cut := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }

	for name, tt := range map[string]struct {
		answer  func(w http.ResponseWriter, q query) bool
		request string // method that fails
		problem string // and how
		unknown bool
	}{
		"reads without a store": {nowAndThen("GET", func(w http.ResponseWriter, _ query) { problem(w, 503, "store_unavailable") }),
			"read", "status 503 store_unavailable", false},
		"reads that a proxy answers": {nowAndThen("GET", func(w http.ResponseWriter, _ query) { http.Error(w, "no such upstream", http.StatusNotFound) }),
			"read", "status 404", false},
		"reads that are cut off": {nowAndThen("GET", func(w http.ResponseWriter, _ query) { cut(w) }),
			"read", "closed without a response", false},
		"reads of something else": {nowAndThen("GET", func(w http.ResponseWriter, _ query) { fmt.Fprint(w, "<html>") }),
			"read", "malformed response", false},
		"reads without a version": {nowAndThen("GET", func(w http.ResponseWriter, q query) { fmt.Fprintf(w, `{"id":%q}`, q.body.ID) }),
			"read", "malformed response", false},
		"writes that are refused": {nowAndThen("PUT", func(w http.ResponseWriter, _ query) { problem(w, 503, "cache_unavailable") }),
			"write", "status 503 cache_unavailable", false},
		"writes that are malformed": {nowAndThen("PUT", func(w http.ResponseWriter, _ query) { problem(w, 422, "invalid") }),
			"write", "status 422 invalid", false},
		"writes of unknown outcome, not applied": {nowAndThen("PUT", func(w http.ResponseWriter, _ query) { problem(w, 504, "unknown_outcome") }),
			"write", "status 504 unknown_outcome", true},
		"writes of unknown outcome, applied": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); problem(w, 504, "unknown_outcome") }),
			"write", "status 504 unknown_outcome", true},
		"writes of unknown outcome, applied late": {nowAndThen("PUT", func(w http.ResponseWriter, q query) {
			q.f.after(50, q)
			problem(w, 504, "unknown_outcome")
		}), "write", "status 504 unknown_outcome", true},
		"writes not acknowledged": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); problem(w, 504, "unacknowledged") }),
			"write", "status 504 unacknowledged", true},
		"writes cut off, applied": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); cut(w) }),
			"write", "closed without a response", true},
		"writes cut off, not applied": {nowAndThen("PUT", func(w http.ResponseWriter, _ query) { cut(w) }),
			"write", "closed without a response", true},
		"writes that a proxy answers": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); http.Error(w, "bad gateway", http.StatusBadGateway) }),
			"write", "status 502", true},
		"writes that a proxy gave up": {nowAndThen("PUT", func(w http.ResponseWriter, q query) {
			q.write()
			http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		}),
			"write", "status 503", true},
		"writes that a proxy found slow": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); http.Error(w, "", http.StatusRequestTimeout) }),
			"write", "status 408", true},
		"writes that broke the server": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); problem(w, 500, "internal") }),
			"write", "status 500 internal", true},
		"writes answered with something else": {nowAndThen("PUT", func(w http.ResponseWriter, q query) { q.write(); fmt.Fprint(w, "ok") }),
			"write", "malformed response", true},
		"creations of unknown outcome, applied": {nowAndThen("POST", func(w http.ResponseWriter, q query) { q.write(); problem(w, 504, "unknown_outcome") }),
			"create", "status 504 unknown_outcome", true},
		"creations of unknown outcome, applied late": {nowAndThen("POST", func(w http.ResponseWriter, q query) {
			q.f.after(1500, q)
			problem(w, 504, "unknown_outcome")
		}), "create", "status 504 unknown_outcome", true},
		"creations that are refused": {nowAndThen("POST", func(w http.ResponseWriter, _ query) { problem(w, 503, "store_unavailable") }),
			"create", "status 503 store_unavailable", false},
		"deletions of unknown outcome, applied": {nowAndThen("DELETE", func(w http.ResponseWriter, q query) { q.write(); problem(w, 504, "unknown_outcome") }),
			"delete", "status 504 unknown_outcome", true},
		"deletions of unknown outcome, not applied": {nowAndThen("DELETE", func(w http.ResponseWriter, _ query) { problem(w, 504, "unknown_outcome") }),
			"delete", "status 504 unknown_outcome", true},
		"deletions that are refused": {nowAndThen("DELETE", func(w http.ResponseWriter, _ query) { problem(w, 503, "store_unavailable") }),
			"delete", "status 503 store_unavailable", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2)
			f.answer = tt.answer
			// Short lives mean many creations and deletions.
			r := mustRun(t, Config{Targets: f.urls, Operations: 2_500, Keys: 4, Clients: 16, Writes: 0.2, MaxStale: -1, Life: 60})
			if err := r.Broken(); err != nil {
				t.Error(err, r.History.Violations)
			}
			if err := r.Unproven(); err != nil {
				t.Error(err)
			}
			var failed, unknown int64
			for _, e := range r.Errors {
				if !strings.HasSuffix(e.Request, tt.request) || e.Problem != tt.problem || e.Count == 0 {
					t.Errorf("%+v", e)
				}
				failed += e.Count
				unknown += e.Unknown
			}
			if failed == 0 || r.Failed != failed || r.Targets[0].Failed+r.Targets[1].Failed != failed || r.Timeline.Between(0, r.Elapsed).Errors != failed {
				t.Errorf("%d failed, of them by target %+v, by kind %d", r.Failed, r.Targets, failed)
			}
			if want := map[bool]int64{true: failed}[tt.unknown]; unknown != want || r.History.Unknown != want {
				t.Errorf("%d of unknown outcome, %d in the histories, want %d", unknown, r.History.Unknown, want)
			}
			if n := r.History.Total() + r.Late + failed - unknown; n != r.Operations {
				t.Errorf("%d operations in histories, late or failed, of %d", n, r.Operations)
			}
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// If all responses are errors, there is no violation, and nothing was checked.
func TestOnlyErrors(t *testing.T) {
	f := newFleet(t, 2)
	f.answer = func(w http.ResponseWriter, q query) bool {
		if q.f.nth("any", 1); q.f.n["any"] <= 2 { // the probe
			return false
		}
		problem(w, 503, "store_unavailable")
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := Run(ctx, Config{Targets: f.urls, Clients: 4, Timeout: time.Second / 2, Progress: func(p Progress) {
		if p.Errors > 20 {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Broken(); err != nil || r.History.Total() != 0 {
		t.Errorf("%v, %d in histories", err, r.History.Total())
	}
	if err := r.Unproven(); err == nil || !strings.Contains(err.Error(), "nothing was checked") {
		t.Errorf("%v", err)
	}
	if r.Failed != r.Operations || r.Failed == 0 {
		t.Errorf("%d of %d failed", r.Failed, r.Operations)
	}
	if !slices.ContainsFunc(r.Left, func(id string) bool { return strings.HasPrefix(id, r.Prefix) }) {
		t.Error("it does not say which records it may have left")
	}
}

// If a node refuses all strong reads, no promise is broken, and none about strong reads is
// proven. Caught: the report said that they held.
func TestOnlyStrongReadsFail(t *testing.T) {
	f := newFleet(t, 1)
	f.answer = func(w http.ResponseWriter, q query) bool {
		if q.strong {
			problem(w, 503, "too_many_strong_reads")
			return true
		}
		return false
	}
	r := mustRun(t, Config{Targets: f.urls, Clients: 4, Operations: 400})
	if err := r.Broken(); err != nil || r.History.Strong.Reads != 0 || r.Targets[0].Default == 0 {
		t.Errorf("%v, %d strong reads; %+v", err, r.History.Strong.Reads, r.Targets)
	}
	err := r.Unproven()
	if err == nil || !strings.Contains(err.Error(), "nothing was checked about P2 strong reads: no strong read succeeded") || strings.Contains(err.Error(), "P3") {
		t.Errorf("%v", err)
	}
}

// If a node is never reached, no promise is broken, but the check is incomplete.
func TestOneNodeIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	f := newFleet(t, 1)
	c := Config{Targets: append(f.urls, "http://"+l.Addr().String()), Clients: 4, Operations: 200, Timeout: time.Second}
	r := mustRun(t, c)
	if err := r.Broken(); err != nil {
		t.Error(err)
	}
	if err := r.Unproven(); err == nil || !strings.Contains(err.Error(), c.Targets[1]) || strings.Contains(err.Error(), c.Targets[0]) {
		t.Errorf("%v", err)
	}
	for _, e := range r.Errors {
		if e.Target != 1 || e.Problem != "connection refused" || e.Unknown != 0 {
			t.Errorf("%+v", e)
		}
	}
	if r.Targets[1].Failed == 0 || r.Targets[1].Latency.Count != 0 || r.Targets[0].Latency.Count == 0 {
		t.Errorf("%+v", r.Targets)
	}
}

// When the context ends, running requests are aborted, and the history until then is checked
// and reported. Aborted writes may have been applied. Caught: aborted requests counted as
// errors; aborted writes missing in the history, so that reads saw unknown writes; records
// that were not deleted.
func TestCancel(t *testing.T) {
	const clients = 8
	f := newFleet(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held := testsync.NewGate(t)
	var asked atomic.Int64
	f.enter = func(q query) {
		// The other clients continue to read until they write too.
		if asked.Add(1) > 500 && q.method == "PUT" {
			f.apply(q)
			held.Pass("a write")
		}
	}
	done := testsync.Async(func() *Report {
		r, err := Run(ctx, Config{Targets: f.urls, Clients: clients, Keys: 2, Writes: 0.1, Life: 10_000})
		if err != nil {
			t.Error(err)
		}
		return r
	})
	for range clients {
		testsync.Await(t, "writes", held.Arrived)
	}
	cancel()
	r := testsync.Await(t, "the report", done)
	if err := cmp.Or(r.Broken(), r.Unproven()); err != nil {
		t.Error(err, r.History.Violations)
	}
	if !r.Interrupted || r.Unfinished != clients || r.Failed != 0 || r.History.Unknown != clients {
		t.Errorf("interrupted %v, %d unfinished, %d failed, %d unknown", r.Interrupted, r.Unfinished, r.Failed, r.History.Unknown)
	}
	if n := r.History.Total() - r.History.Unknown; n != r.Operations || n < 400 {
		t.Errorf("%d operations in histories, of %d", n, r.Operations)
	}
	for _, id := range f.remaining() {
		t.Errorf("%s was left", id)
	}
}

// A client starts nothing once the context has ended, even if the end has not yet reached
// the context of new operations. Caught: operations that began after the end and counted as
// aborted.
func TestCancelStartsNothing(t *testing.T) {
	r := &run{Config: Config{Operations: 1}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c := &client{run: r, caller: newCaller(nil, time.Second)}
	c.loop(ended, t.Context())
	if n := r.begun.Load(); n != 0 {
		t.Errorf("%d operations began", n)
	}
}

// If the context ended before the first request, the targets are not to blame.
func TestCancelledBefore(t *testing.T) {
	f := newFleet(t, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("it was enough")
	cancel(why)
	if r, err := Run(ctx, Config{Targets: f.urls}); !errors.Is(err, why) || r != nil {
		t.Errorf("%+v, %v", r, err)
	}
}
