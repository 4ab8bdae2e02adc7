package bench

import (
	"context"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// WarmUp is what is asked for before anything is measured. The zero one is
// nothing.
type WarmUp struct {
	// Once asks for each id of the workload one time.
	Once bool
	// Duration is how long the workload itself runs, with other choices of the
	// same kind than those that are measured.
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

// warmStreams is where the streams of a warm-up begin: the choices that follow
// must not be the same ones, which a cache would have.
const warmStreams = 1 << 32

// warmUp does not report what failed: what is amiss still fails when it is
// measured.
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
