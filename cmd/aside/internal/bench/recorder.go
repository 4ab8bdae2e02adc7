package bench

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

func (r *recorder) succeed(s *Sample) {
	r.mu.Lock()
	r.tally.Record(s)
	r.mu.Unlock()
}

func (r *recorder) fail(k FailureKey, example string, at time.Time) {
	r.mu.Lock()
	r.tally.Fail(k, example, at)
	r.mu.Unlock()
}

func (r *recorder) depart(waited, lag time.Duration) {
	r.mu.Lock()
	r.tally.Depart(waited, lag)
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
