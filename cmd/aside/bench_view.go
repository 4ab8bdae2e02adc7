package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// benchView shows the progress of runs. listing comes before the first run, begin starts
// a run, end is the last call.
type benchView interface {
	listing(url string, seen int)
	begin(title string, c *bench.Config)
	show(bench.Progress)
	end()
}

func newBenchView(f *os.File) benchView {
	if !term.IsTerminal(int(f.Fd())) {
		return &benchLines{w: f}
	}
	return &benchPanel{w: f, width: func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return width
	}}
}

// benchEvery is the interval between the lines of benchLines.
const benchEvery = 5 // seconds

// benchLines writes a line from time to time, for output that is not a terminal.
type benchLines struct {
	w io.Writer
	n int
}

func (v *benchLines) listing(url string, seen int) {
	fmt.Fprintln(v.w, printable.Text(listingLine(url, seen)))
}

func listingLine(url string, seen int) string {
	if seen == 0 {
		return url + ": asking which ids exist"
	}
	return fmt.Sprintf("%s: asking which ids exist: %d so far", url, seen)
}

func (v *benchLines) begin(title string, c *bench.Config) {
	v.n = 0
	fmt.Fprintln(v.w, printable.Text(fmt.Sprintf("%s: %v", title, c.Workload)))
}

func (v *benchLines) show(p bench.Progress) {
	if v.n++; v.n%benchEvery == 0 {
		fmt.Fprintln(v.w, benchLine(p))
	}
}

func (v *benchLines) end() {}

// benchLine describes the last second. Failures are of the whole run, so that nobody
// misses them.
func benchLine(p bench.Progress) string {
	var b strings.Builder
	l := p.Interval.Latency()
	d := l.Percentiles(50, 95, 99)
	if p.WarmUp {
		b.WriteString("warm-up ")
	}
	fmt.Fprintf(&b, "%4.0fs  %d users  %.0f/s  p50 %s  p95 %s  p99 %s ms", p.Elapsed.Seconds(), p.Users, perSecond(p), inMS(l, d[0], 1), inMS(l, d[1], 1), inMS(l, d[2], 1))
	if _, ok := p.Interval.HitRatio(); ok {
		fmt.Fprintf(&b, "  L1 %.1f %%  L2 %.1f %%", tierShare(p.Interval, bench.TierL1), tierShare(p.Interval, bench.TierL2))
	}
	if p.Backlog > 0 {
		fmt.Fprintf(&b, "  backlog %d", p.Backlog)
	}
	if n := p.Total.Failures(); n > 0 {
		fmt.Fprintf(&b, "  %d failed", n)
	}
	return b.String()
}

func perSecond(p bench.Progress) float64 {
	return float64(p.Interval.Succeeded) / max(p.Took.Seconds(), 1e-9)
}

// inMS formats a latency in milliseconds. Without requests there is none.
func inMS(l bench.Latency, d time.Duration, digits int) string {
	if l.Count() == 0 {
		return "n/a"
	}
	return fmt.Sprintf("%.*f", digits, float64(d.Microseconds())/1000)
}

// tierShare returns the hits of a tier in percent of all reads.
func tierShare(t *bench.Tally, tier bench.Tier) float64 {
	var reads int64
	for _, tier := range bench.Tiers() {
		reads += t.Hits(tier)
	}
	return 100 * float64(t.Hits(tier)) / float64(max(reads, 1))
}

// benchPanel shows a panel on a terminal and redraws it in place.
type benchPanel struct {
	w     io.Writer
	width func() int // columns of the terminal; 0: unknown

	title    string
	load     string
	duration time.Duration
	rates    []float64
	drawn    int // lines on the screen; the cursor is below the last one
}

const sparkWidth = 40

func (v *benchPanel) listing(url string, seen int) {
	v.draw([]string{listingLine(url, seen)})
}

func (v *benchPanel) begin(title string, c *bench.Config) {
	v.title, v.load, v.duration = title, c.Workload.String(), c.Duration
	v.rates = nil
}

