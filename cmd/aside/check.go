package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/check"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/mongostore"
	"github.com/asidecache/aside/cmd/aside/internal/pgstore"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// CheckCmd is "aside check".
type CheckCmd struct {
	Targets      []string      `name:"target" help:"Base URL of a node, without /todos. Give it once for each node. Do not give the URL of a load balancer: some guarantees hold for each node, and are checked for each node. All nodes must share one Redis and one database." placeholder:"URL" required:"" sep:"none"`
	Duration     time.Duration `help:"How long to run. Running requests are finished. 0: until another limit, or Ctrl-C." default:"1m"`
	Ops          int64         `help:"Stop after N operations. 0: no limit." placeholder:"N"`
	Clients      int           `help:"Number of concurrent clients. Each has its own connections and one request at a time." default:"32"`
	Keys         int           `help:"Number of records in use at the same time. With fewer records, more operations on one record overlap." default:"8"`
	Writes       share         `help:"Share of writes among the operations, such as 10% or 0.1." default:"10%"`
	Strong       share         `help:"Share of strong reads among the reads." default:"50%"`
	MaxStaleness time.Duration `help:"Maximum staleness of a default read. A staler read is a violation. A negative value, as in --max-staleness=-1s, means no limit." default:"5s"`
	Promises     []string      `name:"promise" help:"Check only this guarantee: strong-reads, linearizable, own-writes, monotonic, bounded-staleness or intact. It can be given several times. Default: all of them." placeholder:"NAME" sep:"none"`
	Timeout      time.Duration `help:"Timeout for one request." default:"10s"`
	Seed         uint64        `help:"Seed of the random choices. The same seed makes the same choices, as far as the timing of the responses allows. 0: a new seed for each run, shown in the report." default:"0"`
	Pictures     string        `help:"Write pictures of the first violations, as HTML, to this directory. It is created if it does not exist." placeholder:"DIR"`
	JSON         bool          `name:"json" help:"Print the report as JSON."`

	OutsideFlags
	DropFlags
}

// DropFlags configure the drops from the cache.
type DropFlags struct {
	DropKeys       share    `help:"Share of operations that drop a record from the cache by its id, as aside drop ID does." default:"0%" group:"Drops from the cache"`
	DropTags       share    `help:"Share of operations that drop all records of a day from the cache, as aside drop --tag does. The nodes must run with --tag-days." default:"0%" group:"Drops from the cache"`
	Admin          []string `help:"URL of a node's admin listener (aside serve --admin). Give it once for each --target, in the same order. Default: the targets, which take drops in a demo on this machine, and with --token-file." placeholder:"URL" sep:"none" group:"Drops from the cache"`
	AdminTokenFile string   `name:"token-file" help:"File with the token of the nodes (aside serve --page-token-file). Admin listeners need none." placeholder:"FILE" env:"ASIDE_ADMIN_TOKEN_FILE" group:"Drops from the cache"`
}

// OutsideFlags configure the writers that go past all nodes.
type OutsideFlags struct {
	Outside         string        `help:"Connection string of the nodes' database, mongodb:// or postgres://. Other writers then change and delete the check's records there, past all nodes. Give passwords in a file or in the environment: flags are visible in the process list." placeholder:"URI" env:"ASIDE_OUTSIDE" group:"Writers past the nodes"`
	OutsideFile     string        `help:"File with the connection string, including the password. Use it instead of --outside." placeholder:"FILE" env:"ASIDE_OUTSIDE_FILE" group:"Writers past the nodes"`
	OutsidePassFile string        `name:"outside-password-file" help:"File with the password of the user in --outside, not percent-encoded." placeholder:"FILE" env:"ASIDE_OUTSIDE_PASSWORD_FILE" group:"Writers past the nodes"`
	OutsideDatabase string        `help:"MongoDB database of the todos. A database in the connection string takes precedence." default:"test" env:"ASIDE_OUTSIDE_DATABASE" group:"Writers past the nodes"`
	OutsideTable    string        `help:"MongoDB collection, or PostgreSQL table, of the todos." default:"todos" env:"ASIDE_OUTSIDE_TABLE" group:"Writers past the nodes"`
	OutsideWriters  int           `help:"Number of these writers." default:"4" group:"Writers past the nodes"`
	OutsideRate     float64       `help:"Maximum number of their writes per second, all together. 0: no limit." default:"100" group:"Writers past the nodes"`
	OutsideBound    time.Duration `help:"How long after its acknowledgement reads may miss such a write. A later read that misses it, strong or default, is a violation." default:"5s" group:"Writers past the nodes"`
}

// Usage replaces kong's usage line: --target may be repeated.
func (*CheckCmd) Usage() string { return "--target=URL [--target=URL ...] [flags]" }

