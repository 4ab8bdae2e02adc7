package history

import (
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Staleness is kept in microseconds, from 1 us to a day, to three digits.
const (
	longest = 24 * time.Hour
	digits  = 3
)

// Staleness tells how stale the reads of one level were. A read is stale by the
// time for which, at its call, a version newer than the one it returned had been
// acknowledged. The distribution is that of the stale reads alone: the others,
// most of them, would make every percentile zero.
type Staleness struct {
	Reads int64 // all
	Stale int64
	Worst time.Duration

	distribution *hdr.Histogram // nil while nothing was stale
}

// Share is that of the stale reads among all, 0 to 1.
func (s *Staleness) Share() float64 {
	if s.Reads == 0 {
		return 0
	}
	return float64(s.Stale) / float64(s.Reads)
}

// Quantile is that of the stale reads: 0.5 is their median, 0.999 what all but a
// thousandth stay within; 0 if none was stale.
func (s *Staleness) Quantile(q float64) time.Duration {
	if s.distribution == nil {
		return 0
	}
	// A bucket's upper end may lie above the largest value in it.
	v := time.Duration(s.distribution.ValueAtPercentile(100*q)) * time.Microsecond
	return min(v, s.Worst)
}

func (s *Staleness) stale(by time.Duration) {
	s.Stale++
	s.Worst = max(s.Worst, by)
	if s.distribution == nil {
		s.distribution = hdr.New(1, longest.Microseconds(), digits)
	}
	// Rounded up, so that no figure is better than what was seen.
	us := (min(by, longest) + time.Microsecond - 1) / time.Microsecond
	if err := s.distribution.RecordValue(int64(us)); err != nil {
		panic(err) // in range by the line above
	}
}

func (s *Staleness) add(o *Staleness) {
	s.Reads += o.Reads
	s.Stale += o.Stale
	s.Worst = max(s.Worst, o.Worst)
	if o.distribution == nil {
		return
	}
	if s.distribution == nil {
		s.distribution = o.distribution.Clone()
		return
	}
	s.distribution.Merge(o.distribution)
}
