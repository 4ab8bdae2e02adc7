package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	URL []string `name:"url" help:"URL of the records. The URL of one record is URL/ID. With --compare, give it once for each server. Default: http://127.0.0.1:8000/todos." placeholder:"URL" sep:"none" group:"Load"`

	Users     int           `help:"Number of concurrent users. Each has one connection and one request at a time. With --rate: maximum number of concurrent requests." default:"100" group:"Load"`
	SpawnRate float64       `help:"Users that start per second. 0: all at once. Not used with --rate." default:"100" group:"Load"`
	Rate      float64       `help:"Send N requests per second, even if the responses are slow (open loop). 0: closed loop." placeholder:"N" group:"Load"`
	Arrivals  string        `help:"With --rate: when requests are sent. even: at equal intervals. random: at random times, as from many independent clients (a Poisson process)." enum:"even,random" default:"even" group:"Load"`
	Timeout   time.Duration `help:"Timeout for one request. With --rate, a request that waits longer than this for a free connection is dropped." default:"30s" group:"Load"`
	WarmUp    warmUp        `help:"Requests to send before the measurement. once: read every id once. DURATION: run the workload for this time. once,DURATION: both." placeholder:"once|DURATION" group:"Load"`
	Duration  time.Duration `help:"How long to measure. Running requests are finished. 0: until another limit, or Ctrl-C. Default: 1m, with --compare 10s per run." placeholder:"DURATION" default:"-1ns" group:"Load"`
	Requests  int64         `help:"Stop after N requests. 0: no limit." placeholder:"N" group:"Load"`

	BenchWorkload

	JSON          bool   `name:"json" help:"Print the report as JSON." group:"Report"`
	HTML          string `name:"html" help:"Write the report to FILE as an HTML page with charts. The page loads nothing from the network." placeholder:"FILE" group:"Report"`
	CSV           string `name:"csv" help:"Write PREFIX_stats.csv, PREFIX_stats_history.csv, PREFIX_failures.csv and PREFIX_exceptions.csv, in the format of locust." placeholder:"PREFIX" group:"Report"`
	MaxErrorRatio share  `help:"Maximum share of failed requests, such as 1% or 0.01. If more fail, the exit code is 1." default:"0" group:"Report"`

	BenchComparison
}

// Usage replaces kong's usage line: the flags for "aside serve" stand after --.
func (*BenchCmd) Usage() string { return "[flags] [-- <serve-flags> ...]" }

// Help is shown by "aside bench --help".
func (*BenchCmd) Help() string {
	return `Without flags, 100 users read the records that the server lists, for a minute.

    aside bench
    aside bench --users 20 --duration 10s --html report.html
    aside bench --pick zipf --warm-up once --update 5%
    aside bench --rate 2000 --users 50 --duration 10s
    aside bench --compare --rounds 3 --duration 3s --warm-up 1s

Without --rate, each user sends the next request when it has the response (closed loop): this shows
the maximum throughput. With --rate, requests are due at fixed times, however slow the responses are
(open loop): this shows the latency at a given load. --compare starts its own servers, with and
without a cache.`
}

