// Command bench measures aside beside other cache libraries of Go, and writes
// what it finds to results/. README.md says what each table shows and hides.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/tables"
	"github.com/asidecache/aside/bench/internal/worker"
)

type arguments struct {
	Tables []string `arg:"" optional:"" help:"Tables to make: ${tables}. All if none is named."`
	Short  bool     `help:"Take a few minutes rather than the better part of an hour. Shows that all works; the figures say little."`
	Peers  []string `help:"Measure only these peers, and what they are compared with. See --list."`
	Out    string   `help:"Directory of the results. Default: results, or short-results with --short." type:"path"`
	Redraw bool     `help:"Measure nothing: write the pages and charts again from the stored JSON."`
	List   bool     `help:"List the peers and end."`
}

func main() {
	worker.Main()
	var args arguments
	kong.Parse(&args, kong.Name("bench"), kong.Description("Measures aside beside other cache libraries."),
		kong.Vars{"tables": strings.Join(names(), ", ")})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := args.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func names() (names []string) {
	for _, k := range tables.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

func (a arguments) run(ctx context.Context) error {
	if a.List {
		for _, p := range peer.All() {
			fmt.Printf("%-20s %-60s %s %s\n", p.ID, p.Name, p.Module, report.Version(p.Module))
		}
		return nil
	}
	kinds, err := a.kinds()
	if err != nil {
		return err
	}
	r := &tables.Runner{Scale: tables.Full, Only: a.Peers, Command: "scripts/peers.sh", Log: log.Printf}
	out := "results"
	if a.Short {
		r.Scale, out, r.Command = tables.Short, "short-results", r.Command+" --short"
	}
	if len(a.Peers) > 0 {
		r.Command += " --peers " + strings.Join(a.Peers, ",")
	}
	if a.Out != "" {
		out = a.Out
	}
	for _, k := range kinds {
		if a.Redraw {
			t, err := report.Read(out, k.Name)
			if err != nil {
				return err
			}
			if err := t.Write(out); err != nil {
				return err
			}
			continue
		}
		start := time.Now()
		t, err := r.Make(ctx, k)
		if err != nil {
			return err
		}
		if err := t.Write(out); err != nil {
			return err
		}
		log.Printf("%s: written to %s after %v", k.Name, out, time.Since(start).Round(time.Second))
	}
	return nil
}

// kinds are the tables that were named.
func (a arguments) kinds() (kinds []tables.Kind, err error) {
	for _, name := range a.Tables {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("no table %q: there are %s", name, strings.Join(names(), ", "))
		}
	}
	for _, k := range tables.Kinds() {
		if len(a.Tables) == 0 || slices.Contains(a.Tables, k.Name) {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}
