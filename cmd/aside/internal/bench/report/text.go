package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// Text writes the report as text.
func Text(w io.Writer, r *bench.Report) error {
	var b strings.Builder
	head(&b, r)
	table(&b, r)
	tiers(&b, r)
	b.WriteByte('\n')
	if o := r.OpenLoop(); o != nil {
		schedule(&b, r, o)
	}
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		method := k.Op.Method() + " "
		if k.Kind == bench.Dropped {
			method = ""
		}
		fmt.Fprintf(&b, "failed: %d %swith %v, first: %s\n", f.Count, method, k, f.Example)
	}
	if r.Created.Left > 0 {
		fmt.Fprintf(&b, "%d records of this run may still exist; their ids begin with %s\n", r.Created.Left, r.Created.Prefix)
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(&b, "requests aborted at the end, and not counted: %d\n", r.Unfinished)
	}
	fmt.Fprintf(&b, "connections opened: %d\n", r.Connections)
	generator(&b, r)
	_, err := io.WriteString(w, printable.Text(b.String())) // parts come from the server
	return err
}

// load describes the load in one line.
func load(c *bench.Config) string {
	s := fmt.Sprintf("%d users", c.Users)
	if c.Rate > 0 {
		s = fmt.Sprintf("%.10g requests/s at equal intervals", c.Rate)
		if c.Poisson {
			s = fmt.Sprintf("%.10g requests/s at random times", c.Rate)
		}
		s += fmt.Sprintf(", at most %d concurrent", c.Users)
	}
	s += ", " + workloadOf(c)
	if c.Mix != (bench.Mix{}) {
		s += ", " + c.Mix.String()
	}
	return s
}

// length describes the limit of a run.
func length(c *bench.Config) string {
	switch {
	case c.Duration == 0 && c.Requests == 0:
		return "until the end of the workload"
	case c.Duration == 0:
		return fmt.Sprintf("%d requests", c.Requests)
	case c.Requests == 0:
		return c.Duration.String()
	}
	return fmt.Sprintf("%v or %d requests", c.Duration, c.Requests)
}

func head(b *strings.Builder, r *bench.Report) {
	early := ""
	if r.Interrupted {
		early = ", ended early"
	}
	fmt.Fprintf(b, "%s, %s%s\n", load(&r.Config), r.Elapsed.Round(10*time.Millisecond), early)
	if r.Config.WarmUp != (bench.WarmUp{}) {
		fmt.Fprintf(b, "warm-up: %v\n", r.Config.WarmUp)
	}
	latencyNote(b, &r.Config)
	fmt.Fprintf(b, "%d requests, %d failed, %.1f successful/s\n\n", r.Requests(), r.Failures(), r.Rate())
}

// latencyNote says that the store is slower than it is.
func latencyNote(b *strings.Builder, c *bench.Config) {
	if c.AddedLatency != "" {
		fmt.Fprintf(b, "the server adds %s of latency to its store (--store-latency)\n", c.AddedLatency)
	}
}

// table writes the summary with locust's columns, but with more digits.
func table(b *strings.Builder, r *bench.Report) {
	rs := rows(r)
	width := len("Name")
	for _, row := range rs {
		width = max(width, len(row.name))
	}
	line := func(format string, args ...any) {
		b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
	}
	line("%-6s %-*s %9s %13s | %7s %7s %7s %7s | %10s %10s", "Type", width, "Name", "# reqs", "# fails", "Avg", "Min", "Max", "Med", "req/s", "failures/s")
	for _, row := range rs {
		l := row.latency
		line("%-6s %-*s %9d %13s | %7s %7s %7s %7s | %10.2f %10.2f", row.method, width, row.name, row.requests,
			fmt.Sprintf("%d(%.2f%%)", row.failures, 100*row.failRatio()),
			msOf(l, l.Mean()), msOf(l, l.Min()), msOf(l, l.Max()), msOf(l, l.Percentile(50)), r.PerSecond(row.requests), r.PerSecond(row.failures))
	}
	line("")
	cells := fmt.Sprintf("%-6s %-*s", "Type", width, "Name")
	for _, p := range bench.Percentiles {
		cells += fmt.Sprintf(" %6s", fmt.Sprintf("%v%%", p))
	}
	line("%s %9s", cells, "# reqs")
	for _, row := range rs {
		cells := fmt.Sprintf("%-6s %-*s", row.method, width, row.name)
		for _, d := range row.latency.Percentiles(bench.Percentiles[:]...) {
			cells += " " + fmt.Sprintf("%6s", msOf(row.latency, d))
		}
		line("%s %9d", cells, row.requests)
	}
	line("Times are in milliseconds, of successful requests.")
	line("")
}

