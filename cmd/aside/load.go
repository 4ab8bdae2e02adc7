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

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// LoadCmd is "aside load".
type LoadCmd struct {
	Count   int64  `help:"Generate N todos with the ids 1 to N." xor:"source" required:"" placeholder:"N" group:"Source (exactly one)"`
	Archive string `help:"Load the todos of an archive from mongodump --archive, with or without --gzip. - reads standard input." xor:"source" required:"" placeholder:"FILE" group:"Source (exactly one)"`
	JSONL   string `name:"jsonl" help:"Load JSON, plain or gzip: one object per line, or any output of mongoexport (also with --jsonArray, --pretty or --jsonFormat=canonical). - reads standard input." xor:"source" required:"" placeholder:"FILE" group:"Source (exactly one)"`

	Seed       uint64 `help:"With --count: seed of the generator. The same seed generates the same todos." default:"1"`
	DB         string `name:"db" help:"With --archive: the database in the archive. Default: the one that contains todos." placeholder:"NAME"`
	Collection string `help:"With --archive: the collection in the archive. Default: the one that contains todos." placeholder:"NAME"`
	Batch      *int   `help:"Number of records in one write to the store. Default: 1000, with --postgres 10000." placeholder:"N"`

	StoreFlags
}

// Usage replaces kong's usage line: the three sources exclude each other.
func (*LoadCmd) Usage() string {
	return "(--count=N | --archive=FILE | --jsonl=FILE) [flags]"
}

// Help is shown by "aside load --help".
func (*LoadCmd) Help() string {
	return `A record whose id is in the store already is not changed. So you can repeat a load that was
interrupted. Stop a server on the embedded store first: the file is open in one process at a time.

    aside load --count 1000
    aside load --jsonl todos.jsonl
    aside load --archive todos.archive --mongo mongodb://db1
    aside load --archive todos.archive --postgres postgres://db1/todos

The exit code is 0 if every record is in the store, 1 if not, 2 for a mistake in the command line,
and 130 after an interrupt.`
}

// Notes stand after the flags.
func (*LoadCmd) Notes() string {
	return `Faulty records are reported and skipped. A record is faulty if a URL cannot contain its id, or if
id, name and description together are longer than 66,816 bytes. If the file is damaged, the
readable part is loaded.

Fields with unusual values are reported, such as a number instead of a text, or a date after the
year 9999. The load converts them as the service does when it shows them.

The records are written to the store, not through the cache. A running server may still answer "not
found" for an id that it has looked up before, for up to --negative-ttl (30s).`
}

// Validate is called by the parser.
func (c *LoadCmd) Validate() error {
	switch {
	case c.Archive == "" && c.JSONL == "" && c.Count < 1:
		return errors.New("choose a source: --count N (1 or more), --archive FILE or --jsonl FILE")
	case c.Archive == "" && (c.DB != "" || c.Collection != ""):
		return errors.New("--db and --collection need --archive: they name its source; the target is --mongo-database and --mongo-collection in MongoDB, and --postgres-table in PostgreSQL")
	case c.Batch != nil && (*c.Batch < 1 || *c.Batch > 100_000):
		return fmt.Errorf("--batch must be 1 to 100000, is %d", *c.Batch)
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

// loadIO is the input and output of a load.
type loadIO struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // err is a terminal
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
		// The error may contain names from the file, and is printed on a terminal.
		err = printable.Error(err)
		if errors.Is(err, load.ErrInterrupted) || errors.Is(err, context.Canceled) {
			err = &exitError{err, 130}
		}
	}()
	console := load.NewLines(env.err, 5*time.Second)
	if env.terminal {
		console = load.NewBar(env.err)
	}
	defer console.Close()

	// Open the source first: a missing file must not leave an empty store.
	src, done, err := c.openSource(ctx, env.in, console)
	if err != nil {
		return err
	}
	defer done()
	if a, ok := src.(*load.Archive); ok {
		namespace, reason := a.Chosen()
		console.Println(fmt.Sprintf("loading %s from the archive: %s", printable.Name(namespace), reason))
	}
	store, err := env.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	console.Println("into " + c.Describe())

	report, err := load.Run(ctx, store, src, load.Options{BatchRecords: c.batch(), Console: console})
	console.Close()
	// These lines may contain names from the file too.
	say := func(format string, args ...any) {
		fmt.Fprintln(env.out, printable.Text(fmt.Sprintf(format, args...)))
	}
	say("%v", report)
	if len(report.Extra) > 0 {
		say("unknown fields: %s; %s", fieldCounts(report.Extra), c.fateOfExtras())
	}
	for _, o := range report.Odd {
		say("unusual value: %s: %d, the first at %s", o.What, o.Count, o.First)
	}
	if len(report.Odd) > 0 && c.keepsDocuments() {
		say("MongoDB keeps these values as they are")
	}
	switch {
	case err == nil || errors.Is(err, load.ErrFaulty):
	case errors.Is(err, load.ErrSource) && !errors.Is(err, load.ErrInterrupted):
		say("the loaded records stay in the store; load a whole copy of the source for the rest: this one is damaged, or could not be read completely")
	default:
		say("the loaded records stay in the store; run the same command again to load the rest")
	}
	return err
}

