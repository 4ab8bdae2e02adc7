// Command aside serves, loads and demonstrates the todo service, the reference
// system of the aside library.
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

// cli is the one definition of commands, flags, environment and help.
type cli struct {
	Serve   ServeCmd   `cmd:"" help:"Serve todos over HTTP, cache-aside."`
	Load    LoadCmd    `cmd:"" help:"Load todos into a store: made up, from a mongodump archive, or from JSON lines."`
	Demo    DemoCmd    `cmd:"" help:"Fill an embedded store with a sample if it is empty, serve it, and say what to try."`
	Bench   BenchCmd   `cmd:"" help:"Load a server with requests, and report how many it answers, how fast, and from where."`
	Check   CheckCmd   `cmd:"" help:"Read and write through running servers, and report whether they keep their promises."`
	Health  HealthCmd  `cmd:"" help:"Ask a running server whether it is well, for the health check of a container."`
	Version VersionCmd `cmd:"" help:"Print the version."`

	LogFlags
}

// exitUsage is the exit code for a command line that cannot be used, or that names
// a Redis that cannot be.
const exitUsage = 2

const description = `Todos over a primary store, served cache-aside: from memory, from Redis, and from the store for what neither has.

    Try it:       aside demo
    For real:     aside serve --mongo mongodb://db1 --redis redis://cache1
    All flags:    aside serve --help

A flag whose help shows a name such as $ASIDE_LISTEN can be given in the environment under that name. A flag of the command line goes before it.`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments; it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("aside"),
		kong.Description(description),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code; panic(exitPanic{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "aside: in the definition of the flags:", err)
		return 1
	}
	if len(args) > 0 && args[0] == "help" { // as many programs have it
		args = append(slices.Clone(args[1:]), "--help")
	}
	k, err := parse(parser, args)
	switch {
	case exited >= 0: // --help
		return exited
	case err != nil:
		fmt.Fprintln(stderr, "aside:", shown(err))
		help := "aside --help"
		var parseErr *kong.ParseError
		if errors.As(err, &parseErr) && parseErr.Context != nil && parseErr.Context.Selected() != nil {
			help = "aside " + parseErr.Context.Selected().Name + " --help"
		}
		fmt.Fprintf(stderr, "Run %q for what is possible.\n", help)
		return exitUsage
	}

	log := c.logger(stderr)
	slog.SetDefault(log) // for libraries that know no other
	ctx, stop := withSignals(context.Background(), log)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	k.BindTo(stdout, (*io.Writer)(nil))
	if err := k.Run(log); err != nil {
		fmt.Fprintln(stderr, "aside:", shown(err))
		var coder interface{ ExitCode() int }
		if errors.As(err, &coder) {
			return coder.ExitCode()
		}
		return 1
	}
	return 0
}

// exitPanic unwinds kong where it expects that the process has ended.
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

// signalError is why a context ended that a signal ended.
type signalError struct{ os.Signal }

func (e signalError) Error() string { return "stopped by " + e.String() }

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
			log.Debug("signal", "signal", sig.String())
			cancel(signalError{sig})
		case <-done:
			return
		}
		select {
		case sig := <-ch:
			code := 130
			if sig == syscall.SIGTERM {
				code = 143
			}
			os.Exit(code)
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
// command line that someone mistyped.
var userinfo = regexp.MustCompile(`(://)\S*@`)

// shown is an error's text for a terminal: strangers may have written a part of it,
// such as a server, or whoever made a file.
func shown(err error) string { return printable.Text(redact(err.Error())) }

func redact(text string) string { return userinfo.ReplaceAllString(text, "${1}***@") }
