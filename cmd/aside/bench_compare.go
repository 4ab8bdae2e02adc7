package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/bench/compare"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/bench/report"
)

// BenchComparison are the flags of "aside bench --compare".
type BenchComparison struct {
	Compare  bool     `help:"Run the load against several servers in turn, in several rounds, and report ratios. The servers are each --url, or, without --url, servers that it starts itself." group:"Comparison"`
	Rounds   int      `help:"With --compare: how often each server is measured. Every second round is in reverse order. Default: 5." placeholder:"N" group:"Comparison"`
	Settings []string `help:"With --compare and no --url: the servers to start, from no-cache, L1, L2 and L1+L2. The ratios are relative to the first. Default: no-cache,L2,L1+L2; without --redis: no-cache,L1." placeholder:"LIST" group:"Comparison"`

	// The servers get Redis and the store in their environment: other users cannot
	// see passwords there.
	Redis string `help:"With --compare and no --url: the Redis of the servers. Each run uses its own keys, and removes them at its end." placeholder:"URL" env:"ASIDE_REDIS" group:"Comparison"`
	StoreFlags

	latency string // that the servers add to their store

	ServeFlags []string `arg:"" optional:"" name:"serve-flags" help:"With --compare and no --url, after --: flags for \"aside serve\"."`
}

const (
	defaultRounds = 5
	maxRounds     = 1000
)

// settingFlags are the flags of "aside serve" for each setting.
var settingFlags = map[string][]string{
	"no-cache": {"--no-cache"},
	"L1":       {},
	"L2":       {"--no-l1"},
	"L1+L2":    {},
}

func needsRedis(setting string) bool { return setting == "L2" || setting == "L1+L2" }

// starts reports whether the comparison starts the servers itself.
func (c *BenchCmd) starts() bool { return c.Compare && len(c.URL) == 0 }

func (c *BenchCmd) settings() []string {
	switch {
	case len(c.Settings) > 0:
		return c.Settings
	case c.Redis != "":
		return []string{"no-cache", "L2", "L1+L2"}
	}
	return []string{"no-cache", "L1"}
}

func (c *BenchCmd) checkComparison() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	urls := c.strayURLs()
	for _, url := range urls {
		fault("unexpected %q: give the URL of the records with --url", url)
	}
	if !c.Compare {
		if len(c.URL) > 1 {
			fault("--url is given %d times: several servers need --compare", len(c.URL))
		}
		if c.Rounds != 0 {
			fault("--rounds needs --compare")
		}
	}
	if c.Rounds < 0 || c.Rounds > maxRounds {
		fault("--rounds must be 1 to %d, is %d", maxRounds, c.Rounds)
	}
	if c.Compare && len(c.URL) == 1 {
		fault("--compare needs at least two --url, or none to start servers itself")
	}
	if c.Compare && c.CSV != "" {
		fault("--csv cannot write a comparison: use --json or --html")
	}
	if c.Compare && c.Trace == "-" {
		fault("--compare replays the trace several times: give it as a file, not on standard input")
	}
	if !c.starts() {
		if len(c.Settings) > 0 {
			fault("--settings needs --compare and no --url")
		}
		if len(c.ServeFlags) > 0 && len(urls) == 0 {
			fault("unexpected %q: flags for aside serve need --compare and no --url", strings.Join(c.ServeFlags, " "))
		}
		return errors.Join(errs...)
	}
	settings := c.settings()
	if len(settings) < 2 {
		fault("--settings must name at least two")
	}
	for i, s := range settings {
		switch _, known := settingFlags[s]; {
		case !known:
			fault("--settings: %q is not one of no-cache, L1, L2, L1+L2", s)
		case slices.Contains(settings[:i], s):
			fault("--settings: %s is given twice", s)
		case needsRedis(s) && c.Redis == "":
			fault("--settings %s needs --redis", s)
		}
	}
	for _, f := range c.ServeFlags {
		if name, _, _ := strings.Cut(f, "="); strings.HasPrefix(name, "--") && benchSets(variableOf(name)) {
			fault("%s is not allowed after --: aside bench sets it itself", name)
		}
	}
	return errors.Join(errs...)
}

// variableOf returns the variable of a flag of aside serve.
func variableOf(flag string) string {
	return "ASIDE_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(flag, "--"), "-", "_"))
}

// benchSets reports whether a variable is only for this command to set, with its flag.
func benchSets(variable string) bool {
	switch variable {
	case "ASIDE_REDIS", "ASIDE_NO_CACHE", "ASIDE_NO_L1", "ASIDE_CACHE_NAME", "ASIDE_LISTEN", "ASIDE_ADMIN",
		"ASIDE_LOG_FORMAT", "ASIDE_LOG_LEVEL", "ASIDE_DATA":
		return true
	}
	return strings.HasPrefix(variable, "ASIDE_MONGO") || strings.HasPrefix(variable, "ASIDE_POSTGRES")
}

// hasNoUse reports whether a server of a setting has no use for a variable, and may refuse it
// therefore.
func hasNoUse(setting, variable string) bool {
	switch variable {
	case "ASIDE_TAG_DAYS", "ASIDE_FEED":
		return setting == "no-cache"
	}
	return strings.HasPrefix(variable, "ASIDE_REDIS_") && !needsRedis(setting)
}

