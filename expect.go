package aside

import (
	"math"
	"sync/atomic"

	"github.com/asidecache/aside/driver"
)

// expectation follows what recent lookups in L2 found, for LeaseRequest.Expect.
// It is a mean over some hundred lookups. Batches that end at one moment may
// overwrite each other's update: it is a hint, and nothing depends on it.
type expectation struct {
	ratio atomic.Uint64 // bits of a float64: the share that found an entry
	seen  atomic.Int64  // lookups, up to expectAfter
}

const (
	expectOver  = 128 // lookups that the mean is over
	expectAfter = 64  // lookups before anything is expected

	expectHits, expectMisses = 0.9, 0.1
)

// observe tells of a batch of lookups.
func (e *expectation) observe(found, asked int) {
	if asked == 0 {
		return
	}
	seen := e.seen.Load()
	if seen < expectAfter {
		seen = e.seen.Add(int64(asked))
	}
	weight := float64(asked) / float64(min(int64(expectOver), max(seen, int64(asked))))
	mean := math.Float64frombits(e.ratio.Load())
	mean += (float64(found)/float64(asked) - mean) * min(1, weight)
	e.ratio.Store(math.Float64bits(mean))
}

func (e *expectation) get() driver.Expectation {
	mean := math.Float64frombits(e.ratio.Load())
	switch {
	case e.seen.Load() < expectAfter:
		return driver.ExpectAnything
	case mean >= expectHits:
		return driver.ExpectValue
	case mean <= expectMisses:
		return driver.ExpectNothing
	}
	return driver.ExpectAnything
}
