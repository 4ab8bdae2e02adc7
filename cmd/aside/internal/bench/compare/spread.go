package compare

import (
	"slices"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
)

// Metric is a value of a run. ok is false if the run does not have it.
type Metric struct {
	Name   string
	Better string // "more", "less", or "" if neither is better
	of     func(r *bench.Report) (v float64, ok bool)
}

// Metrics returns the metrics that are compared.
func Metrics() []Metric {
	percentile := func(p float64) func(*bench.Report) (float64, bool) {
		return func(r *bench.Report) (float64, bool) {
			l := r.Latency()
			return float64(l.Percentile(p)) / float64(time.Millisecond), l.Count() > 0
		}
	}
	return []Metric{
		{"requests/s", "more", func(r *bench.Report) (float64, bool) { return r.Rate(), r.Succeeded > 0 }},
		{"p50 ms", "less", percentile(50)},
		{"p95 ms", "less", percentile(95)},
		{"p99 ms", "less", percentile(99)},
	}
}

// HitRatio returns the hit ratio, a metric that is shown but not compared.
func HitRatio() Metric { return Metric{"hit ratio", "", (*bench.Report).HitRatio} }

// Spread is the median and the range of several values.
type Spread struct {
	N                int // number of values; 0: there is none
	Median, Min, Max float64
}

func spreadOf(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	return Spread{n, (s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// Value returns the metric of a target over its rounds.
func (r *Report) Value(target int, m Metric) Spread {
	var values []float64
	for _, run := range r.Runs[target] {
		if run == nil {
			continue
		}
		if v, ok := m.of(run); ok {
			values = append(values, v)
		}
	}
	return spreadOf(values)
}

// Ratio returns the ratio of a target's metric to that of the first target in the same
// round, over the rounds that have both.
func (r *Report) Ratio(target int, m Metric) Spread {
	return spreadOf(r.Ratios(target, m))
}

// Ratios returns the ratios of the single rounds, in order.
func (r *Report) Ratios(target int, m Metric) []float64 {
	var ratios []float64
	for round, run := range r.Runs[target] {
		base := r.Runs[0][round]
		if run == nil || base == nil {
			continue
		}
		v, ok := m.of(run)
		b, okBase := m.of(base)
		if ok && okBase && b > 0 {
			ratios = append(ratios, v/b)
		}
	}
	return ratios
}

// Requests returns the requests of a target over all rounds.
func (r *Report) Requests(target int) (all, failed int64) {
	for _, run := range r.Runs[target] {
		if run != nil {
			all += run.Requests()
			failed += run.Failures()
		}
	}
	return all, failed
}

// Complete returns the number of rounds in which all targets were measured.
func (r *Report) Complete() int {
	n := 0
	for round := range r.Rounds {
		if !slices.ContainsFunc(r.Runs, func(runs []*bench.Report) bool { return runs[round] == nil }) {
			n++
		}
	}
	return n
}
