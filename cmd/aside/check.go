package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/check"
)

// CheckCmd is "aside check".
type CheckCmd struct {
	Targets      []string      `name:"target" help:"A node: the URL under which /todos is. Give it once for each node, and no balancer in front of several: what one node owes to its own callers is checked too. All must share one Redis and one database." placeholder:"URL" required:"" sep:"none"`
	Duration     time.Duration `help:"How long it runs; requests under way are finished. 0: until another limit, or Ctrl-C." default:"1m"`
	Ops          int64         `help:"End after N operations. 0: no such limit." placeholder:"N"`
	Clients      int           `help:"Requests under way at one time, each client on connections of its own." default:"32"`
	Keys         int           `help:"Records that are read and written at one time. The fewer, the more meet on each." default:"8"`
	Writes       share         `help:"Share of the operations that write, such as 10% or 0.1." default:"10%"`
	Strong       share         `help:"Share of the reads that ask for the newest value." default:"50%"`
	MaxStaleness time.Duration `help:"How stale a default read may be before that counts as a broken promise. Negative, as in --max-staleness=-1s: any." default:"5s"`
	Promises     []string      `name:"promise" help:"Check this promise alone: strong-reads, linearizable, own-writes, monotonic, bounded-staleness or intact. May be given more than once. Default: all." placeholder:"NAME" sep:"none"`
	Timeout      time.Duration `help:"Longest time for one request." default:"10s"`
	Seed         uint64        `help:"The same seed makes the same choices, as far as timing allows. 0: another one each time; the report has it." default:"0"`
	Pictures     string        `help:"Draw the first violations as HTML in this directory, which is made if it is missing." placeholder:"DIR"`
	JSON         bool          `name:"json" help:"Print the report as JSON, for programs."`
}

// Help is shown by "aside check --help".
func (*CheckCmd) Help() string {
	return `Checks from outside whether running nodes keep the promises of docs/guarantees.md: clients read and write a few records through all nodes at once, and what every one of them saw is held against what every other had been told before.

    aside check --target http://127.0.0.1:8001 --target http://127.0.0.1:8002 \
        --duration 60s --clients 32 --keys 8 --writes 10%

It changes the database: it creates records with ids that begin with "check-" and are its own, and deletes them, also after Ctrl-C. No other record is touched.

Reads are sent at both levels: default ones, which any tier may answer and which may be stale for a moment, and strong ones (Cache-Control: no-cache), which may not. The report tells how many were stale, and by how much; which promises were broken, each with the shortest piece of history that shows it; and errors. Errors are no violations: a server that says that it cannot answer does not lie. (Nodes without Redis refuse strong reads above their --max-strong-loads.) A write of which nobody knows whether it was applied may have been, or not.

Progress goes to standard error, the report to standard output. Ctrl-C ends the run early; what was seen until then is checked and reported all the same.

The exit code is 0 if all promises held, 1 if one was broken, 2 for a mistake in the command line, and 3 if the run does not show whether they hold: a target that is no todo API, or was never reached, or has a database of its own.`
}

// exitUnproven is the exit code if nothing was found broken, and not all was
// checked.
const exitUnproven = 3

// share is a part of a whole, 0 to 1.
type share float64

// UnmarshalText reads "10%" or "0.1".
func (s *share) UnmarshalText(text []byte) error {
	number, isPercent := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if isPercent {
		f /= 100
	}
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("must be a share from 0%% to 100%%, such as 10%% or 0.1, is %q", text)
	}
	*s = share(f)
	return nil
}

// promiseNames are what flags call the promises.
func promiseNames() []string {
	var names []string
	for _, p := range history.Promises() {
		names = append(names, promiseName(p))
	}
	return names
}

// promiseName leaves out the number in docs/guarantees.md: "P2 strong reads" is
// "strong-reads".
func promiseName(p history.Promise) string {
	words := strings.Fields(string(p))
	if len(words) > 1 {
		words = words[1:]
	}
	return strings.Join(words, "-")
}

