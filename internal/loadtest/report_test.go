package loadtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/wire"
)

// sample has 90 fast hits in L1, 9 in L2, a slow miss, and 5 failures.
func sample() *Report {
	r := &Report{
		URL: "http://h/todos", Users: 3, Workload: "w", Elapsed: 2 * time.Second,
		CPU: time.Second, Processors: 2, Connections: 3, Unfinished: 2, Interrupted: true,
	}
	for range 90 {
		r.succeed(time.Millisecond, 10, cacheStatus{tier: TierL1, negative: true})
	}
	for range 9 {
		r.succeed(2*time.Millisecond, 10, cacheStatus{tier: TierL2, stale: true})
	}
	r.succeed(50*time.Millisecond, 10, cacheStatus{tier: TierMiss, collapsed: true})
	for range 3 {
		r.fail(FailureKey{BadStatus, 503}, "GET /todos/7")
	}
	r.fail(FailureKey{Kind: wire.TimedOut}, "first")
	r.fail(FailureKey{Kind: wire.TimedOut}, "second")
	return r
}

func TestReportJSON(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Requests, Failures  int64
		RequestsPerSecond   float64 `json:"requests_per_second"`
		P50                 float64 `json:"p50_ms"`
		P99                 float64 `json:"p99_ms"`
		Max                 float64 `json:"max_ms"`
		HitRatio            float64 `json:"hit_ratio"`
		GeneratorCPUShare   float64 `json:"generator_cpu_share"`
		Negative, Coalesced int64
		Stale, Unfinished   int64
		Interrupted         bool
		Tiers               map[string]struct {
			Answers int64
			Share   float64
			P50     float64 `json:"p50_ms"`
		}
		Failed []struct {
			Kind    string
			Status  int
			Count   int64
			Example string
		}
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if got < want*0.999 || got > want*1.001 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	near("requests_per_second", got.RequestsPerSecond, 50)
	near("p50", got.P50, 1)
	near("p99", got.P99, 2)
	near("max", got.Max, 50)
	near("hit_ratio", got.HitRatio, 0.99)
	near("generator_cpu_share", got.GeneratorCPUShare, 0.25)
	near("L2 p50", got.Tiers["L2"].P50, 2)
	near("L2 share", got.Tiers["L2"].Share, 0.09)
	if got.Requests != 105 || got.Failures != 5 || got.Negative != 90 || got.Stale != 9 || got.Coalesced != 1 || got.Unfinished != 2 || !got.Interrupted {
		t.Errorf("%+v", got)
	}
	if len(got.Tiers) != 3 || got.Tiers["L1"].Answers != 90 || got.Tiers["miss"].Answers != 1 {
		t.Errorf("tiers %+v", got.Tiers)
	}
	if len(got.Failed) != 2 || got.Failed[0].Kind != "status" || got.Failed[0].Status != 503 || got.Failed[0].Count != 3 ||
		got.Failed[1].Kind != "timeout" || got.Failed[1].Count != 2 || got.Failed[1].Example != "first" {
		t.Errorf("failed %+v", got.Failed)
	}
	// scripts/measure.sh reads the first level by its indentation.
	for _, field := range []string{"requests_per_second", "p50_ms", "p99_ms", "failures", "hit_ratio"} {
		if strings.Count(b.String(), "\n  \""+field+"\": ") != 1 {
			t.Errorf("%s is not on one line of the first level", field)
		}
	}
}

func TestReportText(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ended early", "105 requests, 5 failed, 50.0 successful/s", "hit ratio 0.9900",
		"failed: 3 with status 503, first: GET /todos/7", "failed: 2 with timeout, first: first",
		"not counted: 2", "connections made: 3", "25 % of 2 processors",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &b)
		}
	}
}

func TestEmptyReport(t *testing.T) {
	var b strings.Builder
	r := &Report{}
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") || !strings.Contains(b.String(), `"hit_ratio": null`) {
		t.Error(b.String())
	}
}

// Histograms are used again for the next interval. Caught: one that was not
// emptied before.
func TestRecorderCollectsEachRequestOnce(t *testing.T) {
	rec := newRecorders(1)[0]
	var total Tally
	for interval := range 4 {
		for range 10 {
			rec.succeed(time.Duration(interval+1)*time.Millisecond, 1, cacheStatus{tier: TierL1})
		}
		rec.fail(FailureKey{Kind: wire.Closed}, "")
		var one Tally
		rec.collect(&one)
		if one.Succeeded != 10 || one.Hits(TierL1) != 10 || one.Failures() != 1 {
			t.Errorf("interval %d: %d, %d in L1, %d failed", interval, one.Succeeded, one.Hits(TierL1), one.Failures())
		}
		total.add(&one)
	}
	if total.Succeeded != 40 || total.Latency().Count() != 40 || total.Failures() != 4 || total.Bytes != 40 {
		t.Errorf("total %+v", total)
	}
}

func TestLatenciesOutOfRangeAreKept(t *testing.T) {
	var tally Tally
	tally.succeed(0, 0, cacheStatus{})
	tally.succeed(5*time.Hour, 0, cacheStatus{})
	if l := tally.Latency(); l.Count() != 2 || l.Max() < maxLatency {
		t.Errorf("%d latencies, max %v", l.Count(), l.Max())
	}
}