// batch returns the number of records in one write. PostgreSQL gets them with COPY, one
// transaction for each, and large ones cost it less.
func (c *LoadCmd) batch() int {
	switch {
	case c.Batch != nil:
		return *c.Batch
	case c.Postgres != "":
		return 10_000
	}
	return 1000
}

// keepsDocuments reports whether the store gets the documents of the source as they
// are.
func (c *LoadCmd) keepsDocuments() bool { return c.Archive != "" && c.Mongo != "" }

func (c *LoadCmd) fateOfExtras() string {
	if c.keepsDocuments() {
		return "MongoDB keeps them"
	}
	return "they are not loaded"
}

// fieldCounts lists fields and their counts, the most frequent first.
func fieldCounts(counts map[string]int64) string {
	fields := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, f := range fields {
		fields[i] = fmt.Sprintf("%q in %d", f, counts[f])
	}
	return strings.Join(fields, ", ")
}

// openSource opens the source. It returns when ctx is done, even while it waits for
// the other end of a pipe or for the first bytes of standard input.
func (c *LoadCmd) openSource(ctx context.Context, stdin io.Reader, console load.Console) (src load.Source, done func(), err error) {
	if c.Archive == "" && c.JSONL == "" {
		return load.NewGenerator(c.Count, c.Seed), func() {}, nil
	}
	name := cmp.Or(c.Archive, c.JSONL)
	// Opening a named pipe blocks until another process opens it for writing.
	if info, err := os.Stat(name); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		console.Println("waiting for a writer of the pipe " + name)
	}
	type result struct {
		src  load.Source
		file io.Closer
		err  error
	}
	opened := make(chan result)
	go func() {
		var r result
		in, size := stdin, int64(0)
		if name != "-" {
			f, err := os.Open(name)
			if err == nil {
				r.file, in = f, f
				if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
					size = info.Size()
				}
			}
			r.err = err
		}
		if r.err == nil {
			if c.Archive != "" {
				r.src, r.err = load.OpenArchive(in, size, load.Selection{DB: c.DB, Collection: c.Collection})
			} else {
				r.src, r.err = load.OpenJSONLines(in, size)
			}
			if r.err != nil {
				r.err = fmt.Errorf("%s: %w", name, r.err)
			}
		}
		select {
		case opened <- r:
		case <-ctx.Done():
			if r.file != nil {
				_ = r.file.Close()
			}
		}
	}()
	select {
	case r := <-opened:
		done := func() {
			if r.file != nil {
				_ = r.file.Close()
			}
		}
		if r.err != nil {
			done()
			return nil, nil, r.err
		}
		return r.src, done, nil
	case <-ctx.Done():
		return nil, nil, load.ErrInterrupted
	}
}
