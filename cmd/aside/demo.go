package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/load"
)

// DemoCmd is "aside demo".
type DemoCmd struct {
	Count int64  `help:"Todos in the sample, with the ids 1 to N." default:"1000"`
	Seed  uint64 `help:"The same seed makes the same sample." default:"1"`

	ServeCmd
}

// Help is shown by "aside demo --help".
func (*DemoCmd) Help() string {
	return `The sample is put into the embedded store under --data, if that is empty, and stays there: "aside serve" serves it again. Add --redis to see the second tier at work.`
}

// Validate is called by the parser.
func (c *DemoCmd) Validate() error {
	var errs []error
	if c.Mongo != "" || c.MongoFile != "" {
		errs = append(errs, errors.New(`the demo uses the embedded store, not --mongo (or ASIDE_MONGO): use "aside load --count 1000" and "aside serve" for MongoDB`))
	}
	if c.Count < 1 || c.Count > 10_000_000 {
		errs = append(errs, fmt.Errorf("--count must be 1 to 10000000, is %d", c.Count))
	}
	return errors.Join(append(errs, c.ServeCmd.Validate())...)
}

// Run fills the store if it is empty, and serves it.
func (c *DemoCmd) Run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	if c.ShutdownDelay == notGiven {
		c.ShutdownDelay = 0
	}
	count, err := c.fill(ctx, log, out)
	if err != nil {
		return err
	}
	return c.run(ctx, log, func(url string) {
		fmt.Fprintf(out, "%d todos in %s, served on %s\n\n%s\n", count, c.Data, url, strings.ReplaceAll(whatToTry, "URL", url))
	})
}

// fill returns the number of records in the store, of which it makes a sample
// if there is none.
func (c *DemoCmd) fill(ctx context.Context, log *slog.Logger, out io.Writer) (n int64, err error) {
	store, err := c.Open(ctx, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if n, err = store.Count(ctx); err != nil || n > 0 {
		return n, err
	}
	report, err := load.Run(ctx, store, load.NewGenerator(c.Count, c.Seed), load.Options{})
	if err != nil {
		return 0, fmt.Errorf("making the sample: %w", err)
	}
	fmt.Fprintln(out, report)
	return store.Count(ctx)
}

const whatToTry = `Try, in another terminal:

  curl -i URL/todos/1
      a miss: the header Cache-Status says "aside; fwd=miss; detail=load"
  curl -i URL/todos/1
      the same again is a hit: "aside; hit; detail=L1"
  curl -i -H 'Cache-Control: no-cache' URL/todos/1
      a strong read, which passes the memory over: "aside; fwd=request; detail=load"
  curl -i -X PATCH -H 'Content-Type: application/json' -d '{"name":"Changed"}' URL/todos/1
      a write; the next read shows it, with a new ETag
  curl -i URL/todos/nothing
      404, twice: the second time from memory, "hit; detail=L1/negative"

The API to click through:  URL/docs
The figures:               URL/metrics

Ctrl-C stops it.`
