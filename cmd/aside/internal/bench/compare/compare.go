// Package compare runs the same load against several servers in turn.
//
// In each round every server is measured once. Every second round is in reverse order. So
// changes on the machine affect all servers in the same way, and each ratio compares two
// runs that were close in time.
package compare

import (
	"context"
	"errors"
	"fmt"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
)

// Target is a server, or a setting of a server.
type Target struct {
	Name string
	// Start prepares the server for a run. stop is called after the run. Nil means
	// that the server runs already, at URL.
	Start func(ctx context.Context) (url string, stop func() error, err error)
	URL   string
}

// Config configures a comparison. Ratios are relative to the first target.
type Config struct {
	Targets []Target // at least two
	Rounds  int
	Load    bench.Config // its URL is not used
	// Begin, if set, is called before each run.
	Begin func(round int, t Target)
}

// Report is the result of a comparison.
type Report struct {
	Names       []string
	Load        bench.Config
	Rounds      int // that were asked for
	Interrupted bool
	// Runs has a list for each target, with a report for each round. The report is nil
	// if the run was not made or was interrupted.
	Runs [][]*bench.Report
}

// Run measures all targets in all rounds, or until ctx ends. It drops a run that ctx
// interrupts. It returns an error if the Config is invalid or a target cannot be started.
// After such an error the report has the runs so far.
func Run(ctx context.Context, c Config) (*Report, error) {
	if len(c.Targets) < 2 {
		return nil, errors.New("a comparison needs at least two targets")
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
			load.Round = round // otherwise a cache from the previous round would have all the ids
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
