package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/internal/todo"
	"github.com/asidecache/aside/internal/todoload"
)

// LoadCmd is "aside load".
type LoadCmd struct {
	Count   int64  `help:"Make up N todos with the ids 1 to N." xor:"source" required:"" placeholder:"N" group:"Source (exactly one)"`
	Archive string `help:"Restore the todos of an archive made by mongodump --archive, plain or with --gzip. - is standard input." xor:"source" required:"" placeholder:"FILE" group:"Source (exactly one)"`
	JSONL   string `name:"jsonl" help:"Read one JSON object a line, plain or gzip. - is standard input." xor:"source" required:"" placeholder:"FILE" group:"Source (exactly one)"`

	Seed       uint64 `help:"With --count: the same seed makes the same todos." default:"1"`
	DB         string `name:"db" help:"With --archive: the database in the archive. Default: whichever holds todos." placeholder:"NAME"`
	Collection string `help:"With --archive: the collection in the archive. Default: whichever holds todos." placeholder:"NAME"`
	Batch      int    `help:"Records in one write to the store." default:"1000"`

	StoreFlags
}

// Help is shown by "aside load --help".
func (*LoadCmd) Help() string {
	return `Records whose id is in the store already are left as they are, so that a load that was broken off can be started again. Faulty records are reported and left out; of a damaged file, what can be read is loaded.

The records are written to the store directly, not through the cache. A server that runs meanwhile goes on answering "not found" for an id that it was asked for before, until its negative entry expires.

The exit code is 0 if every record is in the store, 1 if not, 2 for a mistake in the command line, and 130 after an interrupt.`
}

// Validate is called by the parser.
func (c *LoadCmd) Validate() error {
	switch {
	case c.Archive == "" && c.JSONL == "" && c.Count < 1:
		return errors.New("choose a source: --count N (1 or more), --archive FILE or --jsonl FILE")
	case c.Archive == "" && (c.DB != "" || c.Collection != ""):
		return errors.New("--db and --collection choose from an --archive; the target of --mongo is chosen with --mongo-database and --mongo-collection")
	case c.Batch < 1 || c.Batch > 100_000:
		return fmt.Errorf("--batch must be 1 to 100000, is %d", c.Batch)
	}
	return nil
}

// Run loads the records.
func (c *LoadCmd) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, loadIO{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())),
		open:     func(ctx context.Context) (todo.Store, error) { return c.Open(ctx, log) },
	})
}

// loadIO is what a load touches outside itself.
type loadIO struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // err is one
	open     func(context.Context) (todo.Store, error)
}

// exitError gives the process its exit code.
type exitError struct {
	error
	code int
}

func (e *exitError) ExitCode() int { return e.code }
func (e *exitError) Unwrap() error { return e.error }

func (c *LoadCmd) run(ctx context.Context, env loadIO) (err error) {
	defer func() {
		if errors.Is(err, todoload.ErrInterrupted) || errors.Is(err, context.Canceled) {
			err = &exitError{err, 130}
		}
	}()
	console := todoload.NewLines(env.err, 5*time.Second)
	if env.terminal {
		console = todoload.NewBar(env.err)
	}
	defer console.Close()

	// The source first: a file that is not there must not leave an empty store.
	src, done, err := c.openSource(ctx, env.in)
	if err != nil {
		return err
	}
	defer done()
	if a, ok := src.(*todoload.Archive); ok {
		namespace, reason := a.Chosen()
		console.Println(fmt.Sprintf("loading %s of the archive: %s", namespace, reason))
	}
	store, err := env.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	console.Println("into " + c.Describe())

	report, err := todoload.Run(ctx, store, src, todoload.Options{BatchRecords: c.Batch, Console: console})
	console.Close()
	fmt.Fprintln(env.out, report)
	if len(report.Extra) > 0 {
		fmt.Fprintf(env.out, "fields that a todo does not have: %s; %s\n", fieldCounts(report.Extra), c.fateOfExtras())
	}
	if err != nil && !errors.Is(err, todoload.ErrFaulty) {
		fmt.Fprintln(env.out, "what was loaded stays; the same command, started again, skips it")
	}
	return err
}

func (c *LoadCmd) fateOfExtras() string {
	if c.Archive != "" && c.Mongo != "" {
		return "MongoDB keeps them with the documents"
	}
	return "they are left out"
}

// fieldCounts lists the most frequent first.
func fieldCounts(counts map[string]int64) string {
	fields := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, f := range fields {
		fields[i] = fmt.Sprintf("%q in %d", f, counts[f])
	}
	return strings.Join(fields, ", ")
}

// openSource gives up when ctx is done: standard input may keep an archive's
// first bytes waiting for ever.
func (c *LoadCmd) openSource(ctx context.Context, stdin io.Reader) (src todoload.Source, done func(), err error) {
	if c.Archive == "" && c.JSONL == "" {
		return todoload.NewGenerator(c.Count, c.Seed), func() {}, nil
	}
	name := cmp.Or(c.Archive, c.JSONL)
	in, size, done := stdin, int64(0), func() {}
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
		in, done = f, func() { _ = f.Close() }
	}
	type result struct {
		src todoload.Source
		err error
	}
	opened := make(chan result, 1)
	go func() {
		var r result
		if c.Archive != "" {
			r.src, r.err = todoload.OpenArchive(in, size, todoload.Selection{DB: c.DB, Collection: c.Collection})
		} else {
			r.src, r.err = todoload.OpenJSONLines(in, size)
		}
		opened <- r
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			done()
			return nil, nil, fmt.Errorf("%s: %w", name, r.err)
		}
		return r.src, done, nil
	case <-ctx.Done():
		done()
		return nil, nil, todoload.ErrInterrupted
	}
}