// serveFlags returns the flags of a server of a setting: its own, and those after -- that it
// has a use for.
func (c *BenchCmd) serveFlags(setting string) []string {
	flags := slices.Clone(settingFlags[setting])
	for i := 0; i < len(c.ServeFlags); i++ {
		name, _, hasValue := strings.Cut(c.ServeFlags[i], "=")
		if !strings.HasPrefix(name, "--") || !hasNoUse(setting, variableOf(name)) {
			flags = append(flags, c.ServeFlags[i])
		} else if !hasValue && name != "--tag-days" {
			i++ // the value is an argument of its own
		}
	}
	return flags
}

// prepare reads the secret files of the store. The servers get what is in them and not the
// files, so that they measure the store that this command describes.
func (c *BenchCmd) prepare() error {
	if !c.starts() {
		return nil // the store is that of the servers; it may be named in the environment
	}
	if err := c.secrets(); err != nil {
		return &exitError{err, exitUsage}
	}
	return nil
}

// strayURLs returns the arguments that are URLs of servers and no values of flags for
// aside serve.
func (c *BenchCmd) strayURLs() (urls []string) {
	for i, arg := range c.ServeFlags {
		value := i > 0 && strings.HasPrefix(c.ServeFlags[i-1], "-") && !strings.Contains(c.ServeFlags[i-1], "=")
		if scheme := schemeOf(arg); !value && (scheme == "http" || scheme == "https") {
			urls = append(urls, arg)
		}
	}
	return urls
}

// compare runs the load against all targets and prints the ratios.
func (c *BenchCmd) compare(ctx context.Context, out io.Writer, workload ids.Workload, view benchView) error {
	config := compare.Config{Rounds: c.Rounds, Load: c.config(workload, defaultBenchURL)}
	if config.Rounds == 0 {
		config.Rounds = defaultRounds
	}
	if c.starts() {
		for _, s := range c.settings() {
			config.Targets = append(config.Targets, compare.Target{Name: s, Start: c.startServer(s)})
		}
	} else {
		for _, url := range c.URL {
			config.Targets = append(config.Targets, compare.Target{Name: url, URL: url})
			c.latency = cmp.Or(c.latency, addedLatency(ctx, url))
		}
	}
	config.Load.Progress = view.show
	config.Begin = func(round int, t compare.Target) {
		view.begin(fmt.Sprintf("round %d of %d, %s", round+1, config.Rounds, t.Name), &config.Load)
	}
	r, err := compare.Run(ctx, config)
	view.end()
	if r != nil {
		r.Load.AddedLatency = c.latency
	}
	if r != nil && r.Complete() > 0 && c.starts() && c.embedded() && c.latency == "" {
		fmt.Fprintln(os.Stderr, "The embedded store answers within microseconds, so a cache has little to win. -- --store-latency 2ms at the end of the command gives it the latency of a database.")
	}
	if r == nil {
		return &exitError{err, exitUsage}
	}
	if r.Complete() > 0 || r.Interrupted {
		write := report.ComparisonText
		if c.JSON {
			write = report.ComparisonJSON
		}
		err = errors.Join(err, write(out, r))
		if c.HTML != "" {
			err = errors.Join(err, report.ComparisonHTMLFile(c.HTML, r))
		}
	}
	if err != nil {
		return err
	}
	var requests, failures int64
	var worst error
	for i := range r.Names {
		all, failed := r.Requests(i)
		requests, failures = requests+all, failures+failed
		if err := c.judge(all, failed); err != nil && all > 0 && worst == nil {
			worst = fmt.Errorf("%s: %w", r.Names[i], err)
		}
	}
	if requests == 0 {
		return errors.New("no run finished")
	}
	return worst
}

// startServer returns a function that starts a server of a setting. The server gets
// a free port and a cache name of its own, so it starts with an empty cache.
func (c *BenchCmd) startServer(setting string) func(context.Context) (string, func() error, error) {
	return func(ctx context.Context) (string, func() error, error) {
		s, err := c.serve(ctx, setting)
		if err != nil {
			return "", nil, err
		}
		if err := c.checkStore(ctx, s.url); err != nil {
			return "", nil, errors.Join(err, s.stop())
		}
		c.latency = cmp.Or(c.latency, addedLatency(ctx, s.url+"/todos"))
		return s.url + "/todos", s.stop, nil
	}
}

// serve starts a server of a setting.
func (c *BenchCmd) serve(ctx context.Context, setting string) (*served, error) {
	return startServe(ctx, serveEnvironment(setting, os.Environ(), c.environment(setting)), c.serveFlags(setting))
}

// environment returns the settings that may contain passwords. Flags are visible to
// other users of the machine, the environment is not.
func (c *BenchCmd) environment(setting string) []string {
	env := []string{
		"ASIDE_DATA=" + c.Data, "ASIDE_MONGO=" + c.Mongo,
		"ASIDE_MONGO_DATABASE=" + c.MongoDatabase, "ASIDE_MONGO_COLLECTION=" + c.MongoCollection,
		"ASIDE_POSTGRES=" + c.Postgres, "ASIDE_POSTGRES_TABLE=" + c.PostgresTable,
	}
	if needsRedis(setting) {
		env = append(env, "ASIDE_REDIS="+c.Redis)
	}
	return env
}

// checkStore returns an error if the store has not all the records of --ids. Without
// this check the requests would fail for the whole run.
func (c *BenchCmd) checkStore(ctx context.Context, url string) error {
	if c.IDs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/todos/%d", url, c.IDs.Last), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Cache-Control", "no-cache")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%s has no record %d: run aside load --count %d, or choose other --ids", c.StoreFlags.Describe(), c.IDs.Last, c.IDs.Last)
	}
	return nil
}
