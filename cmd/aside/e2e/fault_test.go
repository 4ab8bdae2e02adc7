package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/check"
)

// fault is a fault under load, and the promises that must hold.
type fault struct {
	group group
	name  string
	// policy of the nodes; default closed.
	policy policy
	// redis are further arguments of redis-server.
	redis []string
	// start starts the system; default three nodes on one Redis.
	start func(t *testing.T, f form, p policy) *system
	// do starts the fault, lets it last, and ends it. The load runs before, during and
	// after the fault. do may call run.hold.
	do func(r *run)

	// tune adapts the form to this fault.
	tune func(*form)
	// also makes further assertions on the report.
	also func(*testing.T, *check.Report)

	// long: only the long form includes it.
	long bool
	// struck are nodes whose clients do not count for the added latency: they wait as
	// long as the test makes the fault last.
	struck []int
	// outage: nodes cannot reach Redis for a while. silent: they get no error, or get
	// data late. lossy: Redis loses acknowledged data, such as fences.
	outage, silent, lossy bool
	// resumes: a stopped node continues. It has not read the invalidations of the
	// meantime yet, so for a moment its memory is as old as when it stopped.
	resumes bool

	// promises that must hold; for the default see asserted.
	promises []history.Promise
	// stale is the maximum staleness of a default read; for the default see bound.
	stale time.Duration
	// errors tells whether an error of a client is expected; default: none.
	errors func(check.Error) bool
}

// run is a running fault.
type run struct {
	*testing.T
	*system
	form
	lost <-chan struct{} // the load has ended too early
}

// hold lets the fault last.
func (r *run) hold(d time.Duration) {
	r.Helper()
	select {
	case <-time.After(d):
	case <-r.lost:
		r.Fatal("the load ended by itself")
	}
}

// every repeats something as long as the fault lasts.
func (r *run) every(pause time.Duration, do func()) {
	r.Helper()
	for end := time.Now().Add(r.Fault); time.Now().Before(end); {
		do()
		r.hold(pause)
	}
}

// bound returns the maximum staleness of a default read. Without a fault it is the time of
// an invalidation: milliseconds. In an outage it is how long a record that was read without
// Redis stays in memory, or how long a silent connection is trusted. If a node writes
// without Redis, it is the time until Redis gets the invalidations. Time for a busy machine
// is added.
func (f *fault) bound(size form) time.Duration {
	var d time.Duration
	if f.outage {
		d = size.Degraded
	}
	if f.silent {
		d = max(d, size.Silence)
	}
	if f.resumes {
		d = max(size.Fence, size.lease(), size.Silence) + size.Fault
	}
	if f.weak() {
		d = 2*size.Silence + size.Fault + comeback
	}
	return d + time.Second
}

// comeback is how long a node may take after an outage to use Redis again and to deliver
// the missed invalidations: the breaker's delay, the pauses between retries, and the
// retries.
const comeback = 3 * time.Second

// weak: nodes write without Redis, so other nodes, which reach Redis, learn about these
// writes late. See "FailOpen during a partition" in docs/reference/guarantees.md.
func (f *fault) weak() bool { return f.outage && f.policy == open }

// asserted returns the promises that hold under the fault.
func (f *fault) asserted() []history.Promise {
	switch {
	case f.weak():
		return without(history.StrongReads, history.Linearizable, history.Monotonic)
	case f.lossy:
		// If the fence of a write is lost, reads may return the new value and then the old
		// one again, until the write is acknowledged. See "A fence evicted under maxmemory"
		// there.
		return without(history.Linearizable, history.Monotonic)
	}
	return history.Promises()
}

// without returns all promises except the given ones.
func without(these ...history.Promise) []history.Promise {
	return slices.DeleteFunc(history.Promises(), func(p history.Promise) bool { return slices.Contains(these, p) })
}

