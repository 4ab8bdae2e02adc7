package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/compare"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// ComparisonText writes a comparison as text.
func ComparisonText(w io.Writer, r *compare.Report) error {
	var b strings.Builder
	rounds := fmt.Sprintf("%d rounds", r.Rounds)
	if done := r.Complete(); done < r.Rounds {
		rounds = fmt.Sprintf("%d of %d rounds completed", done, r.Rounds)
	}
	if r.Interrupted {
		rounds += ", ended early"
	}
	fmt.Fprintf(&b, "%s, servers in turn; each run: %s, %s\n", rounds, load(&r.Load), length(&r.Load))
	if r.Load.WarmUp != (bench.WarmUp{}) {
		fmt.Fprintf(&b, "warm-up of each: %v\n", r.Load.WarmUp)
	}
	latencyNote(&b, &r.Load)
	width := len("median")
	for _, name := range r.Names {
		width = max(width, len(name))
	}

	metrics := append(compare.Metrics(), compare.HitRatio())
	fmt.Fprintf(&b, "\n%-*s", width, "median")
	for _, m := range metrics {
		fmt.Fprintf(&b, " %11s", m.Name)
	}
	fmt.Fprintf(&b, " %12s %10s\n", "requests", "failed")
	for i, name := range r.Names {
		fmt.Fprintf(&b, "%-*s", width, name)
		for _, m := range metrics {
			fmt.Fprintf(&b, " %11s", figure(r.Value(i, m)))
		}
		all, failed := r.Requests(i)
		fmt.Fprintf(&b, " %12d %10d\n", all, failed)
	}

	fmt.Fprintf(&b, "\nRatios to %s in the same round: median (minimum to maximum).\n", r.Names[0])
	fmt.Fprintf(&b, "%-*s", width, "")
	for _, m := range compare.Metrics() {
		fmt.Fprintf(&b, " %24s", m.Name)
	}
	b.WriteByte('\n')
	for i, name := range r.Names[1:] {
		fmt.Fprintf(&b, "%-*s", width, name)
		for _, m := range compare.Metrics() {
			fmt.Fprintf(&b, " %24s", ratio(r.Ratio(i+1, m)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("If a range contains 1, the rounds show no clear difference.\n")
	for i, name := range r.Names {
		kinds(&b, name, r.Runs[i])
	}
	_, err := io.WriteString(w, printable.Text(b.String())) // parts come from the server
	return err
}

// kinds lists the failures of all rounds.
func kinds(b *strings.Builder, name string, runs []*bench.Report) {
	var sum bench.Tally
	for _, run := range runs {
		if run != nil {
			sum.AddFailures(&run.Tally)
		}
	}
	for _, k := range sum.Kinds() {
		f := sum.Failed[k]
		fmt.Fprintf(b, "%s: %d failed with %v, first: %s\n", name, f.Count, k, f.Example)
	}
}

func figure(s compare.Spread) string {
	switch {
	case s.N == 0:
		return "-"
	case s.Median >= 1000:
		return fmt.Sprintf("%.0f", s.Median)
	}
	return fmt.Sprintf("%.4g", s.Median)
}

func ratio(s compare.Spread) string {
	switch s.N {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf("%.3f (one round)", s.Median)
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f)", s.Median, s.Min, s.Max) // 24 wide up to 99.999
}

type comparison struct {
	Rounds      int        `json:"rounds"`
	Complete    int        `json:"complete_rounds"`
	Interrupted bool       `json:"interrupted"`
	Base        string     `json:"base"` // the denominator of the ratios
	Requests    int64      `json:"requests"`
	Failures    int64      `json:"failures"`
	Targets     []compared `json:"targets"`
}

type compared struct {
	Name     string            `json:"name"`
	Requests int64             `json:"requests"`
	Failures int64             `json:"failures"`
	Values   map[string]spread `json:"values"`
	Ratios   map[string]spread `json:"ratios,omitempty"`
	Runs     []*document       `json:"runs"` // null for a run that was not made
}

type spread struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// ComparisonJSON writes a comparison as JSON. Each run has the form of JSON.
func ComparisonJSON(w io.Writer, r *compare.Report) error {
	c := comparison{Rounds: r.Rounds, Complete: r.Complete(), Interrupted: r.Interrupted, Base: r.Names[0]}
	key := func(m compare.Metric) string {
		return strings.NewReplacer("/s", "_per_second", " ", "_").Replace(m.Name)
	}
	for i, name := range r.Names {
		t := compared{Name: name, Values: map[string]spread{}}
		t.Requests, t.Failures = r.Requests(i)
		c.Requests += t.Requests
		c.Failures += t.Failures
		for _, m := range append(compare.Metrics(), compare.HitRatio()) {
			if s := r.Value(i, m); s.N > 0 {
				t.Values[key(m)] = spread(s)
			}
		}
		if i > 0 {
			t.Ratios = map[string]spread{}
			for _, m := range compare.Metrics() {
				if s := r.Ratio(i, m); s.N > 0 {
					t.Ratios[key(m)] = spread(s)
				}
			}
		}
		for _, run := range r.Runs[i] {
			if run == nil {
				t.Runs = append(t.Runs, nil)
				continue
			}
			t.Runs = append(t.Runs, documentOf(run))
		}
		c.Targets = append(c.Targets, t)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(c)
}
