package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/internal/loadtest"
)

// BenchCmd is "aside bench".
type BenchCmd struct {
	URL       string         `name:"url" help:"Where the records are: a record is asked for at URL/ID." default:"http://127.0.0.1:8000/todos"`
	IDs       loadtest.Range `name:"ids" help:"The ids to ask for, FIRST-LAST." default:"1-200000"`
	Pick      string         `help:"uniform: any id with the same chance, for ever. scan: every id once, in order; the run ends with the last." enum:"uniform,scan" default:"uniform"`
	Seed      uint64         `help:"With --pick uniform: the same seed makes the same choices for the same number of users." default:"1"`
	Users     int            `help:"Requests under way at one time, each on a connection of its own." default:"100"`
	SpawnRate float64        `help:"Users that begin in a second. 0: all at once." default:"100"`
	Duration  time.Duration  `help:"How long it runs; requests under way are finished. 0: until another limit, or Ctrl-C." default:"1m"`
	Requests  int64          `help:"End after N requests. 0: no such limit." placeholder:"N"`
	Timeout   time.Duration  `help:"Longest time for one request." default:"30s"`
	JSON      bool           `name:"json" help:"Print the report as JSON, for programs."`
}

// Help is shown by "aside bench --help".
func (*BenchCmd) Help() string {
	return `Each user asks again as soon as it has its answer (a closed loop), on a connection that is kept alive. A slow server is therefore asked less often: the percentiles tell what such users saw, not what arrivals at a fixed rate would see.

The report tells by the answers' Cache-Status header how many were hits, and in which tier. Latencies are those of successful requests; an answer is one if its status is 2xx and it is complete. Progress goes to standard error, the report to standard output. Ctrl-C ends the run early; it is reported all the same.

The exit code is 0 if no request failed, 1 if one did or none was made, and 2 for a mistake in the command line.`
}

func (c *BenchCmd) config() loadtest.Config {
	workload := loadtest.Uniform(c.IDs, c.Seed)
	if c.Pick == "scan" {
		workload = loadtest.Scan(c.IDs)
	}
	return loadtest.Config{
		URL: c.URL, Users: c.Users, SpawnRate: c.SpawnRate, Workload: workload,
		Duration: c.Duration, Requests: c.Requests, Timeout: c.Timeout,
	}
}

// Validate is called by the parser.
func (c *BenchCmd) Validate() error {
	config := c.config()
	return config.Validate()
}

// Run runs the load and prints the report.
func (c *BenchCmd) Run(ctx context.Context, out io.Writer) error {
	show, end := benchLines(os.Stderr)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		show, end = benchLive(os.Stderr)
	}
	return c.run(ctx, out, show, end)
}

func (c *BenchCmd) run(ctx context.Context, out io.Writer, show func(loadtest.Progress), end func()) error {
	config := c.config()
	config.Progress = show
	report, err := loadtest.Run(ctx, config)
	end()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	write := report.WriteText
	if c.JSON {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	switch {
	case report.Failures() > 0:
		return fmt.Errorf("%d of %d requests failed", report.Failures(), report.Requests())
	case report.Requests() == 0:
		return errors.New("no request was finished")
	}
	return nil
}

// benchLive rewrites one line of a terminal every second.
func benchLive(w io.Writer) (show func(loadtest.Progress), end func()) {
	drawn := false
	return func(p loadtest.Progress) {
			drawn = true
			fmt.Fprint(w, "\r\x1b[2K"+benchLine(p))
		}, func() {
			if drawn {
				fmt.Fprintln(w)
			}
		}
}

// benchEvery is how often a line is written where lines stay.
const benchEvery = 5 // seconds

func benchLines(w io.Writer) (show func(loadtest.Progress), end func()) {
	n := 0
	return func(p loadtest.Progress) {
		if n++; n%benchEvery == 0 {
			fmt.Fprintln(w, benchLine(p))
		}
	}, func() {}
}

// benchLine is about the last second, but for the failures, which must not be
// missed.
func benchLine(p loadtest.Progress) string {
	var b strings.Builder
	l := p.Interval.Latency()
	ms := func(percentile float64) float64 {
		return float64(l.Percentile(percentile).Microseconds()) / 1000
	}
	fmt.Fprintf(&b, "%4.0fs  %d users  %.0f/s  p50 %.1f  p95 %.1f  p99 %.1f ms",
		p.Elapsed.Seconds(), p.Users, float64(p.Interval.Succeeded)/p.Took.Seconds(), ms(50), ms(95), ms(99))
	if _, ok := p.Interval.HitRatio(); ok {
		share := func(t loadtest.Tier) float64 {
			return 100 * float64(p.Interval.Hits(t)) / float64(p.Interval.Succeeded)
		}
		fmt.Fprintf(&b, "  L1 %.1f %%  L2 %.1f %%", share(loadtest.TierL1), share(loadtest.TierL2))
	}
	if n := p.Total.Failures(); n > 0 {
		fmt.Fprintf(&b, "  %d failed", n)
	}
	return b.String()
}
