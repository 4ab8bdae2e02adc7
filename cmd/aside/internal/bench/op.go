package bench

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Op is the operation of a request.
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

// Method returns the HTTP method.
func (o Op) Method() string {
	return [...]string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete}[o]
}

// Mix has the shares of writes among the requests. The other requests are reads. All shares
// are from 0 to 1, and together at most 1. The zero Mix only reads.
type Mix struct {
	// Create creates a record with a new id.
	Create float64
	// Update changes the name of a record that the workload chooses.
	Update float64
	// Delete deletes a record that the run has created. If there is none, the request
	// creates one instead. Other records are never deleted.
	Delete float64
	// Own is the share of the reads and updates that go to a record that the run has
	// created, if there is one, instead of a record of the workload.
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
			errs = append(errs, fmt.Errorf("the share of %q must be 0 to 1, is %v", s.name, s.share))
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
