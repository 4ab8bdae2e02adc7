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
	Count int64  `help:"Number of generated todos. Their ids are 1 to N." default:"1000"`
	Seed  uint64 `help:"Seed of the generator. The same seed generates the same todos." default:"1"`

	ServeCmd
}

// Help is shown by "aside demo --help".
func (*DemoCmd) Help() string {
	return `The todos are written to the embedded store in --data if it is empty. They stay there:
"aside serve" serves them again. Add --redis to see the second cache tier.`
}

// Validate is called by the parser.
func (c *DemoCmd) Validate() error {
	var errs []error
	if c.Mongo != "" || c.MongoFile != "" {
		errs = append(errs, errors.New(`the demo uses only the embedded store: remove --mongo (or ASIDE_MONGO); for MongoDB use "aside load --count 1000" and "aside serve"`))
	}
	if c.Postgres != "" || c.PostgresFile != "" {
		errs = append(errs, errors.New(`the demo uses only the embedded store: remove --postgres (or ASIDE_POSTGRES); for PostgreSQL use "aside load --count 1000" and "aside serve"`))
	}
	if c.Count < 1 || c.Count > 10_000_000 {
		errs = append(errs, fmt.Errorf("--count must be 1 to 10000000, is %d", c.Count))
	}
	return errors.Join(append(errs, c.ServeCmd.Validate())...)
}

// Run fills the store if it is empty, then serves it.
func (c *DemoCmd) Run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	if c.ShutdownDelay == notGiven {
		c.ShutdownDelay = 0
	}
	count, err := c.fill(ctx, log, out)
	if err != nil {
		return err
	}
	return c.run(ctx, log, func(url string) {
		fmt.Fprintf(out, "Serving %d todos in %s on %s\n\n%s\n", count, c.Data, url, strings.ReplaceAll(whatToTry, "URL", url))
	})
}

// fill writes generated todos into the store if it is empty. It returns the number
// of records in the store.
func (c *DemoCmd) fill(ctx context.Context, log *slog.Logger, out io.Writer) (n int64, err error) {
	store, err := c.Open(ctx, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if n, err = store.Count(ctx); err != nil {
		return 0, err
	}
	if n > 0 {
		fmt.Fprintf(out, "The store has %d todos already. --count and --seed are not used.\n", n)
		return n, nil
	}
	report, err := load.Run(ctx, store, load.NewGenerator(c.Count, c.Seed), load.Options{})
	if err != nil {
		return 0, fmt.Errorf("generating todos: %w", err)
	}
	fmt.Fprintln(out, report)
	return store.Count(ctx)
}

const whatToTry = `Try these commands in another terminal:

  curl -i URL/todos/1
      A miss. The header Cache-Status is "aside; fwd=miss; detail=load".
  curl -i URL/todos/1
      The same request again is a hit: "aside; hit; detail=L1".
  curl -i -H 'Cache-Control: no-cache' URL/todos/1
      A strong read skips the memory: "aside; fwd=request; detail=load", or with
      --redis a look into Redis: "aside; hit; detail=L2".
  curl -i -X PATCH -H 'Content-Type: application/json' -d '{"name":"Changed"}' URL/todos/1
      A write. The next read shows the new name. The ETag is new if the name was
      another one before.
  curl -i URL/todos/nothing
      404. Send it twice: the second answer is from memory, "hit; detail=L1/negative".

API documentation:  URL/docs
Metrics:            URL/metrics

Press Ctrl-C to stop.`
