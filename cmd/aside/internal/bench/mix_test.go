package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// records is a correct server: existing records can be read and changed, deleted ones are
// absent.
type records struct {
	mu      sync.Mutex
	names   map[string]string
	ops     map[string]int // by method, and "own" for those on records of a run
	updates map[string]bool
	faults  []string
}

func newRecords(first, last int) *records {
	s := &records{names: map[string]string{}, ops: map[string]int{}, updates: map[string]bool{}}
	for id := first; id <= last; id++ {
		s.names[fmt.Sprint(id)] = "n"
	}
	return s
}

func (s *records) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/todos"), "/")
	s.ops[r.Method]++
	if strings.HasPrefix(id, "bench-") {
		s.ops["own "+r.Method]++
	}
	var body struct{ ID, Name string }
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Content-Type") != "application/json" || body.Name == "" {
			s.faults = append(s.faults, fmt.Sprintf("%s %s: %v, %q, %+v", r.Method, r.URL, err, r.Header.Get("Content-Type"), body))
		}
	} else if r.ContentLength > 0 || r.Header.Get("Content-Type") != "" {
		s.faults = append(s.faults, fmt.Sprintf("%s %s has a body of %d", r.Method, r.URL, r.ContentLength))
	}
	w.Header().Set("Cache-Status", "aside; hit; detail=L1")
	_, exists := s.names[id]
	switch {
	case r.Method == http.MethodPost:
		if _, taken := s.names[body.ID]; taken || id != "" || !strings.HasPrefix(body.ID, "bench-") {
			s.faults = append(s.faults, fmt.Sprintf("POST %s of %q", r.URL, body.ID))
		}
		s.names[body.ID] = body.Name
		w.WriteHeader(http.StatusCreated)
	case !exists:
		http.Error(w, "Item not found", http.StatusNotFound)
	case r.Method == http.MethodPatch:
		if s.updates[body.Name] {
			s.faults = append(s.faults, "an update that changes nothing: "+body.Name)
		}
		s.updates[body.Name] = true
		s.names[id] = body.Name
	case r.Method == http.MethodDelete:
		if !strings.HasPrefix(id, "bench-") {
			s.faults = append(s.faults, "DELETE of "+id)
		}
		delete(s.names, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *records) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names)
}

// The shares of operations are right, only records of the run are deleted, no request fails
// because another user deletes the record, and all created records are deleted at the end.
// Caught: deletions of the workload's ids; a failure because a record was being deleted; the
// body of a write sent with the next read; an update to the same name; a cleanup without the
// records whose deletion had failed.
func TestMix(t *testing.T) {
	const n = 8_000
	s := newRecords(1, 50)
	url, _ := serve(t, s.ServeHTTP)
	r := mustRun(t, t.Context(), Config{
		URL: url, Users: 8, Requests: n, Workload: uniform(1, 50, 1), Seed: 1,
		Mix: Mix{Create: 0.1, Update: 0.2, Delete: 0.08, Own: 0.5},
	})
	if r.Failures() != 0 || r.Requests() != n {
		t.Errorf("%d requests, failed %v", r.Requests(), r.Failed)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		t.Error(f)
	}
	if len(s.names) != 50 || r.Created.Left != 0 {
		t.Errorf("%d records remain of 50 that were there, %d are reported", len(s.names), r.Created.Left)
	}
	created := r.Latency(Create).Count()
	for op, want := range map[Op]float64{Read: 0.62, Create: 0.1, Update: 0.2, Delete: 0.08} {
		got := float64(r.Latency(op).Count()) / n
		if math.Abs(got-want) > 0.035 { // 6 standard deviations
			t.Errorf("%.3f of the requests %s, want %v", got, op, want)
		}
		if op != Delete && int64(s.ops[op.Method()]) != r.Latency(op).Count() {
			t.Errorf("the server saw %d of %s, the report has %d", s.ops[op.Method()], op, r.Latency(op).Count())
		}
	}
	if int64(s.ops["DELETE"]) != created { // including those of the cleanup
		t.Errorf("%d records were created and %d deleted", created, s.ops["DELETE"])
	}
	for _, method := range []string{"GET", "PATCH"} {
		if share := float64(s.ops["own "+method]) / float64(s.ops[method]); math.Abs(share-0.5) > 0.08 {
			t.Errorf("%.3f of all %s went to records of the run, want 0.5", share, method)
		}
	}
	if n := r.Hits(TierL1); n != r.Latency(Read).Count() {
		t.Errorf("%d hits of %d reads", n, r.Latency(Read).Count())
	}
}

