package ids

import "math/rand/v2"

// Workload is a rule for choosing ids. Several runs may use it, also at the same time.
type Workload interface {
	// Start returns a function that creates the streams of one run. Streams with
	// different numbers are independent.
	Start() func(stream uint64) Picker
	// Once returns the workload that chooses each id of this one exactly once. It fills
	// caches for a warm-up.
	Once() Workload
	// String returns the name of the workload in reports.
	String() string
}

// Picker is one stream of choices, for one goroutine.
type Picker interface {
	// Next appends the next id to dst, percent-encoded for a URL path. ok is false if
	// there are no more.
	Next(dst []byte) (path []byte, ok bool)
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
