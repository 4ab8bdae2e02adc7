package check

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// Report is the result of a run.
type Report struct {
	Config Config // with its defaults, and the seed that was used
	Prefix string // of the ids of the run's records

	Start       time.Time     // of the load
	Elapsed     time.Duration // of the load
	Interrupted bool          // by the context

	// Operations is the number of finished requests. Failed is the number of those
	// that failed. Late is the number of writes that were refused as expected: their
	// record had been deleted before, or it had been created by an earlier creation
	// with unknown outcome.
	Operations, Failed, Late int64
	// Unfinished requests were aborted when the context ended. They are not counted
	// elsewhere.
	Unfinished int64

	Targets  []Target           // as in Config
	Errors   []Error            // the most frequent first
	Latency  map[string]Latency // of the operations that succeeded, by kind
	Timeline Timeline
	// Outside is about the outside writers; nil if there were none. How late reads saw what
	// they wrote is in History.
	Outside *OutsideReport

	// History is the result of the checkers: staleness and violations.
	History history.Result

	// Apart is set if the targets do not share one database. Then the results mean
	// nothing. Unshared is set if some targets did not answer, so that it is unknown
	// whether they share it.
	Apart, Unshared error
	// Left are the ids of records that may still be in the database.
	Left []string
}

// OutsideReport is about the outside writes.
type OutsideReport struct {
	Updates, Deletes Latency // of those that succeeded
	// Failed is the number of those that failed. Late is the number of updates that were
	// refused as expected, because the record had been deleted.
	Failed, Late int64
	Errors       []Error // the most frequent first; Target means nothing
	// NotFed are the targets that said before the load that they learn of no outside write.
	NotFed []NotFed
}

// Target is the result of one target.
type Target struct {
	URL     string
	Failed  int64
	Latency Latency // of all operations that succeeded

	Strong, Default, Writes int64 // reads and writes among them
}

// Latency summarises the latencies of operations.
type Latency struct {
	Count         int64
	P50, P99, Max time.Duration
}

// Error counts requests of one kind to one target that failed in the same way. Errors do
// not count as violations.
type Error struct {
	Target  int    // its index
	Request string // kind of the request
	Problem string // such as "timeout", or "status 503 store_unavailable"
	Count   int64
	Unknown int64  // writes among them that may have been applied
	Example string // details of the first one
}

// Rate returns the successful operations per second.
func (r *Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Operations-r.Failed) / r.Elapsed.Seconds()
}

// Broken returns an error that names the broken promises, or nil if there are none.
func (r *Report) Broken() error {
	if r.Apart != nil {
		return nil // the targets are not one system, so there are no guarantees
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
	return errors.New("guarantees were broken: " + strings.Join(names, ", "))
}

// Unproven returns an error that tells why not everything could be checked, or nil if
// everything was checked.
func (r *Report) Unproven() error {
	var errs []error
	switch {
	case r.Apart != nil:
		return r.Apart
	case r.Operations == r.Failed:
		return errors.New("nothing was checked: no operation succeeded")
	}
	for _, t := range r.Targets {
		if t.Latency.Count == 0 {
			errs = append(errs, fmt.Errorf("nothing was checked on %s: no operation succeeded there", t.URL))
		}
	}
	errs = append(errs, r.unseen()...)
	if o := r.Outside; o != nil {
		switch {
		case o.Updates.Count+o.Deletes.Count == 0:
			errs = append(errs, errors.New("nothing was checked about outside writes: none of them succeeded"))
		case r.History.Held == 0:
			errs = append(errs, fmt.Errorf("nothing was checked about outside writes: no read came later than %v after one of them", r.Config.Outside.Bound))
		}
	}
	if d := r.Config.Drops; d != nil {
		for _, a := range []act{dropKey, dropTag} {
			if d.share(a) > 0 && r.Latency[a.String()].Count == 0 {
				errs = append(errs, fmt.Errorf("nothing was checked about drops: no %s succeeded", a))
			}
		}
		if r.Outside != nil && r.History.HeldByDrop == 0 {
			errs = append(errs, errors.New("nothing was checked about drops: no strong read came between a drop after an outside write and the bound"))
		}
	}
	if n := r.History.Undecided; n > 0 {
		errs = append(errs, fmt.Errorf("for %d of %d records the check took too long to decide whether %s", n, r.History.Keys, history.Linearizable.Guarantee()))
	}
	return errors.Join(append(errs, r.Unshared)...)
}

// notChecked returns why nothing was seen that could have broken a promise; "" if something
// was. wanted is false if the flags said so.
func (r *Report) notChecked(p history.Promise) (why string, wanted bool) {
	c := &r.Config
	switch {
	case r.History.Broken[p] > 0:
		return "", true
	case p == history.Bounded && c.MaxStale < 0:
		return "--max-staleness is negative", c.chosen
	case p == history.Bounded && c.Strong == 1:
		return "--strong is 100%", c.chosen
	case ofStrongReads(p) && c.Strong == 0:
		return "--strong is 0%", c.chosen
	}
	var all Target
	for _, t := range r.Targets {
		all.Strong, all.Default, all.Writes = all.Strong+t.Strong, all.Default+t.Default, all.Writes+t.Writes
	}
	if o := r.Outside; o != nil {
		all.Writes += o.Updates.Count + o.Deletes.Count
	}
	if all.Writes == 0 {
		return "no write was acknowledged", true
	}
	return all.unread(p), true
}

func ofStrongReads(p history.Promise) bool {
	return p == history.StrongReads || p == history.Linearizable
}

// unread returns which reads are missing that could have broken a promise.
func (t *Target) unread(p history.Promise) string {
	switch {
	case ofStrongReads(p) && t.Strong == 0:
		return "no strong read succeeded"
	case p == history.Bounded && t.Default == 0:
		return "no default read succeeded"
	case t.Strong+t.Default == 0:
		return "no read succeeded"
	}
	return ""
}

// unseen returns an error for each promise of which nothing was seen, on all targets or on
// one of them.
func (r *Report) unseen() (errs []error) {
	refused := map[int]bool{} // targets that refused writes
	for _, e := range r.Errors {
		for a := create; a <= remove; a++ {
			refused[e.Target] = refused[e.Target] || e.Request == a.String()
		}
	}
	for _, p := range r.Config.Promises {
		why, wanted := r.notChecked(p)
		if why != "" {
			if wanted {
				errs = append(errs, fmt.Errorf("nothing was checked about %s: %s", p, why))
			}
			continue
		}
		if r.History.Broken[p] > 0 {
			continue
		}
		for i := range r.Targets {
			t := &r.Targets[i]
			why := t.unread(p)
			if why == "" && p == history.OwnWrites && t.Writes == 0 && refused[i] {
				why = "no write was acknowledged"
			}
			if why != "" && t.Latency.Count > 0 {
				errs = append(errs, fmt.Errorf("nothing was checked about %s on %s: %s there", p, t.URL, why))
			}
		}
	}
	return errs
}
