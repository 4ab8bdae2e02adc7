package loadtest

import (
	"runtime"
	"sync"
	"time"
)

// recorder takes what some of the users measure. There are a few for each
// processor rather than one for each user: histograms are large, and a thousand
// of them would push the server under test out of the processor's caches.
type recorder struct {
	mu    sync.Mutex
	tally *Tally // of the interval under way

	spare *Tally // only the collector's
}

func newRecorders(users int) []*recorder {
	rs := make([]*recorder, min(users, 2*runtime.GOMAXPROCS(0)))
	for i := range rs {
		rs[i] = &recorder{tally: new(Tally), spare: new(Tally)}
	}
	return rs
}

// succeed takes an answer whose latency counts from from. sent is when its
// request was sent, in an open loop.
func (r *recorder) succeed(op Op, a answer, from, sent time.Time) {
	r.mu.Lock()
	r.tally.succeed(op, a, from, sent)
	r.mu.Unlock()
}

func (r *recorder) fail(k FailureKey, detail string, at time.Time) {
	r.mu.Lock()
	r.tally.addFailures(k, Failures{1, detail, at, at})
	r.mu.Unlock()
}

// depart takes what kept a request of an open loop from being sent when it was
// due: that no connection was free, and then the generator itself.
func (r *recorder) depart(waited, lag time.Duration) {
	r.mu.Lock()
	if waited > 0 {
		r.tally.waited.record(waited)
	}
	r.tally.lag.record(lag)
	r.mu.Unlock()
}

// collect adds what was recorded since the last time to into. Users wait for a
// swap of pointers, not for the adding.
func (r *recorder) collect(into *Tally) {
	r.mu.Lock()
	r.tally, r.spare = r.spare, r.tally
	r.mu.Unlock()
	into.add(r.spare)
	r.spare.reset()
}
