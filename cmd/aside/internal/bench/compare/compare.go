// Package compare runs one load against several servers in turn.
//
// Rounds are interleaved: in each of them every server is measured once, in
// reverse order every other time. What changes on the machine meanwhile so
// meets all of them alike, and a ratio is one of two runs that were close in
// time.
package compare

import (
	"context"
	"errors"
	"fmt"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
)

// Target is one of the servers, or of the settings of a server.
type Target struct {
	Name string
	// Start makes it ready for a run; stop is called after it. Nil: it is ready,
	// at URL.
	Start func(ctx context.Context) (url string, stop func() error, err error)
	URL   string
}

// Config says what is compared. The first target is what the others are divided
// by.
type Config struct {
	Targets []Target // two at least
	Rounds  int
	Load    bench.Config // its URL is not used
	// Begin, if set, is called before each run.
	Begin func(round int, t Target)
}

// Report is what was measured.
type Report struct {
	Names       []string
	Load        bench.Config
	Rounds      int // that were asked for
	Interrupted bool
	// Runs has a list for each target, with a report for each round; nil for a
	// run that was not made, or was interrupted.
	Runs [][]*bench.Report
}

// Run measures all targets in all rounds, or until ctx ends; the run that it
// cuts off is left out. The error is that of a Config that cannot be used, or of
// a target that cannot be started; the report has what was measured before.
func Run(ctx context.Context, c Config) (*Report, error) {
	if len(c.Targets) < 2 {
		return nil, errors.New("nothing to compare: two targets are needed")
	}
	if c.Rounds < 1 {
		return nil, fmt.Errorf("rounds must be at least 1, is %d", c.Rounds)
	}
	r := &Report{Load: c.Load, Rounds: c.Rounds, Runs: make([][]*bench.Report, len(c.Targets))}
	for i, t := range c.Targets {
		r.Names = append(r.Names, t.Name)
		r.Runs[i] = make([]*bench.Report, c.Rounds)
	}
	for round := range c.Rounds {
		for i := range c.Targets {
			if round%2 == 1 {
				i = len(c.Targets) - 1 - i
			}
			if ctx.Err() != nil {
				r.Interrupted = true
				return r, nil
			}
			if c.Begin != nil {
				c.Begin(round, c.Targets[i])
			}
			load := c.Load
			load.Round = round // or a cache that has been there before would know all its ids
			one, err := measure(ctx, c.Targets[i], load)
			switch {
			case ctx.Err() != nil:
				r.Interrupted = true
				return r, nil
			case err != nil:
				return r, fmt.Errorf("round %d, %s: %w", round+1, c.Targets[i].Name, err)
			}
			r.Runs[i][round] = one
		}
	}
	return r, nil
}

func measure(ctx context.Context, t Target, load bench.Config) (r *bench.Report, err error) {
	load.URL = t.URL
	if t.Start != nil {
		var stop func() error
		if load.URL, stop, err = t.Start(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return bench.Run(ctx, load)
}
