package report

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/compare"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/uplot"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

var began = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// sample is a report with 90 fast hits in L1, 9 in L2, a slow miss, 10 updates and 6
// failures.
func sample() *bench.Report {
	r := &bench.Report{
		Config: bench.Config{
			URL: "http://h/todos", Users: 3, SpawnRate: 1, Workload: ids.Uniform(ids.Range{First: 1, Last: 9}, 4),
			Mix: bench.Mix{Update: 0.1}, Duration: 2 * time.Second, Timeout: 30 * time.Second, Interval: time.Second,
		},
		Name: "/todos", Start: began, Elapsed: 2 * time.Second,
		CPU: time.Second, Processors: 2, Connections: 3, Unfinished: 2, Interrupted: true,
		Machine: bench.Machine{System: "linux/amd64", Go: "go1.26", Processor: "<fast>", Memory: 8 << 30, Load: "1 2 3"},
	}
	for range 90 {
		r.Record(&bench.Sample{Tier: bench.TierL1, Took: time.Millisecond, Bytes: 10, Negative: true})
	}
	for range 9 {
		r.Record(&bench.Sample{Tier: bench.TierL2, Took: 2 * time.Millisecond, Bytes: 10, Stale: true})
	}
	r.Record(&bench.Sample{Tier: bench.TierMiss, Took: 50 * time.Millisecond, Bytes: 10, Coalesced: true})
	for range 10 {
		r.Record(&bench.Sample{Op: bench.Update, Took: 5 * time.Millisecond, Bytes: 20})
	}
	for range 3 {
		r.Fail(bench.FailureKey{Kind: bench.BadStatus, Status: 503}, "GET /todos/7", began.Add(time.Second))
	}
	r.Fail(bench.FailureKey{Kind: httpwire.TimedOut}, "first", began)
	r.Fail(bench.FailureKey{Kind: httpwire.TimedOut}, "second", began.Add(2*time.Second))
	r.Fail(bench.FailureKey{Kind: bench.BadStatus, Status: 409, Op: bench.Update}, "PATCH /todos/<8>", began.Add(time.Second))
	var total bench.Totals
	for i := range 2 {
		total.Succeeded, total.Failed, total.Bytes, total.Sum = total.Succeeded+55, total.Failed+3, total.Bytes+600, total.Sum+110*time.Millisecond
		p := bench.Point{
			At: time.Duration(i+1) * time.Second, Took: time.Second, Users: 3, Succeeded: 55, Failed: 3,
			P50: time.Millisecond, P95: 2 * time.Millisecond, P99: 50 * time.Millisecond, Max: 50 * time.Millisecond, Total: total,
		}
		p.Hits[bench.TierL1], p.Hits[bench.TierMiss] = 45, 5
		r.Timeline = append(r.Timeline, p)
	}
	return r
}

// openSample is an open loop that is too slow for its rate.
func openSample() *bench.Report {
	r := sample()
	r.Config.Rate, r.Config.Users, r.Elapsed, r.Overtime, r.Interrupted = 100, 5, 4*time.Second, 2*time.Second, false
	for range 110 {
		r.Depart(20*time.Millisecond, time.Microsecond)
		r.Record(&bench.Sample{Tier: bench.TierL1, Took: 23 * time.Millisecond, Served: 3 * time.Millisecond})
	}
	r.Fail(bench.FailureKey{Kind: bench.Dropped}, "no connection was free for 30s", began)
	r.Timeline[1].Backlog = 77
	return r
}

func text(t *testing.T, r *bench.Report) string {
	t.Helper()
	var b strings.Builder
	if err := Text(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed (go test ./internal/bench/report -rewrite):\n%s\nwant\n%s", path, got, want)
	}
}

func TestText(t *testing.T) {
	golden(t, "closed.txt", text(t, sample()))
	golden(t, "open.txt", text(t, openSample()))
}

// An empty report has no division by zero.
func TestEmptyReport(t *testing.T) {
	for _, r := range []*bench.Report{{}, {Config: bench.Config{Rate: 5}}} {
		var b strings.Builder
		for _, write := range []error{Text(&b, r), JSON(&b, r), HTML(&b, r), CSV(filepath.Join(t.TempDir(), "x"), r)} {
			if write != nil {
				t.Error(write)
			}
		}
		if s := b.String(); strings.Contains(strings.ReplaceAll(s, uplot.Script(), ""), "NaN") || !strings.Contains(s, `"hit_ratio": null`) {
			t.Error(s[:3000])
		}
	}
}