func (v *benchPanel) show(p bench.Progress) {
	v.rates = append(v.rates, perSecond(p))
	if len(v.rates) > sparkWidth {
		v.rates = v.rates[1:]
	}
	v.draw(v.lines(p))
}

// draw replaces the lines on the screen.
func (v *benchPanel) draw(lines []string) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn)
	}
	width := v.width()
	for _, line := range lines {
		b.WriteString("\r" + clip(line, width) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J") // remove the rest of a longer panel
	v.drawn = len(lines)
	_, _ = io.WriteString(v.w, b.String())
}

// end keeps the last panel on the screen.
func (v *benchPanel) end() {
	if v.drawn > 0 {
		_, _ = io.WriteString(v.w, "\n")
	}
	v.drawn = 0
}

func (v *benchPanel) lines(p bench.Progress) []string {
	of := ""
	if v.duration > 0 && !p.WarmUp {
		of = " of " + v.duration.String()
	}
	what := "measuring"
	if p.WarmUp {
		what = "warming up"
	}
	lines := []string{
		fmt.Sprintf("%s   %s, %s%s", v.title, what, p.Elapsed.Round(time.Second), of),
		fmt.Sprintf("%d users, %s", p.Users, v.load),
		"",
		fmt.Sprintf("%-11s %11s %11s", "", "last second", "so far"),
		fmt.Sprintf("%-11s %11.0f %11.0f   %s", "requests/s", perSecond(p), float64(p.Total.Succeeded)/max(p.Elapsed.Seconds(), 1e-9), spark(v.rates)),
	}
	now, all := p.Interval.Latency(), p.Total.Latency()
	ps := []float64{50, 95, 99, 100}
	a, b := now.Percentiles(ps...), all.Percentiles(ps...)
	for i, name := range []string{"p50 ms", "p95 ms", "p99 ms", "max ms"} {
		lines = append(lines, fmt.Sprintf("%-11s %11s %11s", name, inMS(now, a[i], 3), inMS(all, b[i], 3)))
	}
	row := func(name, format string, a, b any) {
		lines = append(lines, fmt.Sprintf("%-11s %11s %11s", name, fmt.Sprintf(format, a), fmt.Sprintf(format, b)))
	}
	if ratio, ok := p.Total.HitRatio(); ok {
		last := "n/a"
		if ratio, ok := p.Interval.HitRatio(); ok {
			last = fmt.Sprintf("%.1f %%", 100*ratio)
		}
		row("hit ratio", "%s", last, fmt.Sprintf("%.1f %%", 100*ratio))
		for _, t := range bench.Tiers() {
			if p.Total.Hits(t) > 0 {
				row("  "+t.String(), "%.1f %%", tierShare(p.Interval, t), tierShare(p.Total, t))
			}
		}
	}
	if p.Backlog > 0 || p.Total.Dropped() > 0 {
		lines = append(lines, fmt.Sprintf("%-11s %11d %11s   requests due, waiting for a connection", "backlog", p.Backlog, ""))
	}
	row("failed", "%d", p.Interval.Failures(), p.Total.Failures())
	for i, k := range p.Total.Kinds() {
		if i == 3 {
			break
		}
		f := p.Total.Failed[k]
		lines = append(lines, fmt.Sprintf("  %d with %v, first: %s", f.Count, k, f.Example))
	}
	return lines
}

// spark draws values as bars. The highest value has a full bar.
func spark(values []float64) string {
	const bars = "▁▂▃▄▅▆▇█"
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if top > 0 {
			i = int(v / top * 7.999)
		}
		b.WriteRune([]rune(bars)[i])
	}
	return b.String()
}

// clip cuts a line so that it does not wrap, which would break the count of lines.
// It also escapes control characters, which may come from a server.
func clip(line string, width int) string {
	runes := []rune(strings.NewReplacer("\n", `\n`, "\t", " ").Replace(printable.Text(line)))
	if width > 0 && len(runes) >= width {
		runes = runes[:width-1]
	}
	return string(runes)
}