func TestKeepCreated(t *testing.T) {
	s := newRecords(1, 5)
	url, _ := serve(t, s.ServeHTTP)
	r := mustRun(t, t.Context(), Config{URL: url, Users: 2, Requests: 20, Workload: uniform(1, 5, 1), Mix: Mix{Create: 1}, KeepCreated: true})
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) != 25 || r.Created.Left != 20 || s.ops["DELETE"] != 0 {
		t.Errorf("%d records of 25, %d reported as left", len(s.names), r.Created.Left)
	}
	for id := range s.names {
		if len(id) > 1 && !strings.HasPrefix(id, r.Created.Prefix) {
			t.Errorf("id %s, and the prefix is %s", id, r.Created.Prefix)
		}
	}
}

// An interrupted run cleans up too, including records that an aborted request may have
// created. It reports what it could not delete. Caught: a cleanup with the context that had
// ended.
func TestCleanUpAfterAnInterrupt(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		s := newRecords(1, 5)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		posts := 0
		held := make(chan struct{})
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete && refuse {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			s.ServeHTTP(w, r)
			if r.Method == http.MethodPost {
				if posts++; posts == 10 {
					cancel()
					<-held
				}
			}
		})
		r := mustRun(t, ctx, Config{URL: url, Users: 1, Workload: uniform(1, 5, 1), Mix: Mix{Create: 1}})
		close(held)
		want, left := 5, int64(0)
		if refuse {
			want, left = 15, 10
		}
		if !r.Interrupted || r.Succeeded != 9 || r.Unfinished != 1 || r.Created.Left != left || s.len() != want {
			t.Errorf("interrupted %v, succeeded %d, unfinished %d, left %d, %d records; want true, 9, 1, %d, %d",
				r.Interrupted, r.Succeeded, r.Unfinished, r.Created.Left, s.len(), left, want)
		}
	}
}

// The same seed makes the same operations. Caught: operations and ids from one random source.
func TestMixIsRepeatable(t *testing.T) {
	ops := func(seed uint64) map[string]int {
		s := newRecords(1, 1000)
		url, a := serve(t, s.ServeHTTP)
		mustRun(t, t.Context(), Config{URL: url, Users: 1, Requests: 300, Workload: uniform(1, 1000, 5), Seed: seed, Mix: Mix{Update: 0.3}})
		return a.paths
	}
	first, again, other := fmt.Sprint(ops(1)), fmt.Sprint(ops(1)), fmt.Sprint(ops(2))
	if first != again || first == other {
		t.Errorf("equal with the same seed: %v, with another: %v", first == again, first == other)
	}
}

// The choice of the operation does not depend on the existing records. Caught: one random
// source for operations and for created records.
func TestOperationsDoNotDependOnRecords(t *testing.T) {
	methods := func(own float64) string {
		s := newRecords(1, 100)
		var b strings.Builder
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			b.WriteString(r.Method + " ")
			s.mu.Unlock()
			s.ServeHTTP(w, r)
		})
		mustRun(t, t.Context(), Config{
			URL: url, Users: 1, Requests: 300, Workload: uniform(1, 100, 1), KeepCreated: true,
			Mix: Mix{Create: 0.2, Update: 0.2, Delete: 0.1, Own: own},
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		return b.String()
	}
	if a, b := methods(0), methods(0.7); a != b {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestMixMistakes(t *testing.T) {
	for _, m := range []Mix{{Create: -0.1}, {Update: 1.1}, {Delete: math.NaN()}, {Own: 2}, {Create: 0.5, Update: 0.4, Delete: 0.2}} {
		if m.validate() == nil {
			t.Errorf("%+v is accepted", m)
		}
	}
	if err := (Mix{Create: 0.1, Update: 0.2, Delete: 0.7}).validate(); err != nil {
		t.Error(err)
	}
	for want, m := range map[string]Mix{
		"reads only":                         {},
		"80 % read, 5 % create, 15 % update": {Create: 0.05, Update: 0.15},
		"90 % read, 5 % create, 5 % delete, 10 % of reads and updates on created records": {Create: 0.05, Delete: 0.05, Own: 0.1},
	} {
		if got := m.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
