package check

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// WriteText writes the report as text.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	r.latencies(&b)
	r.staleness(&b)
	r.promises(&b)
	r.errors(&b)
	for i, v := range r.History.Violations {
		fmt.Fprintf(&b, "\nviolation %d of %d shown: %v", i+1, len(r.History.Violations), v)
	}
	if len(r.Left) > 0 {
		fmt.Fprintf(&b, "\n%s may still be in the database, because deleting failed: %s\n", plural(len(r.Left), "record"), someOf(r.Left, 10))
	}
	_, err := io.WriteString(w, printable.Text(b.String())) // parts come from the servers
	return err
}

func (r *Report) head(b *strings.Builder) {
	c, early := &r.Config, ""
	if r.Interrupted {
		early = ", ended early"
	}
	fmt.Fprintf(b, "%s, %s, %s in use, %s writes, %s strong reads, seed %d, %s%s\n",
		plural(len(r.Targets), "target"), plural(c.Clients, "client"), plural(c.Keys, "record"),
		percent(c.Writes), percent(c.Strong), c.Seed, r.Elapsed.Round(10*time.Millisecond), early)
	fmt.Fprintf(b, "%d operations, %d failed, %.1f successful/s; checked the history of %s, %s...\n",
		r.Operations, r.Failed, r.Rate(), plural(int(r.History.Keys), "record"), r.Prefix)
	if r.Late > 0 {
		fmt.Fprintf(b, "%s refused as expected, mostly because the record had been deleted\n", plural(int(r.Late), "write"))
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(b, "%s aborted at the end and not counted\n", plural(int(r.Unfinished), "operation"))
	}
	r.outside(b)
	r.drops(b)
}

func (r *Report) outside(b *strings.Builder) {
	o, c := r.Outside, r.Config.Outside
	if o == nil {
		return
	}
	rate := "as fast as possible"
	if c.Rate > 0 {
		rate = fmt.Sprintf("up to %g/s", c.Rate)
	}
	fmt.Fprintf(b, "%s in %s, %s: %d updates, %d deletes, %d failed\n",
		plural(c.Writers, "outside writer"), c.Name, rate, o.Updates.Count, o.Deletes.Count, o.Failed)
	if o.Late > 0 {
		fmt.Fprintf(b, "%s refused as expected, because the record had been deleted\n", plural(int(o.Late), "outside write"))
	}
	fmt.Fprintf(b, "reads must show an outside write %v after its acknowledgement%s; %s came later than that and had to show one\n",
		c.Bound, r.orDropped(), plural(int(r.History.Held), "read"))
	for _, n := range o.NotFed {
		fmt.Fprintf(b, "warning: %s\n", n.text(r.Config.Targets))
	}
}

// orDropped is what else makes an outside write count.
func (r *Report) orDropped() string {
	if r.Config.Drops == nil {
		return ""
	}
	return ", or after a drop"
}

func (r *Report) drops(b *strings.Builder) {
	d := r.Config.Drops
	if d == nil {
		return
	}
	fmt.Fprintf(b, "drops from the cache: %s of the operations by key, %s by tag", percent(d.Keys), percent(d.Tags))
	if r.Outside != nil {
		fmt.Fprintf(b, ", and after half of the outside writes;\n%s came after a drop, but before the bound, and had to show an outside write at once",
			plural(int(r.History.HeldByDrop), "strong read"))
	}
	b.WriteString("\n")
}