func (c *CheckCmd) config() (check.Config, error) {
	config := check.Config{
		Targets: c.Targets, Clients: c.Clients, Keys: c.Keys, Writes: float64(c.Writes), Strong: float64(c.Strong),
		Duration: c.Duration, Operations: c.Ops, MaxStale: c.MaxStaleness,
		Timeout: c.Timeout, Seed: c.Seed, Pictures: c.Pictures,
	}
	// To the package zero means the default, to a flag nothing.
	for _, n := range []*float64{&config.Writes, &config.Strong} {
		if *n == 0 {
			*n = -1
		}
	}
	if config.MaxStale == 0 {
		config.MaxStale = 1
	}
	var errs []error
	for name, n := range map[string]int64{"--clients": int64(c.Clients), "--keys": int64(c.Keys), "--timeout": int64(c.Timeout)} {
		if n == 0 {
			errs = append(errs, fmt.Errorf("%s must not be 0", name))
		}
	}
	for _, name := range c.Promises {
		i := slices.Index(promiseNames(), name)
		if i < 0 {
			errs = append(errs, fmt.Errorf("--promise must be one of %s, is %q", strings.Join(promiseNames(), ", "), name))
			continue
		}
		config.Promises = append(config.Promises, history.Promises()[i])
	}
	return config, errors.Join(append(errs, config.Validate())...)
}

// Validate is called by the parser.
func (c *CheckCmd) Validate() error {
	_, err := c.config()
	return err
}

// Run checks, and prints the report.
func (c *CheckCmd) Run(ctx context.Context, out io.Writer) error {
	show, end := checkLines(os.Stderr)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		show, end = checkLive(os.Stderr)
	}
	return c.run(ctx, out, show, end)
}

func (c *CheckCmd) run(ctx context.Context, out io.Writer, show func(check.Progress), end func()) error {
	config, err := c.config()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	if config.Pictures != "" {
		if err := os.MkdirAll(config.Pictures, 0o755); err != nil {
			return &exitError{fmt.Errorf("--pictures: %w", err), exitUsage}
		}
	}
	config.Progress = show
	report, err := check.Run(ctx, config)
	end()
	if err != nil {
		return &exitError{err, exitUnproven}
	}
	write := report.WriteText
	if c.JSON {
		write = report.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if err := report.Broken(); err != nil {
		return &exitError{err, 1}
	}
	if err := report.Unproven(); err != nil {
		return &exitError{err, exitUnproven}
	}
	return nil
}

// checkLive rewrites one line of a terminal every second.
func checkLive(w io.Writer) (show func(check.Progress), end func()) {
	drawn := false
	line := checkLine()
	return func(p check.Progress) {
			drawn = true
			fmt.Fprint(w, "\r\x1b[2K"+line(p))
		}, func() {
			if drawn {
				fmt.Fprintln(w)
			}
		}
}

// checkEvery is how often a line is written where lines stay.
const checkEvery = 5 // seconds

func checkLines(w io.Writer) (show func(check.Progress), end func()) {
	n := 0
	line := checkLine()
	return func(p check.Progress) {
		if n++; n%checkEvery == 0 {
			fmt.Fprintln(w, line(p))
		}
	}, func() {}
}

// checkLine is about the time since the line before, but for what must not be
// missed.
func checkLine() func(p check.Progress) string {
	var before check.Progress
	return func(p check.Progress) string {
		took := max((p.Elapsed - before.Elapsed).Seconds(), math.SmallestNonzeroFloat64)
		s := fmt.Sprintf("%4.0fs  %d operations  %.0f/s", p.Elapsed.Seconds(), p.Operations, float64(p.Operations-before.Operations)/took)
		if p.Errors > 0 {
			s += fmt.Sprintf("  %d failed", p.Errors)
		}
		if p.Violations > 0 {
			s += fmt.Sprintf("  %d VIOLATIONS", p.Violations)
		}
		before = p
		return s
	}
}
