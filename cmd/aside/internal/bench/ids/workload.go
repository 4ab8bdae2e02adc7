package ids

import "math/rand/v2"

// Workload is a rule of choice. It may be used by several runs, one after the
// other or at one time.
type Workload interface {
	// Start returns where the streams of one run come from. Streams of different
	// numbers choose independently of each other.
	Start() func(stream uint64) Picker
	// Once is the workload that asks for each id of this one a single time, and
	// so leaves all of them in caches that can hold them.
	Once() Workload
	// String is how a report names the workload.
	String() string
}

// Picker is one stream of choices, for one goroutine.
type Picker interface {
	// Next appends the next id to dst as a segment of a URL's path, which is to
	// say percent-encoded. ok is false if there is none left.
	Next(dst []byte) (path []byte, ok bool)
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
