package bench

import (
	"runtime"
	"sync"
	"time"
)

// recorder records the measurements of some users. There are a few recorders for each
// processor, not one for each user: histograms are large, and a thousand of them would
// evict the server's data from the CPU caches.
type recorder struct {
	mu    sync.Mutex
	tally *Tally // of the current interval

	spare *Tally // used only by the collector
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

// collect adds the measurements since the previous call to into. Users wait only while
// pointers are swapped, not during the addition.
func (r *recorder) collect(into *Tally) {
	r.mu.Lock()
	r.tally, r.spare = r.spare, r.tally
	r.mu.Unlock()
	into.add(r.spare)
	r.spare.reset()
}
