package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/bench/report"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// BenchCmd is "aside bench".
type BenchCmd struct {
	URL []string `name:"url" help:"Where the records are: a record is asked for at URL/ID. With --compare once for each server. Default: http://127.0.0.1:8000/todos" placeholder:"URL" sep:"none" group:"Load"`

	Users     int           `help:"Requests under way at one time, each on a connection of its own; with --rate at most so many." default:"100" group:"Load"`
	SpawnRate float64       `help:"Users that begin in a second. 0: all at once. Not used with --rate." default:"100" group:"Load"`
	Rate      float64       `help:"Open loop: send N requests a second, however fast the answers come. 0: closed loop." placeholder:"N" group:"Load"`
	Arrivals  string        `help:"With --rate. even: at equal intervals. random: as from many clients that know nothing of each other (a Poisson process)." enum:"even,random" default:"even" group:"Load"`
	Timeout   time.Duration `help:"Longest time for one request; with --rate also the longest wait for a free connection, after which it is dropped." default:"30s" group:"Load"`
	WarmUp    warmUp        `help:"What to ask for first, unmeasured. once: every id one time. DURATION: the workload itself for so long. once,DURATION: both." placeholder:"once|DURATION" group:"Load"`
	Duration  time.Duration `help:"How long it measures; requests under way are finished. 0: until another limit, or Ctrl-C. Default: 1m, with --compare 10s for each run." placeholder:"DURATION" default:"-1ns" group:"Load"`
	Requests  int64         `help:"End after N requests. 0: no such limit." placeholder:"N" group:"Load"`

	BenchWorkload

	JSON          bool   `name:"json" help:"Print the report as JSON, for programs." group:"Report"`
	HTML          string `name:"html" help:"Write the report as a page for browsers, with charts; it needs no network." placeholder:"FILE" group:"Report"`
	CSV           string `name:"csv" help:"Write PREFIX_stats.csv, PREFIX_stats_history.csv and PREFIX_failures.csv, with the columns of locust." placeholder:"PREFIX" group:"Report"`
	MaxErrorRatio share  `help:"Share of the requests that may fail before the exit code is 1, such as 1% or 0.01." default:"0" group:"Report"`

	BenchComparison
}

// Help is shown by "aside bench --help".
func (*BenchCmd) Help() string {
	return `The load of the tutorial, and one with a report to look at:

    aside bench --users 100 --spawn-rate 100 --duration 1m \
        --url http://127.0.0.1:8000/todos --ids 1-200000
    aside bench --pick zipf --zipf-exponent 0.99 --warm-up once \
        --html report.html

Closed loop or open loop? Without --rate each user asks again as soon as it has its answer (a closed loop), on a connection that is kept alive. A slow server is therefore asked less often: the percentiles tell what such users saw, not what arrivals at a fixed rate would see. It answers "how much can the server do?"

With --rate requests come on a schedule that a slow server cannot slow down (an open loop), and latencies count from when a request was to be sent, not from when a connection was free for it. So they are free of coordinated omission: a server that stands still for a second is charged with all the requests that came meanwhile. It answers "how fast is the server at this load?" If it cannot keep up, the backlog grows, which is shown; what waited longer than --timeout is dropped and counts as failed; and what has piled up at the end is still sent.

    aside bench --rate 5000 --users 200 --duration 30s

Which records? --pick chooses among --ids, or --trace replays a file. The same --seed makes the same choices. --create, --update and --delete make a share of the requests write. Created records have ids of their own that begin with "bench-", may be read, changed and deleted by the run, and are removed at the end (--keep-created leaves them). --update changes the names of existing records, for good. Others are never deleted.

How is it answered? The report tells by the answers' Cache-Status header how many reads were hits, and in which tier. Latencies are those of successful requests; an answer is one if its status is 2xx and it is complete. Failures are counted by kind. Columns are named as locust names them, so that reports can be read side by side; but locust's latencies include failed requests.

Which is faster? --compare runs the load against several servers in turn, in several rounds, and reports ratios and how far they spread. Without --url it starts "aside serve" itself: with no cache, with Redis alone, and with memory and Redis. Each run is on a fresh process with an empty cache; --warm-up fills it. What stands behind -- is given on to "aside serve".

    aside load --count 200000 --data bench-data
    aside bench --compare --data bench-data --redis redis://127.0.0.1:6379 \
        --warm-up 5s -- --ttl 1m
    aside bench --compare --url http://127.0.0.1:8001/todos \
        --url http://127.0.0.1:8002/todos

Progress goes to standard error, the report to standard output. Ctrl-C ends the run early; it is reported all the same.

The exit code is 0 if no more failed than --max-error-ratio, 1 if more did or none was made, and 2 for a mistake in the command line.`
}