// Help is shown by "aside check --help".
func (*CheckCmd) Help() string {
	return `Clients read and write a few records through all nodes at once. Every read is held against the
writes that were acknowledged before it: guarantees P1 to P6 in
https://github.com/asidecache/aside/blob/main/docs/reference/guarantees.md.

    aside check --target http://127.0.0.1:8000 --duration 10s
    aside check --target http://127.0.0.1:8001 --target http://127.0.0.1:8002 \
        --duration 60s --clients 32 --keys 8 --writes 10%
    aside check --target http://127.0.0.1:8001 --target http://127.0.0.1:8002 \
        --outside postgres://todo@db1/todos --outside-bound 5s
    aside check --target http://127.0.0.1:8000 --drop-keys 1%

It writes to the database: records whose ids begin with "check-", which it deletes at the end, also
after Ctrl-C. It does not touch other records.

The exit code is 0 if all guarantees held, 1 if one was broken, 3 if the run could not tell.`
}

// Notes stand after the flags.
func (*CheckCmd) Notes() string {
	return `The clients send reads of both levels. A default read can be answered by any tier, and may be stale
for a moment. A strong read (Cache-Control: no-cache) must not be stale. The report shows how many
reads were stale, and by how much. For each broken guarantee it shows the shortest part of the
history that proves the violation. It also lists errors. Errors do not count as violations: a node
may refuse strong reads, for example, if they need more store reads than its --max-strong-loads. If
the outcome of a write is unknown, both outcomes are accepted.

With --outside, other writers change and delete the records in the database itself, as a migration
or an operator would. Nodes that follow the feed of the database must show such a write soon. Until
--outside-bound after the acknowledgement, a read may miss the write. A read later than that must
show it. The report says how late reads really saw these writes. Writes through the nodes must still
be seen at once. Some records are changed only by these writers, and are left alone for longer than
the bound, so run the check for some times the bound. A node whose /readyz says that it is not fed
is reported and checked all the same. The table must exist: the check makes none.

Progress goes to standard error, the report to standard output. Ctrl-C ends the run early. The
operations until then are still checked and reported.

The exit code is 2 for a mistake in the command line, and 3 if the run cannot tell: a target is not
a todo API, was never reached, or has a different database, or nothing was proven about a guarantee,
the writes of --outside or the drops. If a node refuses all strong reads, for example, nothing is
proven about them. With --strong 0% they are left out, unless --promise asks for them.

With --drop-keys and --drop-tags, clients drop records from the cache now and then. All guarantees
must hold meanwhile. With --outside too, half of the outside writes are followed by a drop, and a
drop makes them count at once: a strong read that begins after the drop has returned, on any node,
must show every outside write that was acknowledged before the drop began, and so must all reads on
the node that dropped it. That holds with and without a feed. --drop-tags also drops whatever else
was created on that day: the nodes load it again. Drops heal what a node has missed, so check a feed
without them as well.`
}

// exitUnproven is the exit code if the check found no violation but could not check
// everything.
const exitUnproven = 3

// share is a fraction from 0 to 1.
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

// promiseNames returns the names of the promises as the flag --promise takes them.
func promiseNames() []string {
	var names []string
	for _, p := range history.Promises() {
		names = append(names, promiseName(p))
	}
	return names
}

// promiseName removes the number that a promise has in docs/reference/guarantees.md: "P2 strong
// reads" becomes "strong-reads".
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
	// In a flag zero means none. In check.Config it means the default.
	for _, n := range []*float64{&config.Writes, &config.Strong} {
		if *n == 0 {
			*n = -1
		}
	}
	if config.MaxStale == 0 {
		config.MaxStale = 1
	}
	var errs []error
	if c.OutsideFlags.given() {
		config.Outside = c.OutsideFlags.config()
		if c.OutsideWriters == 0 {
			errs = append(errs, errors.New("--outside-writers must not be 0"))
		}
		if c.OutsideRate < 0 {
			errs = append(errs, fmt.Errorf("--outside-rate must not be negative, is %v", c.OutsideRate))
		}
	}
	if c.DropKeys+c.DropTags > 0 {
		config.Drops = &check.Drops{Keys: float64(c.DropKeys), Tags: float64(c.DropTags), Admin: c.Admin}
	} else if len(c.Admin) > 0 {
		errs = append(errs, errors.New("--admin is for --drop-keys and --drop-tags: give one of them"))
	}
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

// given reports whether there are to be such writers.
func (f *OutsideFlags) given() bool {
	return f.Outside != "" || f.OutsideFile != "" || f.OutsidePassFile != ""
}

func (f *OutsideFlags) config() *check.Outside {
	o := &check.Outside{Writers: f.OutsideWriters, Rate: f.OutsideRate, Bound: f.OutsideBound}
	// In a flag zero means none.
	if o.Rate == 0 {
		o.Rate = -1
	}
	if o.Bound == 0 {
		o.Bound = 1
	}
	return o
}