// Notes stand after the flags.
func (*BenchCmd) Notes() string {
	return `Ids: without --ids and --trace, the command reads the pages of GET URL for at most 10s. It keeps at
most 200,000 ids, spread over all pages that it has read. The report says which ids it used.

Closed loop: a slow server gets fewer requests. This hides waiting time: use --rate to see it.

Open loop: a latency starts at the time when the request was due, not when a connection was free. So
there is no coordinated omission: if the server hangs for a second, every request due in this second
counts. If the server is slower than --rate, requests queue up, and the report shows this backlog. A
request that waits longer than --timeout is dropped and counts as failed. Requests that are still in
the queue at the end are sent.

Workload: --pick chooses records from --ids, or --trace replays the ids in a file. The same --seed
makes the same choices. --create, --update and --delete set the shares of writes. The ids of created
records begin with "bench-". The run may read, change and delete these records, and deletes them all
at the end (--keep-created keeps them). --update changes the names of existing records permanently.
Records that existed before are never deleted.

Report: the header Cache-Status of the responses tells how many reads were hits, and in which tier.
Latencies are of successful requests only. A request is successful if the status is 2xx and the
response is complete. Failures are counted by kind. The columns have the names of locust's, but
latencies in locust include failed requests.

Comparison: --compare runs the load against several servers in turn, in several rounds. It reports
ratios and their spread. Without --url it starts "aside serve" itself: without a cache, with Redis
only, and with memory and Redis. Each run starts a new process with an empty cache, which --warm-up
can fill. Flags after -- are passed to "aside serve", those of a cache or of Redis only where there
is one.

    aside load --count 200000 --data bench-data
    aside bench --compare --data bench-data --redis redis://127.0.0.1:6379 \
        --warm-up 5s -- --ttl 1m
    aside bench --compare --url http://127.0.0.1:8001/todos \
        --url http://127.0.0.1:8002/todos

Progress goes to standard error, the report to standard output. Ctrl-C ends the run early, and the
report is still printed.

The exit code is 0 if the share of failed requests is at most --max-error-ratio, 1 if it is higher
or if no request was made, and 2 for a mistake in the command line.`
}

const defaultBenchURL = "http://127.0.0.1:8000/todos"

// config returns the configuration of a run against url.
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

// notGiven is the default of a duration flag whose real default depends on others.
const notGiven time.Duration = -1

// urls returns the servers, if this command does not start them.
func (c *BenchCmd) urls() []string {
	if len(c.URL) == 0 {
		return []string{defaultBenchURL}
	}
	return c.URL
}

// Validate is called by the parser. It reports all mistakes at once, except those in
// the file of --trace, which is read later.
func (c *BenchCmd) Validate() error {
	var errs []error
	workload, err := c.over(c.given())
	if err != nil {
		errs = append(errs, err)
		workload = ids.Uniform(c.given(), c.Seed) // any valid one, to check the other flags
	}
	for i, url := range c.urls() {
		config := c.config(workload, url)
		if i > 0 {
			config = bench.Config{URL: url, Users: 1, Workload: workload} // the other flags are checked already
		}
		errs = append(errs, config.Validate())
	}
	errs = append(errs, c.checkWorkload(), c.checkComparison())
	for flag, path := range map[string]string{"--html": c.HTML, "--csv": c.CSV} {
		if path == "" {
			continue
		}
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s is not a directory", flag, filepath.Dir(path)))
		}
	}
	return errors.Join(errs...)
}

// Run runs the load and prints the report.
func (c *BenchCmd) Run(ctx context.Context, out io.Writer) error {
	view := newBenchView(os.Stderr)
	defer view.end()
	if err := c.prepare(); err != nil {
		return err
	}
	workload, err := c.workload(ctx, view)
	if err != nil {
		return err
	}
	if c.Compare {
		return c.compare(ctx, out, workload, view)
	}
	return c.measure(ctx, out, workload, view)
}

func (c *BenchCmd) measure(ctx context.Context, out io.Writer, workload ids.Workload, view benchView) error {
	config := c.config(workload, c.urls()[0])
	config.AddedLatency = addedLatency(ctx, config.URL)
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
	err = c.judge(r.Requests(), r.Failures())
	if err != nil && onlyNotFound(r) {
		err = fmt.Errorf("%w; the status of all was 404: --url must be the URL of the collection, such as http://HOST:PORT/todos, and --ids must exist", err)
	}
	return err
}

// onlyNotFound reports whether no request had another answer than 404.
func onlyNotFound(r *bench.Report) bool {
	for k := range r.Failed {
		if k.Status != http.StatusNotFound {
			return false
		}
	}
	return r.Requests() > 0 && r.Requests() == r.Failures()
}

// reachTime is the timeout of the connection that checks a server before the load.
const reachTime = 5 * time.Second

// reach returns an error if no server listens. Without this check all requests of
// the run would fail.
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

// judge returns an error, and so exit code 1, if too many requests failed.
func (c *BenchCmd) judge(requests, failures int64) error {
	switch {
	case requests == 0:
		return errors.New("no request finished")
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