func tiers(b *strings.Builder, r *bench.Report) {
	reads := r.Latency(bench.Read)
	ratio, known := r.HitRatio()
	switch {
	case reads.Count() == 0:
		return
	case !known:
		b.WriteString("hit ratio unknown: no response has a Cache-Status header\n")
		return
	}
	fmt.Fprintf(b, "%-10s %10s %7s %9s %9s %9s %9s\n", "answered by", "reads", "share", "p50", "p95", "p99", "max")
	row := func(name string, l bench.Latency) {
		if l.Count() == 0 {
			return
		}
		p := l.Percentiles(50, 95, 99)
		fmt.Fprintf(b, "%-11s %10d %5.1f %% %9s %9s %9s %9s\n", name, l.Count(),
			100*float64(l.Count())/float64(reads.Count()), ms(p[0]), ms(p[1]), ms(p[2]), ms(l.Max()))
	}
	for _, t := range bench.Tiers() {
		row(t.String(), r.TierLatency(t))
	}
	fmt.Fprintf(b, "hit ratio %.4f; coalesced %d, negative %d, stale %d\n", ratio, r.Coalesced, r.Negative, r.Stale)
}

func schedule(b *strings.Builder, r *bench.Report, o *bench.OpenLoop) {
	b.WriteString("Open loop: a latency starts when the request was due, so there is no coordinated omission.\n")
	p, s := o.Served.Percentiles(50, 99), o.Lag.Percentiles(50, 99)
	fmt.Fprintf(b, "from sending to the response: p50 %s, p99 %s, max %s ms; delay of the generator itself: p50 %s, p99 %s ms\n",
		msOf(o.Served, p[0]), msOf(o.Served, p[1]), msOf(o.Served, o.Served.Max()), msOf(o.Lag, s[0]), msOf(o.Lag, s[1]))
	if o.Late == 0 && o.Dropped == 0 {
		b.WriteString("every request had a free connection when it was due\n")
		return
	}
	w := o.Waited.Percentiles(50, 99)
	fmt.Fprintf(b, "%d requests (%.2f %%) had to wait for a free connection: p50 %s, p99 %s, max %s ms; dropped after %v: %d\n",
		o.Late+o.Dropped, 100*float64(o.Late+o.Dropped)/float64(max(r.Requests(), 1)), msOf(o.Waited, w[0]), msOf(o.Waited, w[1]), msOf(o.Waited, o.Waited.Max()), r.Config.Timeout, o.Dropped)
	fmt.Fprintf(b, "largest backlog %d requests", o.MaxBacklog)
	if r.Overtime >= overtime {
		fmt.Fprintf(b, "; at the end it took %v to send the backlog: with %d connections, the server does not reach %.10g requests/s",
			r.Overtime.Round(100*time.Millisecond), r.Config.Users, r.Config.Rate)
	}
	b.WriteByte('\n')
}

// overtime above this shows that the server did not reach the rate.
const overtime = 200 * time.Millisecond

// busy is the share of CPU above which the generator may be the bottleneck.
const busy = 0.8

func generator(b *strings.Builder, r *bench.Report) {
	if r.CPU <= 0 {
		return
	}
	fmt.Fprintf(b, "CPU of the load generator: %.0f %% of %d processors, %.1f us per request\n",
		100*r.CPUShare(), r.Processors, float64(r.CPU.Nanoseconds())/1e3/float64(max(r.Requests(), 1)))
	if r.CPUShare() > busy {
		b.WriteString("the load generator was short of CPU: the server may be faster than this report shows\n")
	}
}

// msOf formats a latency. Without requests there is none.
func msOf(l bench.Latency, d time.Duration) string {
	if l.Count() == 0 {
		return "n/a"
	}
	return ms(d)
}

func ms(d time.Duration) string {
	v := millis(d)
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
