package measure

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"
)

// ColdArgs say how keys are read that nobody has read.
type ColdArgs struct {
	Prefix     string // of the keys, different for each call
	Goroutines int
	For        time.Duration
}

// Cold reads each key once: every read is a miss. The time that fills take after
// the last answer counts.
func (s *Session) Cold(ctx context.Context, a ColdArgs) (Sample, error) {
	var next atomic.Int64
	start := time.Now()
	sample, err := s.timed(a.Goroutines, a.For, func(int) func() error {
		return func() error { return s.read(ctx, a.Prefix+strconv.FormatInt(next.Add(1), 10)) }
	})
	if err != nil {
		return sample, err
	}
	busy, err := settle(ctx, s.opts.Redis)
	if !busy.IsZero() {
		sample.Elapsed = busy.Sub(start)
	}
	return sample, err
}
