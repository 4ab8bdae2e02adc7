package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// DemoCmd is "aside demo".
type DemoCmd struct {
	Count       int64  `help:"Number of generated todos. Their ids are 1 to N." default:"1000"`
	Seed        uint64 `help:"Seed of the generator. The same seed generates the same todos." default:"1"`
	Nodes       int    `help:"Number of servers, 1 to 5. They share the store and Redis, and listen on consecutive ports from --listen on." default:"1"`
	RedisServer string `help:"Whether to start a Redis for the demo alone. It is empty, without persistence, and ends with the demo. auto: if redis-server or valkey-server is installed and --redis is not given. off: do not." enum:"auto,off" default:"auto" env:"ASIDE_REDIS_SERVER"`

	ServeCmd
}

// maxNodes is the largest number of servers of a demo.
const maxNodes = 5

// Help is shown by "aside demo --help".
func (*DemoCmd) Help() string {
	return `The page at http://127.0.0.1:8000/ shows what the cache does, and has the stories: a burst on a cold
key, a change behind the cache, a storm of writes, Redis gone for ten seconds, a restart.

    aside demo
    aside demo --nodes 3
    aside demo --store-latency 20ms

The todos are written to the embedded store in --data if it is empty. They stay there:
"aside serve" serves them again.`
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
	switch {
	case c.Nodes < 1 || c.Nodes > maxNodes:
		errs = append(errs, fmt.Errorf("--nodes must be 1 to %d, is %d", maxNodes, c.Nodes))
	case c.Nodes > 1 && c.NoCache:
		errs = append(errs, errors.New("--nodes and --no-cache exclude each other: the servers share only a cache"))
	case c.Nodes > 1 && c.Redis == "" && c.RedisServer == redisServerOff:
		errs = append(errs, fmt.Errorf("--nodes %d needs a Redis that the servers share: leave out --redis-server=off, or give --redis", c.Nodes))
	}
	return errors.Join(append(errs, c.ServeCmd.Validate())...)
}

// Run fills the store if it is empty, then serves it.
func (c *DemoCmd) Run(ctx context.Context, log *slog.Logger, out io.Writer) error {
	if c.ShutdownDelay == notGiven {
		c.ShutdownDelay = 0
	}
	if c.StoreLatency == notGiven {
		c.StoreLatency = demoLatency
	}
	d := &demo{DemoCmd: c, log: log, out: out}
	defer d.close()
	// First what can fail without a trace: a second demo leaves no records behind.
	if err := d.listen(ctx); err != nil {
		return err
	}
	if err := d.startRedis(ctx); err != nil {
		return err
	}
	store, err := c.Open(ctx, log)
	if err != nil {
		return err
	}
	d.closeStore = store.Close
	if d.count, err = c.fill(ctx, store, out); err != nil {
		return err
	}
	return d.serve(ctx, store)
}

// fill writes generated todos into the store if it is empty. It returns the number
// of records in the store.
func (c *DemoCmd) fill(ctx context.Context, store todo.Store, out io.Writer) (n int64, err error) {
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

// intro returns what a newcomer should look at.
func (d *demo) intro() string {
	var b strings.Builder
	url := d.nodes[0].url
	if !d.NoPage {
		fmt.Fprintf(&b, "Open %s/ in a browser: todos, with the cache tier that answered each request,\n"+
			"a dashboard, and stories to run, such as a burst on a cold key.\n\n", url)
	}
	fmt.Fprintf(&b, "Serving %d todos in %s on %s\n", d.count, d.Data, d.urls(" "))
	if l := d.added(); l > 0 {
		fmt.Fprintf(&b, "The store has %v of latency added, as a database over a network has (--store-latency).\n", l)
	}
	fmt.Fprintln(&b, d.redisText)
	if len(d.nodes) > 1 {
		fmt.Fprintf(&b, "Check that the servers agree, in another terminal:\n\n  aside check --duration 10s --target %s\n", d.urls(" --target "))
	}
	strong := `"aside; fwd=request; detail=load"`
	if d.Redis != "" {
		strong = `"aside; hit; detail=L2"`
	}
	fmt.Fprintf(&b, "\n%s", strings.NewReplacer("URL", url, "STRONG", strong).Replace(whatToTry))
	return b.String()
}

const whatToTry = `Or try these commands in another terminal:

  curl -i URL/todos/1
      A miss. The header Cache-Status is "aside; fwd=miss; detail=load".
  curl -i URL/todos/1
      The same request again is a hit: "aside; hit; detail=L1".
  curl -i -H 'Cache-Control: no-cache' URL/todos/1
      A strong read skips the memory: STRONG.
  curl -i -X PATCH -H 'Content-Type: application/json' -d '{"name":"Changed"}' URL/todos/1
      A write. The next read shows the new name.
  curl -i URL/todos/nothing
      404. Send it twice: the second answer is from memory, "hit; detail=L1/negative".

API documentation:  URL/docs
Metrics:            URL/metrics

Press Ctrl-C to stop.
`