// allFailed is a run in which nothing succeeded.
func allFailed(rate float64) *bench.Report {
	r := &bench.Report{Config: sample().Config, Name: "/todos", Start: began, Elapsed: 2 * time.Second, Machine: sample().Machine}
	r.Config.Rate, r.Config.Mix = rate, bench.Mix{}
	for range 5 {
		r.Fail(bench.FailureKey{Kind: bench.BadStatus, Status: 500}, "GET /todos/7", began)
		if rate > 0 {
			r.Depart(0, time.Microsecond)
		}
	}
	for i := range 2 {
		r.Timeline = append(r.Timeline, bench.Point{At: time.Duration(i+1) * time.Second, Took: time.Second, Users: 3, Failed: 3, Total: bench.Totals{Failed: 3}})
	}
	return r
}

// If no request succeeded, no form of the report has latencies. Caught: 0 ms in all
// percentiles, as if the failures had been fast; a ratio of such percentiles.
func TestNoLatencyOfFailures(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, allFailed(5)); err != nil {
		t.Fatal(err)
	}
	var got document
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]latency{
		"all": got.latency, "read": got.Operations["read"].latency, "served": got.OpenLoop.Served, "waited": got.OpenLoop.Waited,
	} {
		if l != (latency{}) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if len(got.Operations) != 1 || got.OpenLoop.Lag.P50 == nil || got.HitRatio != nil || *got.ErrorRatio != 1 || got.RequestsPerSecond != 0 || got.Requests != 5 {
		t.Errorf("%+v", got)
	}
	if p := got.Timeline[1]; p.P50 != nil || p.P95 != nil || p.P99 != nil || p.Max != nil || p.Failures != 3 {
		t.Errorf("%+v", p)
	}
	for _, want := range []string{`"mean_ms": null`, `"p50_ms": null`, `"p99_9_ms": null`, `"max_ms": null`} {
		if !strings.Contains(b.String(), "\n  "+want) {
			t.Errorf("no %s on the first level", want)
		}
	}
	b.Reset()
	if err := JSON(&b, &bench.Report{}); err != nil || !strings.Contains(b.String(), `"error_ratio": null`) {
		t.Errorf("a run without requests: %v, %s", err, &b)
	}

	zero := func(name, s string) {
		t.Helper()
		for _, cell := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" |,<>\n", r) }) {
			if cell == "0.000" || cell == "0.0" {
				t.Errorf("%s has a latency of 0:\n%s", name, s)
				break
			}
		}
	}
	for _, rate := range []float64{0, 5} {
		s := text(t, allFailed(rate))
		head, rest, _ := strings.Cut(s, "0.0 successful/s") // a rate
		zero("text", head+rest)
		if strings.Count(s, "n/a") < 2*(4+len(bench.Percentiles)) {
			t.Errorf("text:\n%s", s)
		}
	}
	prefix := filepath.Join(t.TempDir(), "x")
	if err := CSV(prefix, allFailed(0)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stats", "stats_history"} {
		f, err := os.ReadFile(prefix + "_" + name + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(f)) {
			if strings.Contains(line, "Name") {
				continue
			}
			// Median, average, minimum and maximum too. Caught: they were 0.
			if n, want := strings.Count(line, "N/A"), len(bench.Percentiles)+4; n != want {
				t.Errorf("%s: %d cells are N/A, want %d: %s", name, n, want, line)
			}
		}
	}
	b.Reset()
	if err := HTML(&b, allFailed(5)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"p50":[null,null]`, `"max":[null,null]`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page's charts lack %s", want)
		}
	}
	page, _, _ := strings.Cut(b.String(), "<script")
	if strings.Contains(page, ">0.000<") || strings.Count(page, "n/a") < 3+2*7+2*len(bench.Percentiles) {
		t.Errorf("the page has %d times n/a:\n%s", strings.Count(page, "n/a"), page[strings.Index(page, "</style>"):])
	}

	r := &compare.Report{Names: []string{"base", "dead"}, Rounds: 1, Load: sample().Config, Runs: [][]*bench.Report{{sample()}, {allFailed(0)}}}
	b.Reset()
	if err := errors.Join(ComparisonText(&b, r), ComparisonHTML(&b, r)); err != nil {
		t.Fatal(err)
	}
	comparisons := b.String()
	zero("comparison", comparisons[:strings.Index(comparisons, "<!")])
	if strings.Contains(comparisons, ">0.000<") {
		t.Errorf("the comparison's page has a latency of 0")
	}
	b.Reset()
	if err := ComparisonJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var c comparison
	if err := json.Unmarshal([]byte(b.String()), &c); err != nil {
		t.Fatal(err)
	}
	if d := c.Targets[1]; len(d.Values) != 0 || len(d.Ratios) != 0 || d.Failures != 5 {
		t.Errorf("the dead one has %+v", d)
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, openSample()); err != nil {
		t.Fatal(err)
	}
	var got document
	dec := json.NewDecoder(strings.NewReader(b.String()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want*0.001 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	near("requests_per_second", got.RequestsPerSecond, 55)
	near("p50", *got.P50, 23)
	near("p99", *got.P99, 23)
	near("max", *got.Max, 50)
	near("hit_ratio", *got.HitRatio, 209.0/210)
	near("generator_cpu_share", got.CPUShare, 0.125)
	near("error_ratio", *got.ErrorRatio, 7.0/227)
	near("L2 p50", *got.Tiers["L2"].P50, 2)
	near("L2 share", got.Tiers["L2"].Share, 9.0/210)
	near("update p50", *got.Operations["update"].P50, 5)
	near("served", *got.OpenLoop.Served.P50, 3)
	near("waited", *got.OpenLoop.Waited.P99, 20)
	if got.Requests != 227 || got.Failures != 7 || got.Negative != 90 || got.Stale != 9 || got.Coalesced != 1 || got.Unfinished != 2 || got.Bytes != 1200 {
		t.Errorf("%+v", got)
	}
	if len(got.Tiers) != 3 || got.Tiers["L1"].Answers != 200 || got.Tiers["miss"].Answers != 1 || len(got.Operations) != 2 || got.Operations["update"].Failures != 1 {
		t.Errorf("tiers %+v, operations %+v", got.Tiers, got.Operations)
	}
	if o := got.OpenLoop; o.Rate != 100 || o.Sent != 110 || o.Late != 110 || o.Dropped != 1 || o.MaxBacklog != 77 || o.Overtime != 2 {
		t.Errorf("open loop %+v", o)
	}
	if f := got.Failed; len(f) != 4 || f[0].Kind != bench.BadStatus || f[0].Status != 503 || f[0].Count != 3 || f[0].Method != "GET" ||
		f[1].Kind != httpwire.TimedOut || f[1].Count != 2 || f[1].Example != "first" || !f[1].Last.Equal(began.Add(2*time.Second)) {
		t.Errorf("failed %+v", f)
	}
	if p := got.Timeline; len(p) != 2 || p[0].Succeeded != 55 || p[1].At != 2 || p[0].Tiers["L1"] != 45 || len(p[0].Tiers) != 2 || p[1].Backlog != 77 {
		t.Errorf("timeline %+v", p)
	}
}

// scripts/measure.sh finds the first level and that of the tiers by their indentation.
// Caught: a field failed in the timeline.
func TestJSONByLines(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	for _, field := range []string{"requests", "requests_per_second", "p50_ms", "p99_ms", "max_ms", "failures", "hit_ratio", "generator_cpu_share"} {
		if strings.Count(s, "\n  \""+field+"\": ") != 1 {
			t.Errorf("%s is not on one line of the first level", field)
		}
	}
	_, tier, ok := strings.Cut(s, "\n    \"L1\": {\n")
	tier, _, _ = strings.Cut(tier, "\n    }")
	if !ok || !strings.Contains("\n"+tier, "\n      \"share\": 0.9,") {
		t.Errorf("L1 is %q", tier)
	}
	if n := strings.Count(s, `"failed": `); n != 1 || strings.Index(s, `"failed": `) < strings.Index(s, `"timeline": `) {
		t.Errorf("%d times failed, which must come once, and last", n)
	}
}

// For the same requests the files are those that locust wrote: scripts/locust-check.sh
// makes them with locust itself. Caught: LF at the ends of lines; 1 for 1.0; percentiles
// with a fraction; a file less.
func TestCSVIsLocusts(t *testing.T) {
	f, err := os.ReadFile("testdata/locust/requests.csv")
	if err != nil {
		t.Fatal(err)
	}
	requests, err := csv.NewReader(strings.NewReader(string(f))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) float64 {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	op := func(method string) bench.Op {
		for _, op := range bench.Ops() {
			if op.Method() == method {
				return op
			}
		}
		t.Fatalf("method %q", method)
		return 0
	}
	start := time.Unix(1795341600, 0)
	r := &bench.Report{Name: "/todos", Start: start, Elapsed: 5500 * time.Millisecond}
	failed := &bench.Report{Name: "/todos"} // in this file only failures.csv has failures
	for second := range 6 {
		for _, q := range requests {
			if int(number(q[0])) != second {
				continue
			}
			if q[4] != "" {
				took := time.Duration(number(q[3]) * float64(time.Millisecond))
				r.Record(&bench.Sample{Op: op(q[1]), Took: took, Bytes: int(number(q[4]))})
				continue
			}
			kind, example, _ := strings.Cut(q[3], ": ")
			k := bench.FailureKey{Kind: httpwire.Kind(kind), Op: op(q[1])}
			if status, ok := strings.CutPrefix(kind, "status "); ok {
				k.Kind, k.Status = bench.BadStatus, int(number(status))
			}
			failed.Fail(k, example, start.Add(time.Duration(second)*time.Second+time.Second/2))
		}
		r.Timeline = append(r.Timeline, bench.Point{
			At: time.Duration(second+1) * time.Second, Took: time.Second, Users: 3,
			Total: bench.TotalsOf(r.Latency(), 0, r.Bytes()),
		})
	}
	dir := t.TempDir()
	if err := errors.Join(CSV(dir+"/run", r), CSV(dir+"/failed", failed)); err != nil {
		t.Fatal(err)
	}
	for ours, theirs := range map[string]string{
		"run_stats": "stats", "run_stats_history": "stats_history", "failed_failures": "failures", "run_exceptions": "exceptions",
	} {
		got, err := os.ReadFile(filepath.Join(dir, ours+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/locust/replay_" + theirs + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		a, b := records(string(got)), records(string(want))
		switch theirs {
		case "failures": // locust sorts by a hash
			slices.Sort(a[1:])
			slices.Sort(b[1:])
		case "stats_history":
			b = slices.Delete(b, 1, 2) // of the start, without a request
			for _, lines := range [][]string{a[1:], b[1:]} {
				for i, line := range lines {
					cells := strings.Split(line, ",")
					for c := range 2 { // per second: of another time
						if !regexp.MustCompile(`^\d+\.\d{6}$`).MatchString(cells[4+c]) {
							t.Errorf("%s has %s", ours, cells[4+c])
						}
						cells[4+c] = ""
					}
					lines[i] = strings.Join(cells, ",")
				}
			}
		}
		if !slices.Equal(a, b) {
			t.Errorf("%s:\n%q\nlocust:\n%q", ours, a, b)
		}
	}
}

// records splits a file into its lines. A line end inside a quoted cell does not end one.
func records(s string) (lines []string) {
	quoted, begin := false, 0
	for i, c := range s {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\n' && !quoted:
			lines = append(lines, s[begin:i+1])
			begin = i + 1
		}
	}
	return lines
}

func TestCSV(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "run")
	if err := CSV(prefix, sample()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stats", "stats_history", "failures", "exceptions"} {
		b, err := os.ReadFile(prefix + "_" + name + ".csv")
		if err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, line := range lines {
			if len(line) != len(lines[0]) {
				t.Errorf("%s: a line of %d cells, the head has %d", name, len(line), len(lines[0]))
			}
		}
		golden(t, name+".csv", string(b))
	}
	if err := CSV(filepath.Join(t.TempDir(), "missing", "run"), sample()); err == nil {
		t.Error("no error for a directory that is not there")
	}
}

// All lists of a chart have the same length, also after thinning. Thinning keeps all counts
// and the highest latencies. Caught: missing last points; averaged percentiles.
func TestThinnedCharts(t *testing.T) {
	r := sample()
	r.Timeline = nil
	for i := range 2*maxPoints + 500 {
		p := bench.Point{At: time.Duration(i+1) * time.Second, Took: time.Second, Succeeded: 10, P99: time.Duration(i%7) * time.Millisecond}
		p.Hits[bench.TierL2] = 10
		r.Timeline = append(r.Timeline, p)
	}
	c, each := chartsOf(r)
	s := c.Timeline
	n := len(s.At)
	if each != 3 || n > maxPoints || s.At[n-1] != 2*maxPoints+500 || len(s.Tiers) != 1 {
		t.Fatalf("%d points of %d each, the last at %v", n, each, s.At[n-1])
	}
	var hits int64
	for _, h := range s.Tiers["L2"] {
		hits += h
	}
	if hits != 10*(2*maxPoints+500) || slices.Max(s.Rate) != 10 || slices.Min(s.Rate) != 10 || *s.P99[0] != 2 || *s.P99[1] != 5 || *s.P99[2] != 6 {
		t.Errorf("%d hits, rates %v to %v, p99 %v", hits, slices.Min(s.Rate), slices.Max(s.Rate), []float64{*s.P99[0], *s.P99[1], *s.P99[2]})
	}
	for _, l := range []int{len(s.Rate), len(s.Failed), len(s.P50), len(s.P95), len(s.P99), len(s.Max), len(s.Users), len(s.Backlog), len(s.Tiers["L2"])} {
		if l != n {
			t.Errorf("a list of %d, want %d", l, n)
		}
	}
	if c, _ := chartsOf(sample()); len(c.Timeline.At) != 2 || len(c.Curve.P) != len(c.Curve.Series["L1"]) || len(c.Bars.UpTo) != len(c.Bars.Share) {
		t.Errorf("%+v", c)
	}
}

// The page has the content of the report as escaped text. Package browser tests the rest with
// Chromium.
func TestHTML(t *testing.T) {
	r := openSample()
	r.Config.URL = "http://h/<script>alert(1)</script>"
	var b strings.Builder
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{
		"# Requests", "# Fails", "Median (ms)", "95%ile (ms)", "99%ile (ms)", "Average (ms)", "Min (ms)", "Max (ms)", "Average size (bytes)",
		"RPS", "Failures/s", "99.99%ile (ms)", "First Seen", "PATCH /todos/&lt;8&gt;", "&lt;fast&gt;", "no coordinated omission",
		"Permission is hereby granted, free of charge", "http://h/&lt;script&gt;alert",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(page, "<script"); n != 3 {
		t.Errorf("%d scripts, want 3", n)
	}
	for _, foreign := range []string{"src=", "@import", "url("} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
}

func comparisonSample() *compare.Report {
	r := &compare.Report{
		Names: []string{"no-cache", "L1+L2"}, Rounds: 3, Interrupted: true, Load: sample().Config,
		Runs: [][]*bench.Report{{sample(), sample(), nil}, {sample(), sample(), nil}},
	}
	r.Runs[1][0].Elapsed /= 2
	r.Runs[1][1].Elapsed /= 4
	return r
}

func TestComparison(t *testing.T) {
	r := comparisonSample()
	var b strings.Builder
	if err := ComparisonText(&b, r); err != nil {
		t.Fatal(err)
	}
	golden(t, "comparison.txt", b.String())

	b.Reset()
	if err := ComparisonJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var got comparison
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Complete != 2 || got.Base != "no-cache" || got.Requests != 4*116 || got.Failures != 4*6 || len(got.Targets) != 2 || got.Targets[0].Ratios != nil {
		t.Errorf("%+v", got)
	}
	if s := got.Targets[1].Ratios["requests_per_second"]; s != (spread{2, 3, 2, 4}) {
		t.Errorf("ratio %+v, want 3 (2 to 4)", s)
	}
	if runs := got.Targets[1].Runs; len(runs) != 3 || runs[2] != nil || runs[1].RequestsPerSecond != 220 {
		t.Errorf("runs %+v", runs)
	}
	if s, ok := got.Targets[0].Values["hit_ratio"]; !ok || s.Median != 0.99 {
		t.Errorf("hit ratio %+v", s)
	}
}

// Ticks are few round numbers inside of the range. Caught: a step so large that there was no
// tick.
func TestRatioTicks(t *testing.T) {
	for _, r := range [][2]float64{{0.93, 1.09}, {0.5, 1.1}, {0.9, 2.5}, {0.01, 3}, {0.9, 200}, {0.99, 1.01}} {
		ticks := ratioTicks(r[0], r[1])
		if len(ticks) < 2 || len(ticks) > 14 || ticks[0] < r[0] || ticks[len(ticks)-1] > r[1] || !slices.Contains(ticks, 1) {
			t.Errorf("%v: %v", r, ticks)
		}
	}
}
