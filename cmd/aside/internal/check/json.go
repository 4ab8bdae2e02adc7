package check

import (
	"encoding/json"
	"io"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// jsonReport is the JSON form of a Report. Names end with their unit.
type jsonReport struct {
	Verdict  verdict `json:"verdict"`
	Broken   string  `json:"broken,omitempty"`
	Unproven string  `json:"unproven,omitempty"`

	Start       time.Time `json:"start"`
	Elapsed     float64   `json:"elapsed_seconds"`
	Interrupted bool      `json:"interrupted"`
	Clients     int       `json:"clients"`
	Keys        int       `json:"keys"`
	Writes      float64   `json:"writes"`
	Strong      float64   `json:"strong"`
	MaxStale    *float64  `json:"max_staleness_ms"` // null: no limit
	Seed        uint64    `json:"seed"`
	Prefix      string    `json:"prefix"`

	Operations          int64   `json:"operations"`
	Failed              int64   `json:"failed"`
	Late                int64   `json:"late"`
	Unfinished          int64   `json:"unfinished"`
	OperationsPerSecond float64 `json:"operations_per_second"`
	Records             int64   `json:"records"`
	Unknown             int64   `json:"unknown_outcomes"`
	Undecided           int64   `json:"undecided_records"`

	Stale      map[string]jsonStaleness `json:"staleness"`
	Promises   []jsonPromise            `json:"promises"`
	Latency    map[string]jsonLatency   `json:"latency"`
	Targets    []jsonTarget             `json:"targets"`
	Errors     []jsonError              `json:"errors"`
	Violations []jsonViolation          `json:"violations"`
	Outside    *jsonOutside             `json:"outside,omitempty"` // absent without outside writers
	Drops      *jsonDrops               `json:"drops,omitempty"`   // absent without drops
	Left       []string                 `json:"left"`
}

type verdict string

const (
	held     verdict = "held"
	broken   verdict = "broken"
	unproven verdict = "unproven"
)

type jsonStaleness struct {
	Reads int64   `json:"reads"`
	Stale int64   `json:"stale"`
	Share float64 `json:"share"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
}

type jsonOutside struct {
	Store   string                   `json:"store"`
	Writers int                      `json:"writers"`
	Rate    *float64                 `json:"max_writes_per_second"` // null: no limit
	Bound   float64                  `json:"bound_ms"`
	Updates jsonLatency              `json:"updates"`
	Deletes jsonLatency              `json:"deletes"`
	Failed  int64                    `json:"failed"`
	Late    int64                    `json:"late"`
	Held    int64                    `json:"reads_after_bound"` // that had to show an outside write
	Stale   map[string]jsonStaleness `json:"staleness"`         // from the real acknowledgements
	Errors  []jsonError              `json:"errors"`
	NotFed  []jsonNotFed             `json:"not_fed"`
}

type jsonDrops struct {
	Keys float64 `json:"by_key"` // share of the operations
	Tags float64 `json:"by_tag"`
	Held int64   `json:"strong_reads_held"` // to an outside write at once, by a drop alone
}

type jsonNotFed struct {
	Target string `json:"target"`
	Reason string `json:"reason"`
}

type jsonPromise struct {
	Name       history.Promise `json:"name"`
	Guarantee  string          `json:"guarantee"`
	Violations int64           `json:"violations"`
	NotChecked string          `json:"not_checked,omitempty"` // why nothing was seen that could have broken it
}

type jsonLatency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

type jsonTarget struct {
	URL    string `json:"url"`
	Failed int64  `json:"failed"`
	jsonLatency
}

type jsonError struct {
	Target  string `json:"target"`
	Request string `json:"request"`
	Problem string `json:"problem"`
	Count   int64  `json:"count"`
	Unknown int64  `json:"unknown_outcomes"`
	Example string `json:"example"`
}

type jsonViolation struct {
	Promise history.Promise `json:"promise"`
	Record  string          `json:"record"`
	Text    string          `json:"text"`
	Picture string          `json:"picture,omitempty"`
	History []jsonOp        `json:"history"`
}

type jsonOp struct {
	Client  int      `json:"client"`
	Target  int      `json:"target"`            // its index; -1 if outside
	Outside bool     `json:"outside,omitempty"` // it went past all targets
	Kind    string   `json:"kind"`
	Version int64    `json:"version"`
	Tag     uint64   `json:"tag"`
	Call    float64  `json:"call_seconds"`
	Return  *float64 `json:"return_seconds"` // null: of unknown outcome
}

// WriteJSON writes the report as JSON, indented by two spaces, without the timeline.
func (r *Report) WriteJSON(w io.Writer) error {
	c, h := &r.Config, &r.History
	j := jsonReport{
		Verdict: held,
		Start:   r.Start, Elapsed: r.Elapsed.Seconds(), Interrupted: r.Interrupted,
		Clients: c.Clients, Keys: c.Keys, Writes: c.Writes, Strong: c.Strong, Seed: c.Seed, Prefix: r.Prefix,
		Operations: r.Operations, Failed: r.Failed, Late: r.Late, Unfinished: r.Unfinished, OperationsPerSecond: r.Rate(),
		Records: h.Keys, Unknown: h.Unknown, Undecided: h.Undecided,
		Stale:    map[string]jsonStaleness{"strong": jsonStalenessOf(&h.Strong), "default": jsonStalenessOf(&h.Default)},
		Promises: []jsonPromise{}, Latency: map[string]jsonLatency{}, Targets: []jsonTarget{},
		Errors: []jsonError{}, Violations: []jsonViolation{}, Left: append([]string{}, r.Left...),
	}
	if err := r.Unproven(); err != nil {
		j.Verdict, j.Unproven = unproven, err.Error()
	}
	if err := r.Broken(); err != nil {
		j.Verdict, j.Broken = broken, err.Error()
	}
	if c.MaxStale >= 0 {
		bound := toMillis(c.MaxStale)
		j.MaxStale = &bound
	}
	for _, p := range c.Promises {
		why, _ := r.notChecked(p)
		j.Promises = append(j.Promises, jsonPromise{p, p.Guarantee(), h.Broken[p], why})
	}
	for kind, l := range r.Latency {
		j.Latency[kind] = jsonLatencyOf(l)
	}
	for _, t := range r.Targets {
		j.Targets = append(j.Targets, jsonTarget{t.URL, t.Failed, jsonLatencyOf(t.Latency)})
	}
	for _, e := range r.Errors {
		j.Errors = append(j.Errors, jsonError{r.Targets[e.Target].URL, e.Request, e.Problem, e.Count, e.Unknown, e.Example})
	}
	if r.Outside != nil {
		j.Outside = r.jsonOutside()
	}
	if d := c.Drops; d != nil {
		j.Drops = &jsonDrops{d.Keys, d.Tags, h.HeldByDrop}
	}
	for _, v := range h.Violations {
		j.Violations = append(j.Violations, jsonViolationOf(v))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(j)
}

func (r *Report) jsonOutside() *jsonOutside {
	o, c, h := r.Outside, r.Config.Outside, &r.History
	j := &jsonOutside{
		Store: c.Name, Writers: c.Writers, Bound: toMillis(c.Bound),
		Updates: jsonLatencyOf(o.Updates), Deletes: jsonLatencyOf(o.Deletes), Failed: o.Failed, Late: o.Late, Held: h.Held,
		Stale:  map[string]jsonStaleness{"strong": jsonStalenessOf(&h.OutsideStrong), "default": jsonStalenessOf(&h.OutsideDefault)},
		Errors: []jsonError{}, NotFed: []jsonNotFed{},
	}
	if c.Rate > 0 {
		j.Rate = &c.Rate
	}
	for _, e := range o.Errors {
		j.Errors = append(j.Errors, jsonError{"outside", e.Request, e.Problem, e.Count, e.Unknown, e.Example})
	}
	for _, n := range o.NotFed {
		j.NotFed = append(j.NotFed, jsonNotFed{r.Config.Targets[n.Target], n.Reason})
	}
	return j
}

func jsonStalenessOf(s *history.Staleness) jsonStaleness {
	return jsonStaleness{
		Reads: s.Reads, Stale: s.Stale, Share: s.Share(),
		P50: toMillis(s.Quantile(0.5)), P99: toMillis(s.Quantile(0.99)), P999: toMillis(s.Quantile(0.999)), Max: toMillis(s.Worst),
	}
}

func jsonLatencyOf(l Latency) jsonLatency {
	return jsonLatency{l.Count, toMillis(l.P50), toMillis(l.P99), toMillis(l.Max)}
}

func jsonViolationOf(v history.Violation) jsonViolation {
	j := jsonViolation{Promise: v.Promise, Record: v.Key, Text: v.Text, Picture: v.Picture, History: []jsonOp{}}
	for _, op := range v.Ops {
		o := jsonOp{Client: op.Client, Target: op.Node, Outside: op.Outside, Kind: op.Kind.String(), Version: op.Version, Tag: op.Tag, Call: op.Call.Seconds()}
		if !op.Unknown {
			end := op.Return.Seconds()
			o.Return = &end
		}
		j.History = append(j.History, o)
	}
	return j
}

func toMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
