package bench

import (
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Kinds of failures in addition to those of a connection.
const (
	// BadStatus is a complete response whose status is not 2xx. Redirects are not
	// followed: a latency must be that of one request.
	BadStatus httpwire.Kind = "status"
	// Dropped is a request of an open loop that was never sent: it waited longer than
	// the timeout for a free connection.
	Dropped httpwire.Kind = "dropped"
)

// FailureKey is the key by which failures are counted. Status is set only for BadStatus. Op
// is Read for dropped requests, since their operation was not chosen yet.
type FailureKey struct {
	Kind   httpwire.Kind
	Status int
	Op     Op
}

func (k FailureKey) String() string {
	if k.Kind == BadStatus {
		return fmt.Sprintf("status %d", k.Status)
	}
	return string(k.Kind)
}

// Failures counts the failures of one key, with details of the first one.
type Failures struct {
	Count       int64
	Example     string
	First, Last time.Time
}

// Tally counts the requests of a part of a run. Its latencies are of successful requests
// only: refused connections are fast and would make the percentiles look better.
type Tally struct {
	Succeeded int64
	Coalesced int64 // answered by the load of another request
	Negative  int64
	Stale     int64
	Failed    map[FailureKey]Failures

	bytes  [ops]int64                      // of the response bodies
	series [int(tiers) + int(ops) - 1]hist // of reads by tier, then of the other operations

	// Only in an open loop.
	waited hist // until a connection was free
	lag    hist // from then until the generator sent the request
	served hist // from then until the response
}

// seriesOf returns the index of an operation's latencies in Tally.series.
func seriesOf(o Op, t Tier) int {
	if o == Read {
		return int(t)
	}
	return int(tiers) + int(o) - 1
}

// Failures returns the number of failed requests of these operations, or of all.
func (t *Tally) Failures(of ...Op) int64 {
	var n int64
	for k, f := range t.Failed {
		if isOneOf(k.Op, of) {
			n += f.Count
		}
	}
	return n
}

// Dropped returns the number of requests that were never sent.
func (t *Tally) Dropped() int64 { return t.Failed[FailureKey{Kind: Dropped}].Count }

// Requests returns the number of finished requests, successful and failed.
func (t *Tally) Requests() int64 { return t.Succeeded + t.Failures() }

// Bytes returns the size of the response bodies of these operations, or of all.
func (t *Tally) Bytes(of ...Op) int64 {
	var n int64
	for o, b := range t.bytes {
		if isOneOf(Op(o), of) {
			n += b
		}
	}
	return n
}

func isOneOf[T comparable](v T, of []T) bool {
	for _, o := range of {
		if v == o {
			return true
		}
	}
	return len(of) == 0
}

// Hits returns the number of reads that the tier answered.
func (t *Tally) Hits(tier Tier) int64 { return t.series[tier].count() }

// HitRatio returns the share of successful reads that a cache answered, 0 to 1. ok is false
// if no response told its tier.
func (t *Tally) HitRatio() (ratio float64, ok bool) {
	var hits, known int64
	for tier := range tiers {
		n := t.Hits(tier)
		if tier != TierUnknown {
			known += n
		}
		if tier.Hit() {
			hits += n
		}
	}
	if known == 0 {
		return 0, false
	}
	return float64(hits) / float64(known), true
}

// Latency returns the latency of successful requests of these operations, or of all.
func (t *Tally) Latency(of ...Op) Latency {
	var l Latency
	for i := range t.series {
		if isOneOf(opOf(i), of) {
			l.h.merge(&t.series[i])
		}
	}
	return l
}

func opOf(series int) Op { return Op(max(series-int(tiers)+1, 0)) }

// TierLatency returns the latency of the reads that the tier answered.
func (t *Tally) TierLatency(tier Tier) Latency { return Latency{t.series[tier].clone()} }

// Sample is a successful request.
type Sample struct {
	Op                         Op
	Tier                       Tier // of a read
	Took                       time.Duration
	Served                     time.Duration // from sending, in an open loop; otherwise 0
	Bytes                      int           // of the response body
	Coalesced, Negative, Stale bool
}

// Record counts a successful request.
func (t *Tally) Record(s *Sample) {
	t.Succeeded++
	t.bytes[s.Op] += int64(s.Bytes)
	t.Coalesced += count(s.Coalesced)
	t.Negative += count(s.Negative)
	t.Stale += count(s.Stale)
	t.series[seriesOf(s.Op, s.Tier)].record(s.Took)
	if s.Served > 0 {
		t.served.record(s.Served)
	}
}

// Fail counts a failed request.
func (t *Tally) Fail(k FailureKey, example string, at time.Time) {
	t.addFailures(k, Failures{1, example, at, at})
}

// Depart records the delays of a request of an open loop: first the wait for a free
// connection, then the delay of the generator itself.
func (t *Tally) Depart(waited, lag time.Duration) {
	if waited > 0 {
		t.waited.record(waited)
	}
	t.lag.record(lag)
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (t *Tally) addFailures(k FailureKey, f Failures) {
	if t.Failed == nil {
		t.Failed = make(map[FailureKey]Failures)
	}
	have, ok := t.Failed[k]
	if !ok || f.First.Before(have.First) {
		have.First, have.Example = f.First, f.Example
	}
	if f.Last.After(have.Last) {
		have.Last = f.Last
	}
	have.Count += f.Count
	t.Failed[k] = have
}

// AddFailures adds only the failures of o.
func (t *Tally) AddFailures(o *Tally) {
	for k, f := range o.Failed {
		t.addFailures(k, f)
	}
}

func (t *Tally) add(o *Tally) {
	t.Succeeded += o.Succeeded
	t.Coalesced += o.Coalesced
	t.Negative += o.Negative
	t.Stale += o.Stale
	t.AddFailures(o)
	for i := range o.bytes {
		t.bytes[i] += o.bytes[i]
	}
	for i := range o.series {
		t.series[i].merge(&o.series[i])
	}
	t.waited.merge(&o.waited)
	t.lag.merge(&o.lag)
	t.served.merge(&o.served)
}

// reset empties t and keeps its memory.
func (t *Tally) reset() {
	for i := range t.series {
		t.series[i].reset()
	}
	t.waited.reset()
	t.lag.reset()
	t.served.reset()
	*t = Tally{series: t.series, waited: t.waited, lag: t.lag, served: t.served}
}