// open opens the database of the writers for o. The caller closes it. Like the service, it
// does not wait for the server.
func (f *OutsideFlags) open(ctx context.Context, o *check.Outside, log *slog.Logger) (todo.Store, error) {
	uri, err := oneOf("--outside", f.Outside, f.OutsideFile)
	if err != nil {
		return nil, err
	}
	uri, err = withPassword("--outside", uri, "--outside-password-file", f.OutsidePassFile, "postgres://db1/todos", true)
	if err != nil {
		return nil, err
	}
	var store todo.Store
	switch scheme, _, _ := strings.Cut(uri, "://"); scheme {
	case "mongodb", "mongodb+srv":
		named := StoreFlags{Mongo: uri, MongoDatabase: f.OutsideDatabase, MongoCollection: f.OutsideTable}
		o.Name = named.Describe()
		store, err = mongostore.Open(ctx, uri, mongostore.Options{
			Database: f.OutsideDatabase, Collection: f.OutsideTable, AppName: "aside check", Logger: log, Existing: true,
		})
	case "postgres", "postgresql":
		named := StoreFlags{Postgres: uri, PostgresTable: f.OutsideTable}
		o.Name, o.Raises = named.Describe(), true
		store, err = pgstore.Open(ctx, uri, pgstore.Options{Table: f.OutsideTable, AppName: "aside check", Logger: log, Existing: true})
	default:
		err = errors.New("must begin with mongodb://, mongodb+srv://, postgres:// or postgresql://, as in postgres://db1/todos")
	}
	if err != nil {
		return nil, fmt.Errorf("--outside: %w", err)
	}
	o.Store = store
	return store, nil
}

// reachAny returns an error if no server listens at any target. The check would wait for
// them to start.
func reachAny(ctx context.Context, targets []string) error {
	var faults []string
	for _, target := range targets {
		e, err := httpwire.Parse(target)
		if err == nil {
			err = e.Reach(ctx, reachTime)
		}
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Sprintf("%s: %v", target, err))
	}
	return errors.New("no target answers: " + strings.Join(faults, "; "))
}

// Validate is called by the parser.
func (c *CheckCmd) Validate() error {
	_, err := c.config()
	return err
}

// Run runs the check and prints the report.
func (c *CheckCmd) Run(ctx context.Context, out io.Writer, log *slog.Logger) error {
	show, end := checkLines(os.Stderr)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		show, end = checkLive(os.Stderr)
	}
	return c.run(ctx, out, log, show, end)
}

func (c *CheckCmd) run(ctx context.Context, out io.Writer, log *slog.Logger, show func(check.Progress), end func()) error {
	config, err := c.config()
	if err != nil {
		return &exitError{err, exitUsage}
	}
	if config.Pictures != "" {
		if err := os.MkdirAll(config.Pictures, 0o755); err != nil {
			return &exitError{fmt.Errorf("--pictures: %w", err), exitUsage}
		}
	}
	if config.Outside != nil {
		store, err := c.OutsideFlags.open(ctx, config.Outside, log)
		if err != nil {
			return &exitError{err, exitUsage}
		}
		defer store.Close()
	}
	if config.Drops != nil && c.AdminTokenFile != "" {
		if config.Drops.Token, err = readSecret("--token-file", c.AdminTokenFile); err != nil {
			return &exitError{err, exitUsage}
		}
	}
	if err := reachAny(ctx, config.Targets); err != nil {
		end()
		return &exitError{err, exitUnproven}
	}
	config.Progress = show
	config.Warn = func(text string) { log.Warn(text) }
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

// checkLive shows the progress in one line of a terminal, rewritten every second.
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

// checkEvery is the interval between progress lines if the output is not a terminal.
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

// checkLine describes the time since the previous line. Failures and violations are
// of the whole run, so that nobody misses them.
func checkLine() func(p check.Progress) string {
	var before check.Progress
	return func(p check.Progress) string {
		took := max((p.Elapsed - before.Elapsed).Seconds(), math.SmallestNonzeroFloat64)
		s := fmt.Sprintf("%4.0fs  %d operations  %.0f/s", p.Elapsed.Seconds(), p.Operations, float64(p.Operations-before.Operations)/took)
		if p.Errors > 0 {
			s += fmt.Sprintf("  %d failed", p.Errors)
		}
		if p.Outside+p.OutsideErrors > 0 {
			s += fmt.Sprintf("  %d outside", p.Outside)
		}
		if p.OutsideErrors > 0 {
			s += fmt.Sprintf(" (%d failed)", p.OutsideErrors)
		}
		if p.Violations > 0 {
			s += fmt.Sprintf("  %d VIOLATIONS", p.Violations)
		}
		before = p
		return s
	}
}
