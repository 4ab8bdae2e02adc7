package measure

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// newHistogram holds durations in nanoseconds, up to a minute, to 1 %.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Minute), 2)
}

func quantile(h *hdrhistogram.Histogram, q float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(q))
}

// timed runs operations side by side, each goroutine one after the other, and
// takes the time of each. Those that fail count as errors.
func (s *Session) timed(goroutines int, limit time.Duration, op func(goroutine int) func() error) (Sample, error) {
	histograms := make([]*hdrhistogram.Histogram, goroutines)
	errors := make([]int64, goroutines)
	var first atomic.Pointer[string]
	var stop atomic.Bool
	sample, err := s.observe(func() error {
		timer := time.AfterFunc(limit, func() { stop.Store(true) })
		defer timer.Stop()
		var wg sync.WaitGroup
		for g := range goroutines {
			histograms[g] = newHistogram()
			do := op(g)
			wg.Go(func() {
				for !stop.Load() {
					start := time.Now()
					if err := do(); err != nil {
						errors[g]++
						text := err.Error()
						first.CompareAndSwap(nil, &text)
						continue
					}
					_ = histograms[g].RecordValue(int64(time.Since(start)))
				}
			})
		}
		wg.Wait()
		return nil
	})
	all := newHistogram()
	for g, h := range histograms {
		all.Merge(h)
		sample.Errors += errors[g]
	}
	sample.Ops = all.TotalCount()
	sample.P50, sample.P99 = quantile(all, 50), quantile(all, 99)
	if text := first.Load(); text != nil {
		sample.Trouble = *text
	}
	return sample, err
}
