package check

import (
	"strings"
	"testing"

	"github.com/asidecache/aside/internal/history"
)

// Nodes that answer as they should break nothing, records are created and
// deleted during the run, and none of them stays.
func TestHonestFleet(t *testing.T) {
	f := newFleet(t, 3)
	r := mustRun(t, Config{Targets: f.urls, Operations: 20_000, Keys: 3, Clients: 16})
	if err := r.Broken(); err != nil {
		t.Error(err, r.History.Violations)
	}
	if err := r.Unproven(); err != nil {
		t.Error(err)
	}
	if r.Failed != 0 || r.Operations != 20_000 || r.Unfinished != 0 || r.Interrupted {
		t.Errorf("%d operations, %d unfinished, %v", r.Operations, r.Unfinished, r.Errors)
	}
	if n := r.History.Total() + r.Late; n != r.Operations {
		t.Errorf("%d operations in histories, of %d", n, r.Operations)
	}
	for kind, n := range r.History.Ops {
		if history.Kind(kind) != 0 && n < 5 {
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
