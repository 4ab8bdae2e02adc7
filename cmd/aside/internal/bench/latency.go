package bench

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds, from 1 us to an hour, with three digits.
const (
	maxLatency = time.Hour
	digits     = 3
)

// hist is a histogram that needs no large memory while it is empty.
type hist struct {
	h *hdr.Histogram
	// These are exact. Without a value they are 0.
	sum, low, high time.Duration
}

func (h *hist) record(d time.Duration) {
	h.make()
	d = min(max(d, time.Microsecond), maxLatency)
	h.extend(d, d, d)
	_ = h.h.RecordValue(d.Microseconds()) // is in range
}

// extend comes before the histogram has the values.
func (h *hist) extend(sum, low, high time.Duration) {
	if h.count() == 0 {
		h.low = low
	}
	h.sum += sum
	h.low = min(h.low, low)
	h.high = max(h.high, high)
}

func (h *hist) make() {
	if h.h == nil {
		h.h = hdr.New(1, maxLatency.Microseconds(), digits)
	}
}

func (h *hist) merge(o *hist) {
	if o.count() > 0 {
		h.make()
		h.extend(o.sum, o.low, o.high)
		h.h.Merge(o.h)
	}
}

func (h *hist) clone() hist {
	if h.h == nil {
		return hist{}
	}
	c := *h
	c.h = h.h.Clone()
	return c
}

func (h *hist) reset() {
	if h.count() > 0 {
		h.h.Reset()
		h.sum, h.low, h.high = 0, 0, 0
	}
}

func (h *hist) count() int64 {
	if h.h == nil {
		return 0
	}
	return h.h.TotalCount()
}

// Latency is a distribution of latencies. Check Count first: without requests all values
// are 0 and mean nothing.
type Latency struct{ h hist }

// Count is the number of requests.
func (l Latency) Count() int64 { return l.h.count() }

// Percentile takes p from 0 to 100.
func (l Latency) Percentile(p float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return l.exact(l.h.h.ValueAtPercentile(p))
}

// Percentiles returns several percentiles at once, at the cost of one.
func (l Latency) Percentiles(p ...float64) []time.Duration {
	ds := make([]time.Duration, len(p))
	if l.Count() > 0 {
		for i, v := range l.h.h.ValueAtPercentilesSlice(p) {
			ds[i] = l.exact(v)
		}
	}
	return ds
}

// exact returns a value of the histogram. It is the upper end of its bucket, and so may be
// longer than all latencies.
func (l Latency) exact(us int64) time.Duration {
	return min(time.Duration(us)*time.Microsecond, l.h.high)
}

// at returns the latency at a place, from 0, of all in order.
func (l Latency) at(place int64) time.Duration {
	n := l.Count()
	if n == 0 {
		return 0
	}
	return l.exact(l.h.h.ValueAtPercentile(100 * float64(min(place, n-1)+1) / float64(n)))
}

// Mean is the arithmetic mean.
func (l Latency) Mean() time.Duration { return l.h.sum / time.Duration(max(l.Count(), 1)) }

// Min is the shortest.
func (l Latency) Min() time.Duration { return l.h.low }

// Max is the longest.
func (l Latency) Max() time.Duration { return l.h.high }

// Bar is a bar of a distribution.
type Bar struct {
	UpTo  time.Duration
	Count int64
}

// Bars returns the distribution as bars. Each bar ends at a latency about a tenth longer
// than the end of the previous one. Empty bars at both ends are omitted.
func (l Latency) Bars() []Bar {
	if l.Count() == 0 {
		return nil
	}
	var bars []Bar
	end := 10.0 // us
	var sum int64
	for _, b := range l.h.h.Distribution() {
		if b.Count == 0 {
			continue
		}
		for float64(b.To) > end {
			if len(bars) > 0 || sum > 0 {
				bars = append(bars, Bar{upTo(end), sum})
			}
			sum = 0
			end *= 1.1
		}
		sum += b.Count
	}
	return append(bars, Bar{upTo(end), sum})
}

func upTo(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }
