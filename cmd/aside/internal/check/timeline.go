package check

import (
	"time"
)

// bucket is the width of a Bucket.
const bucket = 100 * time.Millisecond

// Timeline is a run in steps of 100 ms. Each operation belongs to the step in which it
// started, even if it took longer. So a request that starts during a fault and hangs counts
// for the time of the fault, with its latency.
type Timeline struct {
	Start   time.Time // of the first bucket
	Buckets []Bucket
}

// Bucket counts the operations that started in one step.
type Bucket struct {
	Operations int64 // including Errors
	Errors     int64
	MaxLatency time.Duration // of successful operations
	MaxFailed  time.Duration // of failed operations

	StaleDefault int64         // default reads that missed an acknowledged write
	StaleStrong  int64         // the same for strong reads; each is also a violation
	WorstDefault time.Duration // the largest staleness among them
	WorstStrong  time.Duration
	StaleOutside int64         // reads of both levels that missed an acknowledged outside write,
	WorstOutside time.Duration // however late, and the largest time since its acknowledgement
	Violations   int64         // at the operation that shows it
}

// At returns the time of the run's clock at t.
func (t *Timeline) At(at time.Time) time.Duration { return at.Sub(t.Start) }

// Clean returns the first time, not before after, since which no operation failed. ok is
// false if there is none.
func (t *Timeline) Clean(after time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.Errors == 0 })
}

// Fast returns the first time, not before after, since which no operation failed or took
// longer than limit.
func (t *Timeline) Fast(after, limit time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.Errors == 0 && b.MaxLatency <= limit })
}

// Fresh returns the first time, not before after, since which no default read was staler
// than limit.
func (t *Timeline) Fresh(after, limit time.Duration) (from time.Duration, ok bool) {
	return t.From(after, func(b Bucket) bool { return b.WorstDefault <= limit })
}

// From returns the first time, not before after, since which every bucket is good. It is as
// exact as the width of a bucket. Empty buckets prove nothing: the time is not in one of
// them, and ok is false if all later buckets are empty.
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

// Between adds up the buckets from the one at from to the one before until, or to the last.
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
	b.StaleOutside += o.StaleOutside
	b.WorstOutside = max(b.WorstOutside, o.WorstOutside)
	b.Violations += o.Violations
}

// bucketLocked returns the bucket of a call. The caller holds the recorder's lock.
func (t *Timeline) bucketLocked(call time.Duration) *Bucket {
	i := max(int(call/bucket), 0)
	for len(t.Buckets) <= i {
		t.Buckets = append(t.Buckets, Bucket{})
	}
	return &t.Buckets[i]
}