// try runs a fault and adds its row to the table.
func try(t *testing.T, f fault) {
	t.Helper()
	size, at := formOf(t), table.next()
	if f.long && size.Short {
		t.Skip("not in the short form")
	}
	if f.tune != nil {
		f.tune(&size)
	}
	if size.Short {
		t.Parallel()
	}
	if f.policy == "" {
		f.policy = closed
	}
	if f.start == nil {
		f.start = func(t *testing.T, size form, p policy) *system { return startSystem(t, size.timing, p, f.redis...) }
	}
	if f.promises == nil {
		f.promises = f.asserted()
	}
	if f.stale == 0 {
		f.stale = f.bound(size)
	}
	s := f.start(t, size, f.policy)

	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	var report *check.Report
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		report, err = check.Run(context.Background(), check.Config{
			Targets: s.Targets(), Clients: size.Clients, Keys: size.Keys, Writes: size.Writes, Sticky: true,
			Stop: stop, MaxStale: f.stale, Outside: s.Outside, Timeout: 20 * time.Second, Pictures: t.ArtifactDir(),
			Life: s.life(),
		})
	}()
	defer func() { end(); <-ended }() // even if the test ends early
	r := &run{T: t, system: s, form: size, lost: ended}
	r.hold(size.Before)
	begun := time.Now()
	f.do(r)
	over := time.Now()
	if f.weak() {
		size.After = max(size.After, comeback)
	}
	if s.Outside != nil {
		// Only a read that comes later than the bound proves anything.
		size.After = max(size.After, s.Outside.Bound+time.Second)
	}
	r.hold(size.After)
	end()
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	row := rowOf(f, report, begun, over)
	table.add(at, row)
	t.Log(row)
	s.AwaitWork()
	if s.Redis != nil {
		s.CheckLeftovers(size.timing)
	}
	f.assert(t, report, over)
	if f.also != nil {
		f.also(t, report)
	}
}

func (f *fault) assert(t *testing.T, report *check.Report, over time.Time) {
	t.Helper()
	if err := report.Unproven(); err != nil {
		t.Error(err)
	}
	for _, p := range f.promises {
		if n := report.History.Broken[p]; n > 0 {
			t.Errorf("%d violations of %q: it does not hold that %s", n, p, p.Guarantee())
		}
	}
	for _, v := range report.History.Violations {
		t.Log(v) // promises that are not asserted too: the row shows that they do not hold
	}
	var delayed int64
	for _, e := range report.Errors {
		switch {
		case f.errors != nil && f.errors(e):
		case late(e):
			delayed += e.Count
			t.Logf("%d times a %s at node %d was late: %s", e.Count, e.Request, e.Target, e.Problem)
		default:
			t.Errorf("%d times a %s at node %d failed: %s: %s", e.Count, e.Request, e.Target, e.Problem, e.Example)
		}
	}
	if limit := report.Operations / 50; delayed > limit {
		t.Errorf("%d of %d operations were late without a reason in the fault, more than %d", delayed, report.Operations, limit)
	}
	if _, ok := report.Timeline.From(report.Timeline.At(over), strongFresh); !ok {
		t.Error("strong reads were stale until the end of the load")
	}
	if f.resumes {
		const moment = time.Second
		at, ok := report.Timeline.Fresh(report.Timeline.At(over), moment)
		if took := at - report.Timeline.At(over); !ok || took > moment {
			t.Errorf("default reads were stale by more than %v until %v after the node went on", moment, took)
		}
	}
	if t.Failed() {
		t.Logf("seed %d", report.Config.Seed)
	}
}

func strongFresh(b check.Bucket) bool { return b.StaleStrong == 0 }

// life is how many operations a record lives for: with outside writes so many that it is
// still read when their bound is over, also on a fast machine. 0: the default, some 6 s.
func (s *system) life() int {
	if s.Outside == nil {
		return 0
	}
	return 2500 * int(max(1, s.Outside.Bound/(3*time.Second)))
}
