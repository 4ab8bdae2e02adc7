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

// fault is something that breaks under load, and what must hold all the same.
type fault struct {
	group group
	name  string
	// policy the nodes run with; default closed.
	policy policy
	// redis are further arguments of redis-server.
	redis []string
	// start starts another system than three nodes on one Redis.
	start func(t *testing.T, f form, p policy) *system
	// do makes the fault, lets it last, and ends it. The load has been on for a
	// while, and goes on after it. It may call run.hold.
	do func(r *run)

	// tune changes the form for this fault.
	tune func(*form)
	// also asserts more of what was seen.
	also func(*testing.T, *check.Report)

	// long: the short form leaves it out.
	long bool
	// struck are nodes whose own clients are left out of the added latency, since
	// they wait for as long as the fault is made to last.
	struck []int
	// outage: nodes do not reach Redis for a while. silent: they are not told so,
	// or what they are told is late. lossy: Redis loses what it acknowledged,
	// fences among it.
	outage, silent, lossy bool
	// resumes: a node that was stopped goes on. What it was told meanwhile waits
	// to be read, so for a moment its memory is as old as when it stopped.
	resumes bool

	// promises that must hold; default: see asserted.
	promises []history.Promise
	// stale is how stale a default read may be; default: see bound.
	stale time.Duration
	// errors tells whether an error of a client is to be expected; default: none.
	errors func(check.Error) bool
}

// run is a fault under way.
type run struct {
	*testing.T
	*system
	form
	lost <-chan struct{} // the load has ended, which it must not
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

// every does something again and again as long as the fault lasts.
func (r *run) every(pause time.Duration, do func()) {
	r.Helper()
	for end := time.Now().Add(r.Fault); time.Now().Before(end); {
		do()
		r.hold(pause)
	}
}

// bound is how stale a default read may be: while all is well as long as a notice
// takes, which is milliseconds; in an outage as long as a record lives in memory
// that was read without Redis, or as a connection is trusted that died without a
// word; with writes that Redis is told of only when it is back, until it is. On
// top comes what a busy machine adds.
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

// comeback is how long after an outage a node may take to find Redis working and
// to tell it what it missed: the breaker's delay, the pauses between its tries,
// and the tries themselves.
const comeback = 3 * time.Second

// weak: nodes go on writing without Redis, so that others, which have Redis, do
// not learn of it at once. See "FailOpen during a partition" in
// docs/guarantees.md.
func (f *fault) weak() bool { return f.outage && f.policy == open }

// asserted returns the promises that hold under the fault.
func (f *fault) asserted() []history.Promise {
	switch {
	case f.weak():
		return without(history.StrongReads, history.Linearizable, history.Monotonic)
	case f.lossy:
		// A write whose fence is lost can be seen, and then not be seen, until it
		// is acknowledged. See "A fence evicted under maxmemory" there.
		return without(history.Linearizable, history.Monotonic)
	}
	return history.Promises()
}

// without returns all promises but the given ones.
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
			Stop: stop, MaxStale: f.stale, Timeout: 20 * time.Second, Pictures: t.ArtifactDir(),
		})
	}()
	defer func() { end(); <-ended }() // also when the test ends early
	r := &run{T: t, system: s, form: size, lost: ended}
	r.hold(size.Before)
	begun := time.Now()
	f.do(r)
	over := time.Now()
	if f.weak() {
		size.After = max(size.After, comeback)
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
		t.Log(v) // also of what is not asserted: the row says that it does not hold
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
