package bench

import (
	"context"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// WarmUp configures the requests before the measurement. The zero WarmUp sends none.
type WarmUp struct {
	// Once reads each id of the workload once.
	Once bool
	// Duration is how long to run the workload, with other choices than in the
	// measurement.
	Duration time.Duration
}

func (w WarmUp) String() string {
	switch {
	case w.Once && w.Duration > 0:
		return "every id once, then " + w.Duration.String() + " of the workload"
	case w.Once:
		return "every id once"
	case w.Duration > 0:
		return w.Duration.String() + " of the workload"
	}
	return "none"
}

// warmStreams is the number of the first stream of a warm-up. The measurement must make
// other choices: otherwise the cache would have all of its ids.
const warmStreams = 1 << 32

// warmUp does not report failures: a lasting fault shows in the measurement.
func warmUp(ctx context.Context, c Config, e httpwire.Endpoint) {
	once := func(c Config) {
		r := newRun(c, e)
		r.streams, r.warmingUp = r.streams+warmStreams, true
		r.cleanUp(ctx, r.measure(ctx))
	}
	c.Requests, c.SpawnRate = 0, 0
	if c.WarmUp.Once {
		c := c
		c.Workload, c.Mix, c.Rate, c.Poisson, c.Duration = c.Workload.Once(), Mix{}, 0, false, 0
		once(c)
	}
	if c.WarmUp.Duration > 0 && ctx.Err() == nil {
		c.Duration = c.WarmUp.Duration
		once(c)
	}
}
