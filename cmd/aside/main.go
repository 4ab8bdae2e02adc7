// Command aside is the reference system of the aside library: a todo service, with
// commands to load its store, to measure it and to check its consistency.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// cli defines all commands, flags, environment variables and help texts.
type cli struct {
	Demo  DemoCmd  `cmd:"" help:"Serve generated todos from an embedded store." group:"Serve"`
	Serve ServeCmd `cmd:"" help:"Serve the todo API over HTTP, with a cache." group:"Serve"`

	Load  LoadCmd  `cmd:"" help:"Load todos: generated, or from MongoDB's tools." group:"Data and tests"`
	Bench BenchCmd `cmd:"" help:"Measure a server: throughput, latency, cache hits." group:"Data and tests"`
	Check CheckCmd `cmd:"" help:"Check running servers for consistency." group:"Data and tests"`

	Inspect InspectCmd `cmd:"" help:"Show what the servers have of one todo." group:"Operate"`
	Drop    DropCmd    `cmd:"" help:"Remove one todo from the cache." group:"Operate"`
	Top     TopCmd     `cmd:"" help:"Show the todos that stand out." group:"Operate"`
	Nodes   NodesCmd   `cmd:"" help:"Show the servers that share a cache." group:"Operate"`
	Health  HealthCmd  `cmd:"" help:"Check the health of a running server." group:"Operate"`
	Version VersionCmd `cmd:"" help:"Print the version." group:"Operate"`

	LogFlags
}

// exitUsage is the exit code for a mistake in the command line, and for a Redis
// that the service can never use.
const exitUsage = 2

const description = `A todo service with a cache in memory (L1) and Redis (L2), and its tools.

    aside demo
    aside bench --duration 10s`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its inputs and outputs as arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("aside"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code; panic(exitPanic{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, FlagsLast: true}),
		kong.Help(printHelp),
	)
	if err != nil {
		fmt.Fprintln(stderr, "aside: the definition of the flags is invalid:", err)
		return 1
	}
	if len(args) > 0 && args[0] == "help" { // "aside help serve", as in many programs
		args = append(slices.Clone(args[1:]), "--help")
	}
	k, err := parse(parser, args)
	switch {
	case exited >= 0: // --help
		return exited
	case err != nil:
		fmt.Fprintln(stderr, "aside:", shown(err))
		if hint := urlHint(err); hint != "" {
			fmt.Fprintln(stderr, shown(errors.New(hint)))
		}
		help := "aside --help"
		var parseErr *kong.ParseError
		if errors.As(err, &parseErr) && parseErr.Context != nil && parseErr.Context.Selected() != nil {
			help = "aside " + parseErr.Context.Selected().Name + " --help"
		}
		fmt.Fprintf(stderr, "Run %q for usage.\n", help)
		return exitUsage
	}

	log := c.logger(stderr)
	slog.SetDefault(log) // for libraries that take no logger
	ctx, stop := withSignals(context.Background(), log)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	k.BindTo(stdout, (*io.Writer)(nil))
	if err := interrupted(ctx, k.Run(log)); err != nil {
		fmt.Fprintln(stderr, "aside:", shown(err))
		var coder interface{ ExitCode() int }
		if errors.As(err, &coder) {
			return coder.ExitCode()
		}
		return 1
	}
	return 0
}

// interrupted replaces an error that is only the consequence of a signal.
func interrupted(ctx context.Context, err error) error {
	var stopped signalError
	var coder interface{ ExitCode() int }
	if !errors.Is(err, context.Canceled) || !errors.As(context.Cause(ctx), &stopped) || errors.As(err, &coder) {
		return err
	}
	return &exitError{errors.New("interrupted: " + stopped.Error()), stopped.code()}
}

// exitPanic leaves kong, which expects that Exit ends the process.
type exitPanic struct{}

func parse(parser *kong.Kong, args []string) (k *kong.Context, err error) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(exitPanic); !ok {
				panic(v)
			}
		}
	}()
	return parser.Parse(args)
}

// signalError is the cause of a context that a signal has ended.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by " + e.String() }

// code is the shell's exit code of a process that the signal ended.
func (e signalError) code() int {
	if e.Signal == syscall.SIGTERM {
		return 143
	}
	return 130
}

// withSignals returns a context that ends with the first SIGINT or SIGTERM. The
// second one ends the process at once, with the shell's code for it.
func withSignals(ctx context.Context, log *slog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-ch:
			log.Debug("signal received", "signal", sig.String())
			cancel(signalError{sig})
		case <-done:
			return
		}
		select {
		case sig := <-ch:
			os.Exit(signalError{sig}.code())
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel(nil)
	}
}

// userinfo matches the user and password of a URL inside a text, such as a
// mistyped command line. A password that is not percent-encoded may contain any
// character, so the last @ of the line ends it, or the last one before another URL.
var userinfo = regexp.MustCompile(`(://)(?:(?:[^:\n]|:[^/\n]|:/[^/\n])*|\S*)@`)

// shown returns the text of an error as it is safe to print. Parts of it may come
// from a server or a file, and may hold passwords or terminal escapes.
func shown(err error) string { return printable.Text(redact(err.Error())) }

func redact(text string) string { return userinfo.ReplaceAllString(text, "${1}***@") }
