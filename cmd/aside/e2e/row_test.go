package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/check"
)

// group is the part that a fault affects. The table has this order.
type group string

const (
	nothing  group = "nothing"
	redis    group = "Redis"
	network  group = "network"
	nodes    group = "nodes"
	store    group = "store"
	topology group = "topology" // Sentinel, Cluster
	feed     group = "feed"     // changes past all nodes
)

var groups = []group{nothing, redis, network, nodes, store, topology, feed}

// row is the result of one fault.
type row struct {
	Group  group  `json:"group"`
	Fault  string `json:"fault"`
	Policy policy `json:"on_redis_down"`
	Nodes  int    `json:"nodes"`

	Operations int64            `json:"operations"`
	Writes     int64            `json:"writes"`
	Errors     int64            `json:"errors"`
	ErrorKinds map[string]int64 `json:"error_kinds,omitempty"`
	Unknown    int64            `json:"unknown_outcomes"` // writes

	// AddedLatency is the latency of the slowest successful operation minus that of the
	// slowest one before the fault. Clients of a killed or stopped node do not count:
	// they waited as long as the test made the fault last.
	AddedLatency ms `json:"added_latency_ms"`

	Strong  levelRow `json:"strong"`
	Default levelRow `json:"default"`
	// Outside is what reads missed of changes that went past all nodes.
	Outside *outsideRow `json:"outside,omitempty"`

	// Times since the end of the fault; nil: not before the end of the load. Recovered:
	// until no operation failed, or took longer than 100 ms plus twice the slowest one
	// before the fault. Coherent: until no default read was staler than 100 ms. Fresh:
	// until no strong read was stale.
	Recovered *ms `json:"recovered_ms"`
	Coherent  *ms `json:"coherent_ms"`
	Fresh     *ms `json:"fresh_ms"`

	// Broken counts violations by promise, including promises that are not Asserted.
	Broken   map[history.Promise]int64 `json:"broken,omitempty"`
	Asserted []history.Promise         `json:"asserted"`
}

type outsideRow struct {
	Writes  int64    `json:"writes"`
	Bound   ms       `json:"bound_ms"`
	Strong  levelRow `json:"strong"`
	Default levelRow `json:"default"`
}

// levelRow is the staleness of the reads of one level. The percentiles are of stale reads
// only.
type levelRow struct {
	Reads int64   `json:"reads"`
	Stale int64   `json:"stale"`
	Share float64 `json:"share"`
	P50   ms      `json:"p50_ms"`
	P999  ms      `json:"p99.9_ms"`
	Worst ms      `json:"worst_ms"`
}

// ms is a time in milliseconds.
type ms float64

func msOf(d time.Duration) ms { return ms(float64(d.Microseconds()) / 1000) }

func (m ms) String() string {
	if m < 10 {
		return fmt.Sprintf("%.1f", float64(m))
	}
	return fmt.Sprintf("%.0f", float64(m))
}

func levelOf(s *history.Staleness) levelRow {
	return levelRow{
		Reads: s.Reads, Stale: s.Stale, Share: s.Share(),
		P50: msOf(s.Quantile(0.5)), P999: msOf(s.Quantile(0.999)), Worst: msOf(s.Worst),
	}
}

const coherent = 100 * time.Millisecond

func rowOf(f fault, report *check.Report, begun, over time.Time) row {
	h, tl := &report.History, &report.Timeline
	begin, end := tl.At(begun), tl.At(over)
	r := row{
		Group: f.group, Fault: f.name, Policy: f.policy, Nodes: len(report.Targets),
		Operations: report.Operations, Writes: h.Ops[history.Write] + h.Ops[history.Delete],
		Errors: report.Failed, Unknown: h.Unknown,
		Strong: levelOf(&h.Strong), Default: levelOf(&h.Default),
		Broken: h.Broken, Asserted: f.promises,
	}
	if o := report.Config.Outside; o != nil {
		r.Outside = &outsideRow{h.Outside, msOf(o.Bound), levelOf(&h.OutsideStrong), levelOf(&h.OutsideDefault)}
	}
	for _, e := range report.Errors {
		if r.ErrorKinds == nil {
			r.ErrorKinds = map[string]int64{}
		}
		r.ErrorKinds[e.Request+": "+e.Problem] += e.Count
	}
	before := tl.Between(0, begin)
	for i, target := range report.Targets {
		if !slices.Contains(f.struck, i) {
			r.AddedLatency = max(r.AddedLatency, msOf(target.Latency.Max-before.MaxLatency))
		}
	}
	sinceEnd := func(at time.Duration, ok bool) *ms {
		if !ok {
			return nil
		}
		took := msOf(at - end)
		return &took
	}
	r.Recovered = sinceEnd(tl.Fast(end, 2*before.MaxLatency+100*time.Millisecond))
	r.Coherent = sinceEnd(tl.Fresh(end, coherent))
	r.Fresh = sinceEnd(tl.From(end, strongFresh))
	return r
}

