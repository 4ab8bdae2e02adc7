package check

import (
	"cmp"
	"slices"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/asidecache/aside/asidetest/history"
)

// recorder counts the results. Its lock is held only briefly, so one lock is enough for all
// clients.
type recorder struct {
	mu         sync.Mutex
	timeline   Timeline
	latency    [][acts]histogram // by target
	errors     map[errorKey]*errorCount
	failed     int64
	late       int64
	unfinished int64
	outside    outsideCounts
	result     history.Result
}

// outsideCounts is about the outside writes.
type outsideCounts struct {
	latency [acts]histogram
	errors  map[errorKey]*errorCount // target is 0
	failed  int64
	late    int64
}

type errorKey struct {
	target  int
	act     act
	problem string
}

type errorCount struct {
	count, unknown int64
	example        string
}

func newRecorder(start time.Time, targets int) *recorder {
	return &recorder{
		timeline: Timeline{Start: start},
		latency:  make([][acts]histogram, targets),
		errors:   map[errorKey]*errorCount{},
		outside:  outsideCounts{errors: map[errorKey]*errorCount{}},
	}
}

// succeeded counts a successful operation.
func (r *recorder) succeeded(target int, a act, call, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.timeline.bucketLocked(call)
	b.Operations++
	b.MaxLatency = max(b.MaxLatency, took)
	r.latency[target][a].record(took)
}

// cameLate counts an operation that was refused as expected.
func (r *recorder) cameLate(call, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.timeline.bucketLocked(call)
	b.Operations++
	b.MaxLatency = max(b.MaxLatency, took)
	r.late++
}

// erred counts a failed operation.
func (r *recorder) erred(target int, a act, call, took time.Duration, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.timeline.bucketLocked(call)
	b.Operations++
	b.Errors++
	b.MaxFailed = max(b.MaxFailed, took)
	r.failed++
	count(r.errors, errorKey{target, a, o.problem}, o)
}

func count(errors map[errorKey]*errorCount, k errorKey, o outcome) {
	e := errors[k]
	if e == nil {
		e = &errorCount{example: o.detail}
		errors[k] = e
	}
	e.count++
	if o.sure == unknown {
		e.unknown++
	}
}

// wroteOutside counts an outside write. expected: it was refused as expected.
func (r *recorder) wroteOutside(a act, x exchange, expected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &r.outside
	switch {
	case expected:
		o.late++
	case x.problem != "":
		o.failed++
		count(o.errors, errorKey{0, a, x.problem}, x.outcome)
	case x.sure == told:
		o.latency[a].record(x.end.Sub(x.call))
	}
}

// missedOutside adds a read that missed an outside write to the timeline.
func (r *recorder) missedOutside(read history.Op, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.timeline.bucketLocked(read.Call)
	b.StaleOutside++
	b.WorstOutside = max(b.WorstOutside, by)
}

// cutOff counts an operation that was aborted at the end of the context.
func (r *recorder) cutOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unfinished++
}

// stale adds a stale read to the timeline.
func (r *recorder) stale(read history.Op, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.timeline.bucketLocked(read.Call)
	if read.Kind == history.ReadStrong {
		b.StaleStrong++
		b.WorstStrong = max(b.WorstStrong, by)
	} else {
		b.StaleDefault++
		b.WorstDefault = max(b.WorstDefault, by)
	}
}

// violated adds a violation to the timeline.
func (r *recorder) violated(_ history.Promise, op history.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timeline.bucketLocked(op.Call).Violations++
}

// checked adds the result of the check of a key.
func (r *recorder) checked(result history.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Add(result)
}

func (r *recorder) progress(elapsed time.Duration) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{Elapsed: elapsed, Errors: r.failed, Violations: r.result.Violated()}
	p.Operations = r.failed + r.late
	for t := range r.latency {
		for a := range r.latency[t] {
			p.Operations += r.latency[t][a].count()
		}
	}
	for a := range acts {
		p.Outside += r.outside.latency[a].count()
	}
	p.OutsideErrors = r.outside.failed
	return p
}

// report returns the report. Nothing may be recorded afterwards.
func (r *recorder) report(c *Config) *Report {
	p := r.progress(0)
	report := &Report{
		Operations: p.Operations, Failed: r.failed, Late: r.late, Unfinished: r.unfinished,
		Timeline: r.timeline, Latency: map[string]Latency{}, History: r.result,
	}
	for a := range acts {
		var all histogram
		for t := range r.latency {
			all.add(&r.latency[t][a])
		}
		if all.count() > 0 {
			report.Latency[a.String()] = all.latency()
		}
	}
	report.Targets = make([]Target, len(c.Targets))
	for t := range report.Targets {
		var all histogram
		for a := range acts {
			all.add(&r.latency[t][a])
		}
		of := func(a act) int64 { return r.latency[t][a].count() }
		report.Targets[t] = Target{
			URL: c.Targets[t], Latency: all.latency(),
			Strong: of(readStrong), Default: of(readDefault), Writes: of(create) + of(put) + of(remove),
		}
	}
	for k, e := range r.errors {
		report.Targets[k.target].Failed += e.count
	}
	report.Errors = errorsOf(r.errors)
	if c.Outside != nil {
		o := &r.outside
		report.Outside = &OutsideReport{
			Failed: o.failed, Late: o.late, Errors: errorsOf(o.errors),
			Updates: o.latency[put].latency(), Deletes: o.latency[remove].latency(),
		}
	}
	return report
}

// errorsOf returns the errors, the most frequent first.
func errorsOf(counts map[errorKey]*errorCount) (list []Error) {
	for k, e := range counts {
		list = append(list, Error{
			Target: k.target, Request: k.act.String(), Problem: k.problem,
			Count: e.count, Unknown: e.unknown, Example: e.example,
		})
	}
	slices.SortFunc(list, func(a, b Error) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Target, b.Target),
			cmp.Compare(a.Request, b.Request), cmp.Compare(a.Problem, b.Problem))
	})
	return list
}

// histogram records latencies in microseconds, from 1 us to an hour, with two digits. There
// is one for each target and kind. Larger ones would evict data of the servers, which often
// run on the same machine, from the CPU caches. The zero value is empty.
type histogram struct {
	h   *hdr.Histogram // created when first needed
	max time.Duration
}

const (
	maxLatency = time.Hour
	digits     = 2
)

func (h *histogram) init() {
	if h.h == nil {
		h.h = hdr.New(1, maxLatency.Microseconds(), digits)
	}
}

func (h *histogram) record(took time.Duration) {
	h.init()
	h.max = max(h.max, took)
	_ = h.h.RecordValue(min(max(took, time.Microsecond), maxLatency).Microseconds()) // is in range
}

func (h *histogram) count() int64 {
	if h.h == nil {
		return 0
	}
	return h.h.TotalCount()
}

func (h *histogram) add(o *histogram) {
	if o.h != nil {
		h.init()
		h.h.Merge(o.h)
		h.max = max(h.max, o.max)
	}
}

func (h *histogram) latency() Latency {
	if h.h == nil {
		return Latency{}
	}
	at := func(percentile float64) time.Duration {
		// The upper end of a bucket may be above its largest value.
		return min(time.Duration(h.h.ValueAtPercentile(percentile))*time.Microsecond, h.max)
	}
	return Latency{h.count(), at(50), at(99), h.max}
}