func (r *Report) latencies(b *strings.Builder) {
	fmt.Fprintf(b, "\n%-32s %10s %9s %9s %9s %9s\n", "", "succeeded", "p50 ms", "p99 ms", "max ms", "failed")
	row := func(name string, l Latency, failed int64) {
		fmt.Fprintf(b, "%-32s %10d %9s %9s %9s %9d\n", name, l.Count, millis(l.P50), millis(l.P99), millis(l.Max), failed)
	}
	failed := map[string]int64{}
	for _, e := range r.Errors {
		failed[e.Request] += e.Count
	}
	for a := range acts {
		if l := r.Latency[a.String()]; l.Count+failed[a.String()] > 0 {
			row(a.String(), l, failed[a.String()])
		}
	}
	if o := r.Outside; o != nil {
		failed := map[string]int64{}
		for _, e := range o.Errors {
			failed[e.Request] += e.Count
		}
		row("outside "+put.String(), o.Updates, failed[put.String()])
		row("outside "+remove.String(), o.Deletes, failed[remove.String()])
	}
	for i, t := range r.Targets {
		row(fmt.Sprintf("node %d: %s", i, t.URL), t.Latency, t.Failed)
	}
}

func (r *Report) staleness(b *strings.Builder) {
	fmt.Fprintf(b, "\n%-15s %10s %9s %12s %9s %9s %9s %9s\n", "stale reads", "reads", "stale", "share", "p50 ms", "p99 ms", "p99.9 ms", "max ms")
	row := func(name string, s *history.Staleness) {
		fmt.Fprintf(b, "%-15s %10d %9d %12s %9s %9s %9s %9s\n", name, s.Reads, s.Stale, percent(s.Share()),
			millis(s.Quantile(0.5)), millis(s.Quantile(0.99)), millis(s.Quantile(0.999)), millis(s.Worst))
	}
	row("strong", &r.History.Strong)
	row("default", &r.History.Default)
	if r.Outside != nil {
		row("outside strong", &r.History.OutsideStrong)
		row("outside default", &r.History.OutsideDefault)
	}
	b.WriteString("The staleness of a read is the time from the acknowledgement of a newer write to the start of the read.\n")
	if r.Outside != nil {
		fmt.Fprintf(b, "In the first two rows an outside write counts as acknowledged %v later%s. The others are about outside writes alone,\n"+
			"and measure from their real acknowledgement.\n", r.Config.Outside.Bound, r.orDropped())
	}
}

func (r *Report) promises(b *strings.Builder) {
	fmt.Fprintf(b, "\n%-24s %10s\n", "guarantees", "violations")
	for _, p := range r.Config.Promises {
		n := fmt.Sprint(r.History.Broken[p])
		guarantee := p.Guarantee()
		why, _ := r.notChecked(p)
		switch {
		case why != "":
			n, guarantee = "-", "not checked, since "+why
		case p == history.Bounded:
			guarantee += ", " + r.Config.MaxStale.String()
		case p == history.Linearizable && r.History.Undecided > 0:
			n += fmt.Sprintf(" (%d undecided)", r.History.Undecided)
		}
		fmt.Fprintf(b, "%-24s %10s  %s\n", p, n, guarantee)
	}
}

func (r *Report) errors(b *strings.Builder) {
	var outside []Error
	if r.Outside != nil {
		outside = r.Outside.Errors
	}
	if len(r.Errors)+len(outside) == 0 {
		return
	}
	b.WriteString("\nerrors (they do not count as violations):\n")
	line := func(where string, e Error) {
		open := ""
		if e.Unknown > 0 {
			open = fmt.Sprintf(" (%d may have been applied)", e.Unknown)
		}
		fmt.Fprintf(b, "%8d  %s: %s: %s%s, first: %s\n", e.Count, where, e.Request, e.Problem, open, cmp.Or(e.Example, "no details"))
	}
	for _, e := range r.Errors {
		line(fmt.Sprintf("node %d", e.Target), e)
	}
	for _, e := range outside {
		line("outside", e)
	}
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func someOf(list []string, n int) string {
	if len(list) > n {
		return strings.Join(list[:n], ", ") + ", ..."
	}
	return strings.Join(list, ", ")
}

// percent formats a share. Only 0 is shown as 0.
func percent(share float64) string {
	switch p := 100 * share; {
	case p == 0:
		return "0 %"
	case p < 0.0001:
		return "<0.0001 %"
	case p < 1:
		return fmt.Sprintf("%.4f %%", p)
	default:
		return fmt.Sprintf("%.4g %%", p)
	}
}

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.3f", ms)
}
