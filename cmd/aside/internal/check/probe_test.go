package check

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
)

// mustFail runs a check that must fail with a TargetError.
func mustFail(t *testing.T, c Config) *TargetError {
	t.Helper()
	r, err := Run(t.Context(), c)
	var e *TargetError
	if !errors.As(err, &e) || r != nil {
		t.Fatalf("%+v, %v; want a TargetError", r, err)
	}
	return e
}

// Targets with different databases are detected at once, in any order, and no record is left
// in a database. Caught: records were deleted only in the first database.
func TestDatabasesApart(t *testing.T) {
	a, b := newFleet(t, 2), newFleet(t, 1)
	for name, targets := range map[string][]string{
		"the last":   {a.urls[0], a.urls[1], b.urls[0]},
		"the first":  {b.urls[0], a.urls[0], a.urls[1]},
		"the middle": {a.urls[0], b.urls[0], a.urls[1]},
	} {
		e := mustFail(t, Config{Targets: targets})
		if !slices.Contains(targets, e.URL) || !strings.Contains(e.Text, "does not share a database with "+targets[0]) {
			t.Errorf("%s: %v", name, e)
		}
		if len(a.remaining())+len(b.remaining()) > 0 {
			t.Errorf("%s: %v and %v were left", name, a.remaining(), b.remaining())
		}
	}
	if a.asked > 30 {
		t.Errorf("%d requests", a.asked)
	}
}

func TestNoTodoAPI(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, _ query) bool{
		"another path":    func(w http.ResponseWriter, _ query) bool { problem(w, 404, "no_such_path"); return true },
		"a page":          func(w http.ResponseWriter, _ query) bool { _, err := w.Write([]byte("<html>")); return err == nil },
		"another API":     func(w http.ResponseWriter, _ query) bool { w.WriteHeader(201); return true },
		"a redirect":      func(w http.ResponseWriter, _ query) bool { w.WriteHeader(307); return true },
		"a password":      func(w http.ResponseWriter, _ query) bool { w.WriteHeader(401); return true },
		"a refused write": func(w http.ResponseWriter, _ query) bool { problem(w, 422, "invalid"); return true },
	} {
		f := newFleet(t, 1)
		f.answer = answer
		if e := mustFail(t, Config{Targets: f.urls}); e.URL != f.urls[0] || !strings.Contains(e.Text, "not a todo API") {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// A target that hangs, or whose responses tell nothing, delays the probe of the others only
// briefly, and only this target is reported. Caught: a fixed order of targets, so that the
// others never had their turn; responses after an unknown outcome used as a proof.
func TestOneTargetSaysNothing(t *testing.T) {
	for name, enter := range map[string]func(g *testsync.Gate, q query){
		"it hangs":    func(g *testsync.Gate, _ query) { g.Pass("a request") },
		"it cuts off": func(*testsync.Gate, query) { panic(http.ErrAbortHandler) },
		"it hangs, and writes": func(g *testsync.Gate, q query) {
			if q.method == "POST" {
				q.f.apply(q)
			}
			g.Pass("a request")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3)
			held := testsync.NewGate(t)
			f.enter = func(q query) {
				if q.node == 0 {
					q.f = f
					enter(held, q)
				}
			}
			r := mustRun(t, Config{Targets: f.urls, Operations: 30, Clients: 4, Timeout: time.Second})
			if err := r.Broken(); err != nil {
				t.Error(err, r.History.Violations)
			}
			err := r.Unshared
			if err == nil || !strings.Contains(err.Error(), f.urls[0]) || strings.Contains(err.Error(), f.urls[1]) || strings.Contains(err.Error(), f.urls[2]) {
				t.Errorf("%v", err)
			}
			if r.Apart != nil {
				t.Error(r.Apart)
			}
		})
	}
}

// A target fails at first and later turns out to have a different database. It breaks no
// promise, since it is not part of the system. Caught: many violations were reported.
func TestDatabasesApartSeenLate(t *testing.T) {
	a, b := newFleet(t, 1), newFleet(t, 1)
	b.answer = func(w http.ResponseWriter, q query) bool {
		if q.method == "POST" && a.known() < 400 {
			problem(w, 503, "store_unavailable")
			return true
		}
		return false
	}
	r := mustRun(t, Config{Targets: []string{a.urls[0], b.urls[0]}, Operations: 1200, Clients: 4, Timeout: time.Second})
	if r.History.Violated() == 0 {
		t.Error("absent at one target and there at the other, and nothing was seen of it")
	}
	if err := r.Broken(); err != nil {
		t.Error(err)
	}
	if err := r.Unproven(); err == nil || err != r.Apart || !strings.Contains(err.Error(), b.urls[0]) {
		t.Errorf("%v, %v", err, r.Apart)
	}
	if len(a.remaining())+len(b.remaining()) > 0 {
		t.Errorf("%v and %v were left", a.remaining(), b.remaining())
	}
}

// known returns the number of requests so far.
func (f *fleet) known() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked
}
