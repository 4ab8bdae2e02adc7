package check

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// Report is what a run saw.
type Report struct {
	Config Config // with its defaults, and the seed that was used
	Prefix string // of the ids of the run's records

	Start       time.Time     // of the load
	Elapsed     time.Duration // of the load
	Interrupted bool          // by the context

	// Operations is the number of requests that ended, Failed of those that
	// failed, Late of those that were refused as they should be: writes that came
	// behind the deletion of their record, and creations behind one of unknown
	// outcome.
	Operations, Failed, Late int64
	// Unfinished requests were cut off when the context ended. They are counted
	// nowhere else.
	Unfinished int64

	Targets  []Target           // as in Config
	Errors   []Error            // the most frequent first
	Latency  map[string]Latency // of the operations that succeeded, by kind
	Timeline Timeline

	// History is what the checkers found: staleness, violations.
	History history.Result

	// Apart tells that targets do not share one database: what was found means
	// nothing then. Unshared tells that some targets could not be asked whether
	// they do.
	Apart, Unshared error
	// Left are the ids of records that may still be in the database.
	Left []string
}

// Target is what one of the targets did.
type Target struct {
	URL     string
	Failed  int64
	Latency Latency // of all operations that succeeded
}

// Latency sums up operations.
type Latency struct {
	Count         int64
	P50, P99, Max time.Duration
}

// Error is what went wrong with requests of one kind to one target, all in the
// same way. It breaks no promise.
type Error struct {
	Target  int    // its index
	Request string // what it was to do
	Problem string // such as "timeout", or "status 503 store_unavailable"
	Count   int64
	Unknown int64  // of them, writes that may have been applied
	Example string // what the first one came with
}

// Rate is in successful operations per second.
func (r *Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Operations-r.Failed) / r.Elapsed.Seconds()
}

// Broken tells which promises were broken, nil if all that was seen is in order.
func (r *Report) Broken() error {
	if r.Apart != nil {
		return nil // they are not one system, so they promise nothing
	}
	var names []string
	for _, p := range r.Config.Promises {
		if n := r.History.Broken[p]; n > 0 {
			names = append(names, fmt.Sprintf("%s (%d)", p, n))
		}
	}
	if names == nil {
		return nil
	}
	return errors.New("promises were broken: " + strings.Join(names, ", "))
}

// Unproven tells why the run shows nothing, or less than it was to show, although
// no promise was seen broken; nil if it shows all.
func (r *Report) Unproven() error {
	var errs []error
	switch {
	case r.Apart != nil:
		return r.Apart
	case r.Operations == r.Failed:
		return errors.New("nothing could be checked: no operation succeeded")
	}
	for _, t := range r.Targets {
		if t.Latency.Count == 0 {
			errs = append(errs, fmt.Errorf("nothing could be checked of %s: no operation succeeded there", t.URL))
		}
	}
	if n := r.History.Undecided; n > 0 {
		errs = append(errs, fmt.Errorf("of %d of %d records it could not be decided in time whether %s", n, r.History.Keys, history.Linearizable.Guarantee()))
	}
	return errors.Join(append(errs, r.Unshared)...)
}
