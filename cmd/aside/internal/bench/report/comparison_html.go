package report

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/compare"
	"github.com/asidecache/aside/cmd/aside/internal/files"
)

// ComparisonHTML writes a comparison as a self-contained page without scripts.
func ComparisonHTML(w io.Writer, r *compare.Report) error {
	return pages.ExecuteTemplate(w, "comparison.html", comparisonPageOf(r))
}

// ComparisonHTMLFile writes ComparisonHTML to a file, as files.Write does.
func ComparisonHTMLFile(path string, r *compare.Report) error {
	return files.Write(path, func(w io.Writer) error { return ComparisonHTML(w, r) })
}

type comparisonPage struct {
	Heading, When, Load, Base string
	Warnings                  []string
	Plots                     []plot
	Left, Right               float64
	Metrics                   []string
	Medians, Rounds           []cells
	Failures                  []failed
	Settings, Machine         []named
	Style                     template.CSS
}

func comparisonPageOf(r *compare.Report) *comparisonPage {
	p := &comparisonPage{
		Heading: strings.Join(r.Names, " · "), Base: r.Names[0], Load: load(&r.Load),
		When: fmt.Sprintf("%d rounds, servers in turn; each run: %s", r.Rounds, length(&r.Load)),
		Left: plotLeft, Right: plotRight,
		Style: template.CSS(asset("page.css")),
	}
	if done := r.Complete(); done < r.Rounds {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d of %d rounds completed.", done, r.Rounds))
	}
	for _, m := range compare.Metrics() {
		p.Plots = append(p.Plots, plotOf(r, m))
	}
	metrics := append(compare.Metrics(), compare.HitRatio())
	for _, m := range metrics {
		p.Metrics = append(p.Metrics, m.Name)
	}
	for i, name := range r.Names {
		row := cells{Name: name}
		for _, m := range metrics {
			row.Cells = append(row.Cells, figure(r.Value(i, m)))
		}
		all, fails := r.Requests(i)
		row.Cells = append(row.Cells, fmt.Sprint(all), fmt.Sprint(fails))
		p.Medians = append(p.Medians, row)
		var sum bench.Tally
		for _, run := range r.Runs[i] {
			if run != nil {
				sum.AddFailures(&run.Tally)
			}
		}
		for _, k := range sum.Kinds() {
			f := sum.Failed[k]
			p.Failures = append(p.Failures, failed{Name: name, Count: f.Count, Method: k.Op.Method(), Message: k.String() + ", first: " + f.Example})
		}
	}
	var any *bench.Report
	for round := range r.Rounds {
		for i, name := range r.Names {
			run := r.Runs[i][round]
			if run == nil {
				continue
			}
			if any == nil {
				any = run
				p.When = run.Start.Format("Monday, 2 January 2006, 15:04:05 MST") + ", " + p.When
			}
			l := run.Latency()
			d := l.Percentiles(50, 95, 99)
			hits := "–"
			if ratio, ok := run.HitRatio(); ok {
				hits = fmt.Sprintf("%.4f", ratio)
			}
			p.Rounds = append(p.Rounds, cells{fmt.Sprint(round + 1), name, false, []string{
				fmt.Sprintf("%.1f", run.Rate()), msOf(l, d[0]), msOf(l, d[1]), msOf(l, d[2]), hits, fmt.Sprint(run.Requests()), fmt.Sprint(run.Failures()),
				fmt.Sprintf("%.0f %%", 100*run.CPUShare()),
			}})
			if run.CPUShare() > busy {
				p.Warnings = append(p.Warnings, fmt.Sprintf("Round %d, %s: the load generator used %.0f %% of its CPU. The server may be faster than shown.", round+1, name, 100*run.CPUShare()))
			}
		}
	}
	if any != nil {
		any.Config.AddedLatency = r.Load.AddedLatency
		p.Settings = slices.DeleteFunc(settings(any), func(n named) bool { return n.Name == "URL" || n.Name == "Connections opened" })
		p.Machine = slices.DeleteFunc(machine(any), func(n named) bool { return n.Name == "CPU of the load generator" })
	}
	return p
}

// plot is a drawing of ratios, with a row for each server except the first.
type plot struct {
	Name, Better   string
	Height, Bottom float64
	One            float64 // position of the ratio 1
	Ticks          []tick
	Rows           []plotRow
}

type tick struct {
	X, Y, YEnd, YText float64
	Label             string
}

type plotRow struct {
	Name, Note       string
	Y, YText, YNote  float64
	From, To, Median float64
	Dots             []float64
}

const (
	plotLeft, plotRight = 190.0, 505.0
	rowHeight           = 44.0
)

// plotOf draws on a logarithmic scale: half and double have the same distance to 1.
func plotOf(r *compare.Report, m compare.Metric) plot {
	low, high := 1/1.05, 1.05
	for i := range r.Names[1:] {
		for _, v := range r.Ratios(i+1, m) {
			low, high = min(low, v), max(high, v)
		}
	}
	low, high = low/1.03, high*1.03
	x := func(v float64) float64 {
		return round(plotLeft+(plotRight-plotLeft)*math.Log(v/low)/math.Log(high/low), 1)
	}
	p := plot{Name: strings.TrimSuffix(m.Name, " ms"), Better: m.Better, One: x(1), Bottom: 10 + rowHeight*float64(len(r.Names)-1)}
	p.Height = p.Bottom + 26
	for _, v := range ratioTicks(low, high) {
		p.Ticks = append(p.Ticks, tick{x(v), p.Bottom, p.Bottom + 5, p.Bottom + 20, fmt.Sprintf("%.4g", v)})
	}
	for i, name := range r.Names[1:] {
		y := 10 + rowHeight*(float64(i)+0.5)
		s := r.Ratio(i+1, m)
		row := plotRow{Name: clip(name, 26), Note: ratio(s), Y: y, YText: y - 2, YNote: y + 14}
		if s.N > 0 {
			row.From, row.To, row.Median = x(s.Min), x(s.Max), x(s.Median)
			for _, v := range r.Ratios(i+1, m) {
				row.Dots = append(row.Dots, x(v))
			}
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// ratioTicks returns a few round numbers from low to high. low must be positive.
func ratioTicks(low, high float64) []float64 {
	if math.Log(high/low) > math.Log(4) {
		var ticks []float64
		for exponent := math.Floor(math.Log10(low)); exponent <= math.Ceil(math.Log10(high)); exponent++ {
			for _, digit := range []float64{1, 2, 5} {
				if v := digit * math.Pow(10, exponent); v >= low && v <= high {
					ticks = append(ticks, v)
				}
			}
		}
		return ticks
	}
	step := 0.01
	for _, s := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5} {
		if step = s; (high-low)/s <= 6 {
			break
		}
	}
	var ticks []float64
	for n := math.Ceil(low / step); n*step <= high; n++ {
		ticks = append(ticks, round(n*step, 2))
	}
	return ticks
}

// clip shortens a name and keeps its end, where URLs differ.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return "…" + string(r[len(r)-n+1:])
}
