package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// document is the JSON report. Its first level has the most important figures. Names end
// with their unit. scripts/measure.sh reads it line by line: each value that it reads must
// be on a line of its own, and failed must come last.
type document struct {
	URL               string    `json:"url"`
	Users             int       `json:"users"`
	SpawnRate         float64   `json:"spawn_rate"`
	Workload          string    `json:"workload"`
	Mix               string    `json:"mix"`
	WarmUp            string    `json:"warm_up"`
	AddedLatency      string    `json:"added_store_latency,omitempty"`
	Start             time.Time `json:"start"`
	Elapsed           float64   `json:"elapsed_seconds"`
	Interrupted       bool      `json:"interrupted"`
	Requests          int64     `json:"requests"`
	Failures          int64     `json:"failures"`
	ErrorRatio        *float64  `json:"error_ratio"` // null without requests
	RequestsPerSecond float64   `json:"requests_per_second"`
	latency
	HitRatio    *float64             `json:"hit_ratio"`
	Coalesced   int64                `json:"coalesced"`
	Negative    int64                `json:"negative"`
	Stale       int64                `json:"stale"`
	Bytes       int64                `json:"body_bytes"`
	Unfinished  int64                `json:"unfinished"`
	Connections int64                `json:"connections"`
	CPU         float64              `json:"generator_cpu_seconds"`
	CPUShare    float64              `json:"generator_cpu_share"`
	Processors  int                  `json:"processors"`
	Machine     bench.Machine        `json:"machine"`
	OpenLoop    *openLoop            `json:"open_loop,omitempty"`
	Tiers       map[string]tier      `json:"tiers"`
	Operations  map[string]operation `json:"operations"`
	Created     *created             `json:"created,omitempty"`
	Timeline    []point              `json:"timeline"`
	Failed      []failure            `json:"failed"`
}

// In latency all values are null if no request succeeded.
type latency struct {
	Mean *float64 `json:"mean_ms"`
	P50  *float64 `json:"p50_ms"`
	P95  *float64 `json:"p95_ms"`
	P99  *float64 `json:"p99_ms"`
	P999 *float64 `json:"p99_9_ms"`
	Max  *float64 `json:"max_ms"`
}

type tier struct {
	Answers int64   `json:"answers"`
	Share   float64 `json:"share"` // of the successful reads
	latency
}

type operation struct {
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	latency
}

type openLoop struct {
	Rate       float64 `json:"rate"`
	Poisson    bool    `json:"poisson"`
	Sent       int64   `json:"sent"`
	Late       int64   `json:"late"`
	Dropped    int64   `json:"dropped"`
	MaxBacklog int64   `json:"max_backlog"`
	Overtime   float64 `json:"overtime_seconds"`
	Waited     latency `json:"waited"`
	Served     latency `json:"served"`
	Lag        latency `json:"generator_lag"`
}

type created struct {
	Prefix string `json:"prefix"`
	Left   int64  `json:"left"`
}

type point struct {
	At        float64          `json:"at_seconds"`
	Took      float64          `json:"took_seconds"`
	Users     int              `json:"users"`
	Succeeded int64            `json:"succeeded"`
	Failures  int64            `json:"failures"`
	P50       *float64         `json:"p50_ms"` // these are null where Succeeded is 0
	P95       *float64         `json:"p95_ms"`
	P99       *float64         `json:"p99_ms"`
	Max       *float64         `json:"max_ms"`
	Backlog   int64            `json:"backlog,omitempty"`
	Tiers     map[string]int64 `json:"tiers"`
}

type failure struct {
	Method  string        `json:"method"`
	Kind    httpwire.Kind `json:"kind"`
	Status  int           `json:"status,omitempty"`
	Count   int64         `json:"count"`
	Example string        `json:"example"`
	First   time.Time     `json:"first_seen"`
	Last    time.Time     `json:"last_seen"`
}

func latencyOf(l bench.Latency) latency {
	p := l.Percentiles(50, 95, 99, 99.9)
	ms := func(d time.Duration) *float64 {
		if l.Count() == 0 {
			return nil
		}
		return new(float64(d.Microseconds()) / 1000)
	}
	return latency{ms(l.Mean()), ms(p[0]), ms(p[1]), ms(p[2]), ms(p[3]), ms(l.Max())}
}

// JSON writes the report as JSON, indented by two spaces.
func JSON(w io.Writer, r *bench.Report) error {
	d := documentOf(r)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

func documentOf(r *bench.Report) *document {
	c := &r.Config
	d := &document{
		URL: c.URL, Users: c.Users, SpawnRate: c.SpawnRate, Workload: workloadOf(c), Mix: c.Mix.String(), WarmUp: c.WarmUp.String(), AddedLatency: c.AddedLatency,
		Start: r.Start, Elapsed: r.Elapsed.Seconds(), Interrupted: r.Interrupted,
		Requests: r.Requests(), Failures: r.Failures(), RequestsPerSecond: r.Rate(),
		latency:   latencyOf(r.Latency()),
		Coalesced: r.Coalesced, Negative: r.Negative, Stale: r.Stale, Bytes: r.Bytes(),
		Unfinished: r.Unfinished, Connections: r.Connections,
		CPU: r.CPU.Seconds(), CPUShare: r.CPUShare(), Processors: r.Processors, Machine: r.Machine,
		Tiers: map[string]tier{}, Operations: map[string]operation{}, Timeline: []point{}, Failed: []failure{},
	}
	if r.Requests() > 0 {
		d.ErrorRatio = new(r.ErrorRatio())
	}
	if ratio, ok := r.HitRatio(); ok {
		d.HitRatio = &ratio
	}
	if o := r.OpenLoop(); o != nil {
		d.OpenLoop = &openLoop{
			c.Rate, c.Poisson, o.Sent, o.Late, o.Dropped, o.MaxBacklog, r.Overtime.Seconds(),
			latencyOf(o.Waited), latencyOf(o.Served), latencyOf(o.Lag),
		}
	}
	reads := r.Latency(bench.Read).Count()
	for _, t := range bench.Tiers() {
		if l := r.TierLatency(t); l.Count() > 0 {
			d.Tiers[t.String()] = tier{l.Count(), float64(l.Count()) / float64(reads), latencyOf(l)}
		}
	}
	for _, op := range bench.Ops() {
		l := r.Latency(op)
		if n := l.Count() + r.Failures(op); n > 0 {
			d.Operations[op.String()] = operation{n, r.Failures(op), latencyOf(l)}
		}
	}
	if r.Created.Left > 0 {
		d.Created = &created{r.Created.Prefix, r.Created.Left}
	}
	for _, p := range r.Timeline {
		tiers := map[string]int64{}
		for _, t := range bench.Tiers() {
			if n := p.Hits[t]; n > 0 {
				tiers[t.String()] = n
			}
		}
		d.Timeline = append(d.Timeline, point{
			p.At.Seconds(), p.Took.Seconds(), p.Users, p.Succeeded, p.Failed,
			millisOf(p, p.P50), millisOf(p, p.P95), millisOf(p, p.P99), millisOf(p, p.Max), p.Backlog, tiers,
		})
	}
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		d.Failed = append(d.Failed, failure{k.Op.Method(), k.Kind, k.Status, f.Count, f.Example, f.First, f.Last})
	}
	return d
}

// millisOf returns nil for an interval in which nothing succeeded.
func millisOf(p bench.Point, d time.Duration) *float64 {
	if p.Succeeded == 0 {
		return nil
	}
	return new(millis(d))
}

func workloadOf(c *bench.Config) string {
	if c.Workload == nil {
		return ""
	}
	return c.Workload.String()
}
