package bench

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Op is what a request does.
type Op uint8

// The operations.
const (
	Read   Op = iota // GET URL/ID
	Create           // POST URL
	Update           // PATCH URL/ID
	Delete           // DELETE URL/ID
	ops
)

// Ops lists the operations.
func Ops() []Op { return []Op{Read, Create, Update, Delete} }

func (o Op) String() string { return [...]string{"read", "create", "update", "delete"}[o] }

// Method is the one of HTTP.
func (o Op) Method() string {
	return [...]string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete}[o]
}

// Mix says what share of the requests writes; the others read. All are from 0 to
// 1, together at most 1. The zero Mix only reads.
type Mix struct {
	// Create makes a record under an id of the run's own.
	Create float64
	// Update changes the name of the record that the workload picks.
	Update float64
	// Delete removes a record that the run has created; while there is none, one
	// is created instead. Other records are never deleted.
	Delete float64
	// Own is the share of the reads and updates that go to a record which the
	// run has created, if there is one, rather than to one of the workload's.
	Own float64
}

func (m Mix) writes() bool { return m.Create > 0 || m.Update > 0 || m.Delete > 0 }

func (m Mix) validate() error {
	var errs []error
	for _, s := range []struct {
		name  string
		share float64
	}{{"create", m.Create}, {"update", m.Update}, {"delete", m.Delete}, {"own", m.Own}} {
		if !(s.share >= 0 && s.share <= 1) { // NaN too
			errs = append(errs, fmt.Errorf("the share %q must be 0 to 1, is %v", s.name, s.share))
		}
	}
	if sum := m.Create + m.Update + m.Delete; len(errs) == 0 && sum > 1+1e-9 {
		errs = append(errs, fmt.Errorf("the shares of create, update and delete must not be more than 1 together, are %v", sum))
	}
	return errors.Join(errs...)
}

func (m Mix) String() string {
	if !m.writes() {
		return "reads only"
	}
	parts := []string{percent(max(1-m.Create-m.Update-m.Delete, 0), "read")}
	for _, p := range []struct {
		op    Op
		share float64
	}{{Create, m.Create}, {Update, m.Update}, {Delete, m.Delete}} {
		if p.share > 0 {
			parts = append(parts, percent(p.share, p.op.String()))
		}
	}
	if m.Own > 0 && m.Create+m.Delete > 0 {
		parts = append(parts, percent(m.Own, "of reads and updates on created records"))
	}
	return strings.Join(parts, ", ")
}

func percent(share float64, what string) string { return fmt.Sprintf("%.4g %% %s", 100*share, what) }
