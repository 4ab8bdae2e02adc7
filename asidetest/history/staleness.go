package history

import (
	"maps"
	"slices"
	"time"
)

// Staleness tells how stale the reads of one level were. A read is stale by the
// time for which, at its call, a version newer than the one it returned had been
// acknowledged. For Strong and Default an outside write counts as acknowledged only
// Options.MaxOutside after its return. The distribution is that of the stale reads alone: the others,
// most of them, would make every percentile zero.
type Staleness struct {
	Reads int64 // all
	Stale int64
	Worst time.Duration

	// How many reads were stale by how much, rounded up by roundUp: some ten
	// thousand steps at most, however many reads.
	counts map[time.Duration]int64
}

// Share is that of the stale reads among all, 0 to 1.
func (s *Staleness) Share() float64 {
	if s.Reads == 0 {
		return 0
	}
	return float64(s.Stale) / float64(s.Reads)
}

// Quantile is that of the stale reads: 0.5 is their median, 0.999 what all but a
// thousandth stay within; 0 if none was stale. It is exact to three digits.
func (s *Staleness) Quantile(q float64) time.Duration {
	within := int64(0)
	for _, by := range slices.Sorted(maps.Keys(s.counts)) {
		if within += s.counts[by]; float64(within) >= q*float64(s.Stale) {
			return min(by, s.Worst) // a step may lie above the largest value in it
		}
	}
	return s.Worst
}

func (s *Staleness) stale(by time.Duration) {
	s.Stale++
	s.Worst = max(s.Worst, by)
	s.count(roundUp(by), 1)
}

func (s *Staleness) add(o *Staleness) {
	s.Reads += o.Reads
	s.Stale += o.Stale
	s.Worst = max(s.Worst, o.Worst)
	for by, n := range o.counts {
		s.count(by, n)
	}
}

func (s *Staleness) count(by time.Duration, n int64) {
	if s.counts == nil {
		s.counts = map[time.Duration]int64{}
	}
	s.counts[by] += n
}

// roundUp rounds to three digits, and to a microsecond at least: up, so that no
// figure is better than what was seen.
func roundUp(d time.Duration) time.Duration {
	step := time.Microsecond
	for d > 1000*step {
		step *= 10
	}
	return (d + step - 1) / step * step
}
