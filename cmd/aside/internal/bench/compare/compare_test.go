package compare

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func load(n int64) bench.Config {
	return bench.Config{Users: 1, Requests: n, Workload: ids.Scan(ids.Range{First: 1, Last: 100}, false)}
}

// Rounds are interleaved, every second one in reverse order. Each run has the whole load, and
// a target is stopped before the next one starts. Caught: all rounds of one target in a row;
// a scan that was at its end after the first run.
func TestInterleaved(t *testing.T) {
	var log []string
	note := func(format string, args ...any) { log = append(log, fmt.Sprintf(format, args...)) }
	url := server(t, func(http.ResponseWriter, *http.Request) {})
	var targets []Target
	for _, name := range []string{"a", "b", "c"} {
		targets = append(targets, Target{Name: name, Start: func(context.Context) (string, func() error, error) {
			note("+%s", name)
			return url, func() error { note("-%s", name); return nil }, nil
		}})
	}
	r, err := Run(t.Context(), Config{Targets: targets, Rounds: 3, Load: load(0), Begin: func(round int, t Target) { note("%d%s", round, t.Name) }})
	if err != nil {
		t.Fatal(err)
	}
	const want = "0a +a -a 0b +b -b 0c +c -c 1c +c -c 1b +b -b 1a +a -a 2a +a -a 2b +b -b 2c +c -c"
	if got := strings.Join(log, " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if r.Complete() != 3 || r.Interrupted || !slices.Equal(r.Names, []string{"a", "b", "c"}) {
		t.Errorf("%d complete rounds of %v, interrupted %v", r.Complete(), r.Names, r.Interrupted)
	}
	for i := range targets {
		if all, failed := r.Requests(i); all != 300 || failed != 0 {
			t.Errorf("%s: %d requests, %d failed; want 300", r.Names[i], all, failed)
		}
	}
}

// In a round all servers get the same requests. Another round has other requests. Caught: the
// same ids in every round, so that caches had them.
func TestRoundsDiffer(t *testing.T) {
	asked := map[string]int{}
	var paths strings.Builder
	url := server(t, func(_ http.ResponseWriter, r *http.Request) { paths.WriteString(r.URL.Path) })
	var targets []Target
	for _, name := range []string{"a", "b"} {
		targets = append(targets, Target{Name: name, Start: func(context.Context) (string, func() error, error) {
			paths.Reset()
			return url, func() error { asked[paths.String()]++; return nil }, nil
		}})
	}
	c := Config{Targets: targets, Rounds: 3, Load: load(20)}
	c.Load.Workload = ids.Uniform(ids.Range{First: 1, Last: 1_000_000}, 1)
	if _, err := Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 3 {
		t.Errorf("%d different runs in 3 rounds, want one for each", len(asked))
	}
	for paths, n := range asked {
		if n != 2 {
			t.Errorf("asked %d servers for %s", n, paths)
		}
	}
}

// An interrupt drops the current run and keeps the others. Caught: the interrupted run was
// kept, with the rate of its first moments.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	url := server(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 3*50+20 {
			cancel()
		}
	})
	r, err := Run(ctx, Config{Targets: []Target{{Name: "a", URL: url}, {Name: "b", URL: url}}, Rounds: 9, Load: load(50)})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Complete() != 1 || r.Runs[0][0] == nil || r.Runs[1][0] == nil || r.Runs[1][1] == nil || r.Runs[0][1] != nil {
		t.Errorf("interrupted %v, %d complete rounds, runs %v", r.Interrupted, r.Complete(), r.Runs)
	}
	if s := r.Ratio(1, Metrics()[0]); s.N != 1 {
		t.Errorf("%d ratios; only the first round has both runs", s.N)
	}
}

// A failing target ends the comparison. The report has the runs until then.
func TestTargetsThatFail(t *testing.T) {
	url := server(t, func(http.ResponseWriter, *http.Request) {})
	broken := errors.New("broken")
	for name, start := range map[string]func() (string, func() error, error){
		"start": func() (string, func() error, error) { return "", nil, broken },
		"stop":  func() (string, func() error, error) { return url, func() error { return broken }, nil },
	} {
		r, err := Run(t.Context(), Config{Rounds: 2, Load: load(5), Targets: []Target{
			{Name: "good", URL: url},
			{Name: "bad", Start: func(context.Context) (string, func() error, error) { return start() }},
		}})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "round 1, bad") || r == nil || r.Runs[0][0] == nil || r.Complete() != 0 {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	for _, c := range []Config{{Targets: []Target{{URL: url}}, Rounds: 1}, {Targets: []Target{{URL: url}, {URL: url}}}} {
		if r, err := Run(t.Context(), c); err == nil || r != nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// ran returns a run of n requests in one second, each with this latency in milliseconds.
func ran(n, millis int) *bench.Report {
	r := &bench.Report{Elapsed: time.Second}
	for range n {
		r.Record(&bench.Sample{Tier: bench.TierL1, Took: time.Duration(millis) * time.Millisecond})
	}
	return r
}

// A ratio compares two runs of one round. The spread is over the rounds with both runs.
// Caught: the ratio of the medians, which is 1.5 here; a missing run that shifted the later
// rounds.
func TestRatios(t *testing.T) {
	r := &Report{
		Names: []string{"a", "b"}, Rounds: 5,
		Runs: [][]*bench.Report{
			{ran(100, 10), ran(200, 20), ran(400, 40), nil, ran(0, 1)},
			{ran(110, 5), ran(300, 20), ran(800, 60), ran(900, 9), ran(10, 1)},
		},
	}
	near := func(got Spread, n int, median, least, most float64) {
		t.Helper()
		if got.N != n || math.Abs(got.Median-median) > 0.002*median || math.Abs(got.Min-least) > 0.002*least || math.Abs(got.Max-most) > 0.002*most {
			t.Errorf("%+v, want %d: %v (%v to %v)", got, n, median, least, most)
		}
	}
	rate, p50 := Metrics()[0], Metrics()[1]
	near(r.Ratio(1, rate), 3, 1.5, 1.1, 2)
	near(r.Ratio(1, p50), 3, 1, 0.5, 1.5)
	near(r.Value(0, rate), 3, 200, 100, 400)
	near(r.Value(1, rate), 5, 300, 10, 900)
	near(r.Value(1, p50), 5, 9, 1, 60)
	near(r.Value(1, HitRatio()), 5, 1, 1, 1)
	if s := (&Report{Names: r.Names, Rounds: 1, Runs: [][]*bench.Report{{nil}, {nil}}}); s.Ratio(1, rate).N != 0 || s.Complete() != 0 {
		t.Error("ratios of nothing")
	}
	if r.Complete() != 4 {
		t.Errorf("%d rounds are complete, want 4", r.Complete())
	}
	near(spreadOf([]float64{4, 1, 2, 3}), 4, 2.5, 1, 4)
	near(spreadOf([]float64{7}), 1, 7, 7, 7)
}