func (r row) String() string {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// results collects the rows of a run, in the order of their start.
type results struct {
	mu   sync.Mutex
	n    int
	rows map[int]row
}

var table = results{rows: map[int]row{}}

// next reserves the place of another row.
func (t *results) next() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
	return t.n
}

func (t *results) add(at int, r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[at] = r
}

// write puts the table into a directory, as JSON and as Markdown.
func (t *results) write(dir string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var rows []row
	for _, at := range sortedKeys(t.rows) {
		rows = append(rows, t.rows[at])
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group))
	})
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "faults.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "faults.md"), []byte(markdown(rows)), 0o644)
}

func markdown(rows []row) string {
	var b strings.Builder
	line := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(&b, "| %v ", c)
		}
		fmt.Fprintln(&b, "|")
	}
	line("fault", "Redis down", "operations", "errors", "added latency, ms", "stale strong reads", "worst, ms", "stale default reads", "p50, ms", "p99.9, ms", "worst, ms", "recovered, ms", "coherent, ms")
	line("---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---:")
	var sum row
	for _, r := range rows {
		line(r.Fault, r.Policy, r.Operations, r.Errors, r.AddedLatency, r.Strong.count(), r.Strong.Worst,
			r.Default.count(), r.Default.P50, r.Default.P999, r.Default.Worst, orNever(r.Recovered), orNever(r.Coherent))
		sum.Operations += r.Operations
		sum.Errors += r.Errors
		sum.Strong.add(r.Strong)
		sum.Default.add(r.Default)
	}
	line("all", "", sum.Operations, sum.Errors, "", sum.Strong.count(), sum.Strong.Worst, sum.Default.count(), "", "", sum.Default.Worst, "", "")
	for _, r := range rows {
		var notes []string
		for _, kind := range sortedKeys(r.ErrorKinds) {
			notes = append(notes, fmt.Sprintf("%d × %s", r.ErrorKinds[kind], kind))
		}
		for _, p := range sortedKeys(r.Broken) {
			notes = append(notes, fmt.Sprintf("%d × not %s", r.Broken[p], p))
		}
		if o := r.Outside; o != nil {
			notes = append(notes, fmt.Sprintf("%d changes past all nodes, bound %v ms: strong reads missed one for at most %v ms (p99.9 of those %v), default reads for at most %v ms (p50 %v, p99.9 %v)",
				o.Writes, o.Bound, o.Strong.Worst, o.Strong.P999, o.Default.Worst, o.Default.P50, o.Default.P999))
		}
		if r.Unknown > 0 {
			notes = append(notes, fmt.Sprintf("%d writes of unknown outcome", r.Unknown))
		}
		if len(notes) > 0 {
			fmt.Fprintf(&b, "\n%s, %s: %s.\n", r.Fault, r.Policy, strings.Join(notes, "; "))
		}
	}
	return b.String()
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (l levelRow) count() string {
	if l.Stale == 0 {
		return fmt.Sprintf("0 of %d", l.Reads)
	}
	return fmt.Sprintf("%d of %d (%.3g %%)", l.Stale, l.Reads, 100*float64(l.Stale)/float64(l.Reads))
}

func (l *levelRow) add(o levelRow) {
	l.Reads += o.Reads
	l.Stale += o.Stale
	l.Worst = max(l.Worst, o.Worst)
}

func orNever(m *ms) string {
	if m == nil {
		return "not yet"
	}
	return m.String()
}
