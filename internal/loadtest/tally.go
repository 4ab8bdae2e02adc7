package loadtest

import (
	"fmt"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/asidecache/aside/internal/wire"
)

// BadStatus is a complete answer whose status is not 2xx; the other kinds are
// those of a connection. Redirects are not followed: the time for two requests
// is not that of one.
const BadStatus wire.Kind = "status"

// FailureKey is what failures are counted by. Status is 0 but for BadStatus.
type FailureKey struct {
	Kind   wire.Kind
	Status int
}

func (k FailureKey) String() string {
	if k.Kind == BadStatus {
		return fmt.Sprintf("status %d", k.Status)
	}
	return string(k.Kind)
}

// Failures are those of one key, with the first one's details.
type Failures struct {
	Count   int64
	Example string
}

// Latencies are recorded in microseconds, from 1 us to an hour, to three digits.
const (
	maxLatency = time.Hour
	digits     = 3
)

func newHistogram() *hdr.Histogram { return hdr.New(1, maxLatency.Microseconds(), digits) }

// Tally counts the requests of a part of a run. The latencies are those of the
// requests that succeeded: failures are counted, but a connection that is
// refused at once would make the percentiles look better.
type Tally struct {
	Succeeded int64
	Bytes     int64 // of their bodies
	Coalesced int64 // answered from a load that another request had begun
	Negative  int64
	Stale     int64
	Failed    map[FailureKey]Failures

	byTier [tiers]*hdr.Histogram // made when first needed
}

// Failures is the number of failed requests.
func (t *Tally) Failures() int64 {
	var n int64
	for _, f := range t.Failed {
		n += f.Count
	}
	return n
}

// Requests is the number of requests that ended, well or not.
func (t *Tally) Requests() int64 { return t.Succeeded + t.Failures() }

// Hits is the number of answers from that tier.
func (t *Tally) Hits(tier Tier) int64 {
	if h := t.byTier[tier]; h != nil {
		return h.TotalCount()
	}
	return 0
}

// HitRatio is the share of the successful requests that any tier of a cache
// answered, 0 to 1. ok is false if none said.
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

// Latency is that of the requests which these tiers answered, or of all
// successful requests.
func (t *Tally) Latency(of ...Tier) Latency {
	all := newHistogram()
	for tier := range tiers {
		if h := t.byTier[tier]; h != nil && (len(of) == 0 || slices.Contains(of, tier)) {
			all.Merge(h)
		}
	}
	return Latency{all}
}

func (t *Tally) succeed(took time.Duration, size int, status cacheStatus) {
	t.Succeeded++
	t.Bytes += int64(size)
	t.Coalesced += count(status.collapsed)
	t.Negative += count(status.negative)
	t.Stale += count(status.stale)
	h := t.byTier[status.tier]
	if h == nil {
		h = newHistogram()
		t.byTier[status.tier] = h
	}
	_ = h.RecordValue(min(max(took, time.Microsecond), maxLatency).Microseconds()) // is in range
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (t *Tally) fail(k FailureKey, detail string) {
	t.addFailures(k, Failures{1, detail})
}

func (t *Tally) addFailures(k FailureKey, f Failures) {
	if t.Failed == nil {
		t.Failed = make(map[FailureKey]Failures)
	}
	have, ok := t.Failed[k]
	if !ok {
		have.Example = f.Example
	}
	have.Count += f.Count
	t.Failed[k] = have
}

func (t *Tally) add(o *Tally) {
	t.Succeeded += o.Succeeded
	t.Bytes += o.Bytes
	t.Coalesced += o.Coalesced
	t.Negative += o.Negative
	t.Stale += o.Stale
	for k, f := range o.Failed {
		t.addFailures(k, f)
	}
	for tier, h := range o.byTier {
		if h == nil {
			continue
		}
		if t.byTier[tier] == nil {
			t.byTier[tier] = newHistogram()
		}
		t.byTier[tier].Merge(h)
	}
}

func (t *Tally) reset() {
	for _, h := range t.byTier {
		if h != nil {
			h.Reset()
		}
	}
	*t = Tally{byTier: t.byTier}
}

// Latency is a distribution. Without requests all of it is 0.
type Latency struct{ h *hdr.Histogram }

// Count is the number of requests.
func (l Latency) Count() int64 { return l.h.TotalCount() }

// Percentile takes p from 0 to 100.
func (l Latency) Percentile(p float64) time.Duration {
	return time.Duration(l.h.ValueAtPercentile(p)) * time.Microsecond
}

// Mean is the arithmetic mean.
func (l Latency) Mean() time.Duration {
	return time.Duration(l.h.Mean() * float64(time.Microsecond))
}

// Max is the longest.
func (l Latency) Max() time.Duration { return time.Duration(l.h.Max()) * time.Microsecond }