const defaultBenchURL = "http://127.0.0.1:8000/todos"

// config is that of a run against url.
func (c *BenchCmd) config(workload ids.Workload, url string) bench.Config {
	duration := c.Duration
	if duration == notGiven {
		duration = time.Minute
		if c.Compare {
			duration = 10 * time.Second
		}
	}
	return bench.Config{
		URL: url, Users: c.Users, SpawnRate: c.SpawnRate, Rate: c.Rate, Poisson: c.Arrivals == "random",
		Workload: workload, Mix: c.mix(), Seed: c.Seed, WarmUp: bench.WarmUp(c.WarmUp), KeepCreated: c.KeepCreated,
		Duration: duration, Requests: c.Requests, Timeout: c.Timeout,
	}
}

// notGiven is the value of a duration that was not.
const notGiven time.Duration = -1

// Validate is called by the parser. It reports all mistakes but those in the
// file of --trace, which is not read yet.
func (c *BenchCmd) Validate() error {
	var errs []error
	workload, err := c.withoutTrace()
	if err != nil {
		errs = append(errs, err)
		workload = ids.Uniform(c.IDs, c.Seed) // to look at the rest
	}
	urls := c.URL
	if len(urls) == 0 {
		urls = []string{defaultBenchURL}
	}
	for i, url := range urls {
		config := c.config(workload, url)
		if i > 0 {
			config = bench.Config{URL: url, Users: 1, Workload: workload} // the rest is the same
		}
		errs = append(errs, config.Validate())
	}
	errs = append(errs, c.checkWorkload(), c.checkComparison())
	for flag, path := range map[string]string{"--html": c.HTML, "--csv": c.CSV} {
		if path == "" {
			continue
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s is no directory", flag, filepath.Dir(path)))
		}
	}
	return errors.Join(errs...)
}

// Run runs the load and prints the report.
func (c *BenchCmd) Run(ctx context.Context, out io.Writer) error {
	workload, err := c.workload(ctx)
	switch {
	case ctx.Err() != nil:
		return err
	case err != nil:
		return &exitError{err, exitUsage}
	}
	view := newBenchView(os.Stderr)
	defer view.end()
	if c.Compare {
		return c.compare(ctx, out, workload, view)
	}
	return c.measure(ctx, out, workload, view)
}

func (c *BenchCmd) measure(ctx context.Context, out io.Writer, workload ids.Workload, view benchView) error {
	url := defaultBenchURL
	if len(c.URL) > 0 {
		url = c.URL[0]
	}
	if err := c.reach(ctx, url); err != nil {
		return err
	}
	config := c.config(workload, url)
	view.begin(config.URL, &config)
	config.Progress = view.show
	r, err := bench.Run(ctx, config)
	view.end()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	write := report.Text
	if c.JSON {
		write = report.JSON
	}
	err = write(out, r)
	if c.HTML != "" {
		err = errors.Join(err, report.HTMLFile(c.HTML, r))
	}
	if c.CSV != "" {
		err = errors.Join(err, report.CSV(c.CSV, r))
	}
	if err != nil {
		return err
	}
	return c.judge(r.Requests(), r.Failures())
}

// reachTime is what a server has to take a connection before the load begins.
const reachTime = 5 * time.Second

// reach tells at once that nobody listens, rather than after a run in which all
// requests fail.
func (c *BenchCmd) reach(ctx context.Context, urls ...string) error {
	var errs []error
	for _, url := range urls {
		e, err := httpwire.Parse(url)
		if err == nil {
			err = e.Reach(ctx, reachTime)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--url %s: %w", url, err))
		}
	}
	return errors.Join(errs...)
}

// judge makes the exit code of what became of the requests.
func (c *BenchCmd) judge(requests, failures int64) error {
	switch {
	case requests == 0:
		return errors.New("no request was finished")
	case float64(failures) > float64(c.MaxErrorRatio)*float64(requests):
		return fmt.Errorf("%d of %d requests failed", failures, requests)
	}
	return nil
}

// warmUp reads bench.WarmUp from a flag.
type warmUp bench.WarmUp

// UnmarshalText reads "once", a duration, or "once," and a duration.
func (w *warmUp) UnmarshalText(text []byte) error {
	*w = warmUp{}
	rest := string(text)
	if rest == "once" {
		w.Once = true
		return nil
	}
	if after, ok := strings.CutPrefix(rest, "once,"); ok {
		w.Once, rest = true, after
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return fmt.Errorf("must be once, a duration such as 10s, or once,10s; is %q", text)
	}
	w.Duration = d
	return nil
}
