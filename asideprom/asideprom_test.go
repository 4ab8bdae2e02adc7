package asideprom_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideprom"
	"github.com/asidecache/aside/driver"
)

func TestCollector(t *testing.T) {
	stats := aside.Stats{
		HitsL1: 5, HitsL2: 4, Misses: 3, Failures: 2, Negatives: 1, Loads: 7, FillsRefused: 8,
		L1Entries: 9, L1Evictions: 10, Degraded: true, DegradedReason: "user-key-1 in a reason is no label",
		DegradedCause: aside.DegradedFailing, Breaker: aside.BreakerHalfOpen,
		L2ErrorsBy:   map[string]uint64{"acquire": 11, "drop older": 0},
		LeasesWaited: 4, LeaseTime: 1500 * time.Millisecond,
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(asideprom.NewCollector("todos", func() aside.Stats { return stats }))
	reg.MustRegister(asideprom.NewCollector("others", func() aside.Stats { return aside.Stats{} }))
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP aside_degraded 1 while L2 is configured but not, or not fully, in use. Stats.DegradedReason says why.
# TYPE aside_degraded gauge
aside_degraded{cache="others"} 0
aside_degraded{cache="todos"} 1
# HELP aside_degraded_cause 1 for the cause of aside_degraded, 0 for the others.
# TYPE aside_degraded_cause gauge
aside_degraded_cause{cache="others",cause="failing"} 0
aside_degraded_cause{cache="others",cause="overflow"} 0
aside_degraded_cause{cache="others",cause="pending"} 0
aside_degraded_cause{cache="others",cause="refused"} 0
aside_degraded_cause{cache="others",cause="reported"} 0
aside_degraded_cause{cache="todos",cause="failing"} 1
aside_degraded_cause{cache="todos",cause="overflow"} 0
aside_degraded_cause{cache="todos",cause="pending"} 0
aside_degraded_cause{cache="todos",cause="refused"} 0
aside_degraded_cause{cache="todos",cause="reported"} 0
# HELP aside_breaker_state 1 for the state of the circuit breaker of L2, 0 for the others.
# TYPE aside_breaker_state gauge
aside_breaker_state{cache="others",state="closed"} 0
aside_breaker_state{cache="others",state="half-open"} 0
aside_breaker_state{cache="others",state="none"} 1
aside_breaker_state{cache="others",state="open"} 0
aside_breaker_state{cache="todos",state="closed"} 0
aside_breaker_state{cache="todos",state="half-open"} 1
aside_breaker_state{cache="todos",state="none"} 0
aside_breaker_state{cache="todos",state="open"} 0
# HELP aside_l2_errors_total Operations on L2 that failed, by operation.
# TYPE aside_l2_errors_total counter
aside_l2_errors_total{cache="todos",op="acquire"} 11
aside_l2_errors_total{cache="todos",op="drop older"} 0
# HELP aside_lease_wait_seconds How long reads waited for the loads of other nodes.
# TYPE aside_lease_wait_seconds summary
aside_lease_wait_seconds_sum{cache="others"} 0
aside_lease_wait_seconds_count{cache="others"} 0
aside_lease_wait_seconds_sum{cache="todos"} 1.5
aside_lease_wait_seconds_count{cache="todos"} 4
# HELP aside_requests_total Reads by the tier that answered and the result: hits of l1 and l2, misses answered by a load, and errors.
# TYPE aside_requests_total counter
aside_requests_total{cache="others",result="error",tier="none"} 0
aside_requests_total{cache="others",result="hit",tier="l1"} 0
aside_requests_total{cache="others",result="hit",tier="l2"} 0
aside_requests_total{cache="others",result="miss",tier="load"} 0
aside_requests_total{cache="todos",result="error",tier="none"} 2
aside_requests_total{cache="todos",result="hit",tier="l1"} 5
aside_requests_total{cache="todos",result="hit",tier="l2"} 4
aside_requests_total{cache="todos",result="miss",tier="load"} 3
# HELP aside_fills_refused_total Loaded values not stored because a write came between.
# TYPE aside_fills_refused_total counter
aside_fills_refused_total{cache="others"} 0
aside_fills_refused_total{cache="todos"} 8
# HELP aside_entries Entries in L1.
# TYPE aside_entries gauge
aside_entries{cache="others"} 0
aside_entries{cache="todos"} 9
`), "aside_degraded", "aside_degraded_cause", "aside_breaker_state", "aside_l2_errors_total", "aside_lease_wait_seconds", "aside_requests_total", "aside_fills_refused_total", "aside_entries")
	if err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTimesOfARealCache(t *testing.T) {
	times := asideprom.NewTimes("todos")
	cache, err := aside.New(aside.Options[string, int]{OnLoad: times.OnLoad, OnL2: times.OnL2})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close(context.Background())
	load := func(err error) aside.LoaderFunc[string, int] {
		return func(context.Context, string) (int, error) { return 0, err }
	}
	broken := errors.New("broken")
	for key, err := range map[string]error{"a": nil, "b": aside.ErrNotFound, "c": broken} {
		if _, got := cache.Get(context.Background(), key, load(err)); !errors.Is(got, err) {
			t.Fatalf("Get %s: %v, want %v", key, got, err)
		}
	}
	times.OnL2("acquire", time.Millisecond, nil)
	times.OnL2("acquire", time.Millisecond, broken)

	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(times, asideprom.NewCollector("todos", cache.Stats))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, f := range families {
		for _, m := range f.Metric {
			if m.Histogram == nil {
				continue
			}
			name := f.GetName()
			for _, l := range m.Label {
				if l.GetName() != "cache" {
					name += " " + l.GetValue()
				}
			}
			counts[name] = m.Histogram.GetSampleCount()
		}
	}
	for name, want := range map[string]uint64{
		"aside_load_duration_seconds ok":          2, // an absence is an answer
		"aside_load_duration_seconds error":       1,
		"aside_l2_duration_seconds acquire ok":    1,
		"aside_l2_duration_seconds acquire error": 1,
	} {
		if counts[name] != want {
			t.Errorf("%s = %d, want %d", name, counts[name], want)
		}
	}
}

// tier is an L2 of which only the tracking tables are asked.
type tier struct {
	driver.Tier
	tracked driver.Tracked
	ok      bool
}

func (t *tier) Tracked() (driver.Tracked, bool) { return t.tracked, t.ok }

// An L2 with tracking tables has gauges of them once there are figures; one without,
// and none at all, has none. Caught: gauges that say 0 before a server has answered.
func TestL2Collector(t *testing.T) {
	main := &tier{tracked: driver.Tracked{Keys: 900_000, Items: 2_700_000, Limit: 1_000_000}}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(asideprom.NewL2Collector("main", main))
	reg.MustRegister(asideprom.NewL2Collector("plain", struct{ driver.Tier }{}))
	reg.MustRegister(asideprom.NewL2Collector("none", nil))
	if n, err := testutil.GatherAndCount(reg); n != 0 || err != nil {
		t.Errorf("before any figures: %d metrics, %v", n, err)
	}
	main.ok = true
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP aside_l2_tracked_items Pairs of a key and a client that has read it, which L2's servers remember for invalidations.
# TYPE aside_l2_tracked_items gauge
aside_l2_tracked_items{l2="main"} 2.7e+06
# HELP aside_l2_tracked_keys Keys that L2's servers remember some client to have read.
# TYPE aside_l2_tracked_keys gauge
aside_l2_tracked_keys{l2="main"} 900000
# HELP aside_l2_tracked_keys_limit Keys that a server of L2 remembers at most; 0: no limit. Of several servers, the lowest.
# TYPE aside_l2_tracked_keys_limit gauge
aside_l2_tracked_keys_limit{l2="main"} 1e+06
`)); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}
