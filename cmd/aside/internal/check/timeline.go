package check

import (
	"time"
)

// bucket is the width of a Bucket.
const bucket = 100 * time.Millisecond

// Timeline is a run in steps of 100 ms. Each operation is in the step in which
// it was called, however long it took: a step tells what became of what a client
// began then. So a request that hangs from the middle of a fault until long
// after it shows in the fault, by its latency.
type Timeline struct {
	Start   time.Time // of the first bucket
	Buckets []Bucket
}

// Bucket is what was begun within one step.
type Bucket struct {
	Operations int64 // Errors included
	Errors     int64
	MaxLatency time.Duration // of the operations that succeeded
	MaxFailed  time.Duration // how long the slowest of the others took

	StaleDefault int64         // default reads that missed an acknowledged write
	StaleStrong  int64         // the same of strong reads; each is a violation too
	WorstDefault time.Duration // the staleness of the worst of them
	WorstStrong  time.Duration
	Violations   int64 // by the operation that shows it
}

// At is the time of the run's clock at t.
func (t *Timeline) At(at time.Time) time.Duration { return at.Sub(t.Start) }

// Clean is the first moment from after on since which no operation failed. ok is
// false if there is none.
func (t *Timeline) Clean(after time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.Errors == 0 })
}

// Fast is the first moment from after on since which no operation failed or took
// longer than limit.
func (t *Timeline) Fast(after, limit time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.Errors == 0 && b.MaxLatency <= limit })
}

// Fresh is the first moment from after on since which no default read was staler
// than limit.
func (t *Timeline) Fresh(after, limit time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.WorstDefault <= limit })
}

// From is the first moment from after on since which every bucket is good, to a
// bucket's width. Buckets in which nothing was begun prove nothing: the moment is
// not in one, and if nothing was begun after it, there is none.
func (t *Timeline) From(after time.Duration, good func(Bucket) bool) (from time.Duration, ok bool) {
	first := max(int(after/bucket), 0)
	for i := len(t.Buckets) - 1; i >= first; i-- {
		b := t.Buckets[i]
		if b.Operations == 0 {
			continue
		}
		if !good(b) {
			break
		}
		from, ok = max(time.Duration(i)*bucket, after), true
	}
	return from, ok
}

// Between adds up the buckets from the one that holds from to the one before
// until, or to the last.
func (t *Timeline) Between(from, until time.Duration) Bucket {
	var sum Bucket
	for i := max(int(from/bucket), 0); i < len(t.Buckets) && time.Duration(i)*bucket < until; i++ {
		sum.add(t.Buckets[i])
	}
	return sum
}

func (b *Bucket) add(o Bucket) {
	b.Operations += o.Operations
	b.Errors += o.Errors
	b.MaxLatency = max(b.MaxLatency, o.MaxLatency)
	b.MaxFailed = max(b.MaxFailed, o.MaxFailed)
	b.StaleDefault += o.StaleDefault
	b.StaleStrong += o.StaleStrong
	b.WorstDefault = max(b.WorstDefault, o.WorstDefault)
	b.WorstStrong = max(b.WorstStrong, o.WorstStrong)
	b.Violations += o.Violations
}

// bucketLocked is the bucket of a call. The recorder's lock is held.
func (t *Timeline) bucketLocked(call time.Duration) *Bucket {
	i := max(int(call/bucket), 0)
	for len(t.Buckets) <= i {
		t.Buckets = append(t.Buckets, Bucket{})
	}
	return &t.Buckets[i]
}
