package loadtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/asidecache/aside/internal/wire"
)

// Report is what a run measured.
type Report struct {
	URL       string
	Users     int
	SpawnRate float64
	Workload  string

	Start       time.Time
	Elapsed     time.Duration
	Interrupted bool  // by the context
	Unfinished  int64 // requests that were cut off; counted nowhere else
	Connections int64 // that were made: one for each user if all were kept alive

	// CPU is what the generator's process used; 0 if that is not known here.
	CPU        time.Duration
	Processors int // that it may use

	Tally
}

// Rate is in successful requests per second.
func (r *Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Succeeded) / r.Elapsed.Seconds()
}

// CPUShare is the generator's part of all its processors, 0 to 1.
func (r *Report) CPUShare() float64 {
	if r.Elapsed <= 0 || r.Processors == 0 {
		return 0
	}
	return r.CPU.Seconds() / r.Elapsed.Seconds() / float64(r.Processors)
}

// failed lists the most frequent kinds first.
func (r *Report) failed() []FailureKey {
	return slices.SortedFunc(maps.Keys(r.Failed), func(a, b FailureKey) int {
		return cmp.Or(cmp.Compare(r.Failed[b].Count, r.Failed[a].Count), cmp.Compare(a.String(), b.String()))
	})
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	early := ""
	if r.Interrupted {
		early = ", ended early"
	}
	fmt.Fprintf(&b, "%d users, %s, %s%s\n", r.Users, r.Workload, r.Elapsed.Round(10*time.Millisecond), early)
	fmt.Fprintf(&b, "%d requests, %d failed, %.1f successful/s\n\n", r.Requests(), r.Failures(), r.Rate())

	fmt.Fprintf(&b, "%-9s %10s %7s %9s %9s %9s %9s\n", "", "answers", "share", "p50 ms", "p95 ms", "p99 ms", "max ms")
	row := func(name string, l Latency) {
		if l.Count() == 0 && name != "all" {
			return
		}
		share := 100 * float64(l.Count()) / float64(max(r.Succeeded, 1))
		fmt.Fprintf(&b, "%-9s %10d %5.1f %% %9s %9s %9s %9s\n", name, l.Count(), share,
			millis(l.Percentile(50)), millis(l.Percentile(95)), millis(l.Percentile(99)), millis(l.Max()))
	}
	row("all", r.Latency())
	for tier := range tiers {
		if tier != TierUnknown {
			row(tier.String(), r.Latency(tier))
		}
	}
	row(TierUnknown.String(), r.Latency(TierUnknown))

	b.WriteByte('\n')
	if ratio, ok := r.HitRatio(); ok {
		fmt.Fprintf(&b, "hit ratio %.4f; coalesced %d, negative %d, stale %d\n", ratio, r.Coalesced, r.Negative, r.Stale)
	} else if r.Succeeded > 0 {
		b.WriteString("hit ratio unknown: no answer has a Cache-Status header\n")
	}
	for _, k := range r.failed() {
		f := r.Failed[k]
		fmt.Fprintf(&b, "failed: %d with %v, first: %s\n", f.Count, k, f.Example)
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(&b, "cut off at the end, and not counted: %d\n", r.Unfinished)
	}
	fmt.Fprintf(&b, "connections made: %d\n", r.Connections)
	if r.CPU > 0 {
		fmt.Fprintf(&b, "the generator itself: %.0f %% of %d processors, %.1f us of CPU a request\n",
			100*r.CPUShare(), r.Processors, float64(r.CPU.Nanoseconds())/1e3/float64(max(r.Requests(), 1)))
	}
	_, err := io.WriteString(w, b.String())
	return err
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

// jsonReport has the figures that are wanted most often on its first level.
// Names end in their unit.
type jsonReport struct {
	URL               string    `json:"url"`
	Users             int       `json:"users"`
	SpawnRate         float64   `json:"spawn_rate"`
	Workload          string    `json:"workload"`
	Start             time.Time `json:"start"`
	Elapsed           float64   `json:"elapsed_seconds"`
	Interrupted       bool      `json:"interrupted"`
	Requests          int64     `json:"requests"`
	Failures          int64     `json:"failures"`
	RequestsPerSecond float64   `json:"requests_per_second"`
	jsonLatency
	HitRatio    *float64            `json:"hit_ratio"`
	Coalesced   int64               `json:"coalesced"`
	Negative    int64               `json:"negative"`
	Stale       int64               `json:"stale"`
	Bytes       int64               `json:"body_bytes"`
	Unfinished  int64               `json:"unfinished"`
	Connections int64               `json:"connections"`
	CPU         float64             `json:"generator_cpu_seconds"`
	CPUShare    float64             `json:"generator_cpu_share"`
	Processors  int                 `json:"processors"`
	Tiers       map[string]jsonTier `json:"tiers"`
	Failed      []jsonFailure       `json:"failed"`
}

type jsonLatency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P95  float64 `json:"p95_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

type jsonTier struct {
	Answers int64   `json:"answers"`
	Share   float64 `json:"share"`
	jsonLatency
}

type jsonFailure struct {
	Kind    wire.Kind `json:"kind"`
	Status  int       `json:"status,omitempty"`
	Count   int64     `json:"count"`
	Example string    `json:"example"`
}

func jsonLatencyOf(l Latency) jsonLatency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return jsonLatency{ms(l.Mean()), ms(l.Percentile(50)), ms(l.Percentile(95)), ms(l.Percentile(99)), ms(l.Max())}
}

// WriteJSON writes the report for programs, indented by two spaces.
func (r *Report) WriteJSON(w io.Writer) error {
	j := jsonReport{
		URL: r.URL, Users: r.Users, SpawnRate: r.SpawnRate, Workload: r.Workload,
		Start: r.Start, Elapsed: r.Elapsed.Seconds(), Interrupted: r.Interrupted,
		Requests: r.Requests(), Failures: r.Failures(), RequestsPerSecond: r.Rate(),
		jsonLatency: jsonLatencyOf(r.Latency()),
		Coalesced:   r.Coalesced, Negative: r.Negative, Stale: r.Stale, Bytes: r.Bytes,
		Unfinished: r.Unfinished, Connections: r.Connections,
		CPU: r.CPU.Seconds(), CPUShare: r.CPUShare(), Processors: r.Processors,
		Tiers: map[string]jsonTier{}, Failed: []jsonFailure{},
	}
	if ratio, ok := r.HitRatio(); ok {
		j.HitRatio = &ratio
	}
	for tier := range tiers {
		if l := r.Latency(tier); l.Count() > 0 {
			j.Tiers[tier.String()] = jsonTier{l.Count(), float64(l.Count()) / float64(r.Succeeded), jsonLatencyOf(l)}
		}
	}
	for _, k := range r.failed() {
		f := r.Failed[k]
		j.Failed = append(j.Failed, jsonFailure{k.Kind, k.Status, f.Count, f.Example})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(j)
}
