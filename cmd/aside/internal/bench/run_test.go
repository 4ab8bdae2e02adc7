package bench

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked counts the requests to a server by path.
type asked struct {
	mu    sync.Mutex
	paths map[string]int
	conns map[string]bool
}

func (a *asked) note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paths == nil {
		a.paths, a.conns = map[string]int{}, map[string]bool{}
	}
	a.paths[r.Method+" "+r.URL.Path]++
	a.conns[r.RemoteAddr] = true
}

func serve(t *testing.T, h http.HandlerFunc) (url string, a *asked) {
	t.Helper()
	a = new(asked)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.note(r)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/todos", a
}

func scan(first, last uint64) ids.Workload {
	return ids.Scan(ids.Range{First: first, Last: last}, false)
}

func uniform(first, last, seed uint64) ids.Workload {
	return ids.Uniform(ids.Range{First: first, Last: last}, seed)
}

func mustRun(t *testing.T, ctx context.Context, c Config) *Report {
	t.Helper()
	r, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Each id is requested once, all requests are counted, and each user keeps its connection.
// Caught: a new connection for every request; an id after the last one; users aborted at the
// end of the workload.
func TestScanAsksForEveryIDOnce(t *testing.T) {
	url, a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tier := "load"
		status := "aside; fwd=miss; detail=load"
		switch id := r.URL.Path[len("/todos/"):]; {
		case strings.HasSuffix(id, "1"):
			tier, status = "L1", "aside; hit; detail=L1"
		case strings.HasSuffix(id, "2"):
			tier, status = "L2", "aside; hit; detail=L2"
		case strings.HasSuffix(id, "3"):
			status = "aside; fwd=miss; collapsed; detail=load"
		}
		w.Header().Set("Cache-Status", status)
		fmt.Fprint(w, tier)
	})
	r := mustRun(t, t.Context(), Config{URL: url + "/", Users: 7, Workload: scan(5, 1004)})
	if r.Succeeded != 1000 || r.Failures() != 0 || r.Requests() != 1000 || r.Unfinished != 0 || r.Interrupted {
		t.Errorf("succeeded %d, failed %v, unfinished %d, interrupted %v; want 1000 good ones", r.Succeeded, r.Failed, r.Unfinished, r.Interrupted)
	}
	for id := 5; id <= 1004; id++ {
		if n := a.paths[fmt.Sprintf("GET /todos/%d", id)]; n != 1 {
			t.Errorf("id %d was asked for %d times", id, n)
		}
	}
	if len(a.paths) != 1000 {
		t.Errorf("%d paths were asked for, want 1000", len(a.paths))
	}
	if len(a.conns) > 7 || int(r.Connections) != len(a.conns) {
		t.Errorf("%d connections seen, %d reported, for 7 users", len(a.conns), r.Connections)
	}
	for tier, want := range map[Tier]int64{TierL1: 100, TierL2: 100, TierMiss: 800, TierUnknown: 0} {
		if got := r.Hits(tier); got != want || r.TierLatency(tier).Count() != want {
			t.Errorf("%v answered %d (latencies: %d), want %d", tier, got, r.TierLatency(tier).Count(), want)
		}
	}
	if ratio, ok := r.HitRatio(); !ok || ratio != 0.2 {
		t.Errorf("hit ratio %v, %v; want 0.2", ratio, ok)
	}
	if r.Coalesced != 100 || r.Bytes() != 200*2+800*4 {
		t.Errorf("coalesced %d, bytes %d; want 100, 3600", r.Coalesced, r.Bytes())
	}
	if n := r.Latency().Count(); n != 1000 {
		t.Errorf("%d latencies, want 1000", n)
	}
	if r.Rate() <= 0 || r.Elapsed <= 0 {
		t.Errorf("rate %v in %v", r.Rate(), r.Elapsed)
	}
}

func TestRequestsLimitIsExact(t *testing.T) {
	url, a := serve(t, func(http.ResponseWriter, *http.Request) {})
	r := mustRun(t, t.Context(), Config{URL: url, Users: 16, Requests: 333, Workload: uniform(1, 10, 1)})
	n := 0
	for _, c := range a.paths {
		n += c
	}
	if n != 333 || r.Requests() != 333 {
		t.Errorf("the server saw %d requests, the report has %d, want 333", n, r.Requests())
	}
}

// The same seed makes the same run.
func TestUniformIsRepeatable(t *testing.T) {
	choices := func(seed uint64) map[string]int {
		url, a := serve(t, func(http.ResponseWriter, *http.Request) {})
		mustRun(t, t.Context(), Config{URL: url, Users: 1, Requests: 500, Workload: uniform(1, 1_000_000, seed)})
		return a.paths
	}
	first, again, other := choices(7), choices(7), choices(8)
	if !maps.Equal(first, again) {
		t.Error("the same seed made other choices")
	}
	if maps.Equal(first, other) {
		t.Error("another seed made the same choices")
	}
}

// A latency includes the time in the server. Caught: the end time taken before the response
// was read.
func TestLatencyIncludesTheResponse(t *testing.T) {
	const hold = 30 * time.Millisecond
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "2")
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		<-time.After(hold)
		io.WriteString(w, "b")
	})
	r := mustRun(t, t.Context(), Config{URL: url, Users: 1, Requests: 3, Workload: scan(1, 3)})
	l := r.Latency()
	if l.Count() != 3 || l.Percentile(0) < hold-time.Millisecond || l.Percentile(50) > l.Percentile(99) || l.Percentile(99) > l.Max() {
		t.Errorf("%d latencies, p0 %v, p50 %v, p99 %v, max %v; the server held each for %v",
			l.Count(), l.Percentile(0), l.Percentile(50), l.Percentile(99), l.Max(), hold)
	}
}

func TestStatusesAreCountedApart(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/todos/1":
			http.Error(w, "no", http.StatusNotFound)
		case "/todos/2", "/todos/3":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "/todos/4":
			http.Redirect(w, r, "/todos/9", http.StatusTemporaryRedirect)
		case "/todos/5":
			w.WriteHeader(http.StatusNoContent)
		}
	})
	r := mustRun(t, t.Context(), Config{URL: url, Users: 2, Workload: scan(1, 6)})
	want := map[FailureKey]int64{{BadStatus, 404, Read}: 1, {BadStatus, 503, Read}: 2, {BadStatus, 307, Read}: 1}
	for k, n := range want {
		if r.Failed[k].Count != n {
			t.Errorf("%v: %d, want %d", k, r.Failed[k].Count, n)
		}
	}
	if len(r.Failed) != len(want) || r.Succeeded != 2 || r.Latency().Count() != 2 {
		t.Errorf("failed %v, succeeded %d, latencies %d; want 2 successes", r.Failed, r.Succeeded, r.Latency().Count())
	}
	if e := r.Failed[FailureKey{BadStatus, 404, Read}].Example; e != "GET /todos/1" {
		t.Errorf("example %q", e)
	}
	if _, ok := r.HitRatio(); ok {
		t.Error("a hit ratio, and no answer told of a cache")
	}
}

// A truncated response is a failure, and the next request uses a new connection.
func TestTruncatedResponses(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, "ab")
	})
	r := mustRun(t, t.Context(), Config{URL: url, Users: 1, Workload: scan(1, 3)})
	if f := r.Failed[FailureKey{Kind: httpwire.Truncated}]; f.Count != 3 || f.Example == "" || r.Requests() != 3 || r.Connections != 3 {
		t.Errorf("failed %v, succeeded %d, %d connections; want 3 times %q", r.Failed, r.Succeeded, r.Connections, httpwire.Truncated)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	r := mustRun(t, t.Context(), Config{URL: url, Users: 2, Requests: 4, Workload: uniform(1, 5, 1)})
	if f := r.Failed[FailureKey{Kind: httpwire.Refused}]; f.Count != 4 || r.Requests() != 4 || r.Connections != 0 {
		t.Errorf("failed %v, want 4 times %q", r.Failed, httpwire.Refused)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-release })
	t.Cleanup(func() { close(release) })
	r := mustRun(t, t.Context(), Config{URL: url, Users: 2, Requests: 2, Timeout: 20 * time.Millisecond, Workload: scan(1, 2)})
	if f := r.Failed[FailureKey{Kind: httpwire.TimedOut}]; f.Count != 2 || r.Requests() != 2 {
		t.Errorf("failed %v, want 2 times %q", r.Failed, httpwire.TimedOut)
	}
}

// If a run is cancelled, aborted requests are neither successes nor failures, and the report
// has the measurement until then. Caught: aborted requests counted as failures.
func TestCancelReportsWhatWasMeasured(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var served, held atomic.Int64
	release := make(chan struct{})
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {
		if served.Add(1) <= 50 {
			return
		}
		if held.Add(1) == 4 { // all users wait
			cancel()
		}
		<-release
	})
	t.Cleanup(func() { close(release) })
	r := mustRun(t, ctx, Config{URL: url, Users: 4, Duration: time.Hour, Workload: uniform(1, 9, 1)})
	if r.Succeeded != 50 || r.Failures() != 0 || r.Unfinished != 4 || !r.Interrupted {
		t.Errorf("succeeded %d, failed %v, unfinished %d, interrupted %v; want 50, none, 4, true", r.Succeeded, r.Failed, r.Unfinished, r.Interrupted)
	}
	if r.Latency().Count() != 50 {
		t.Errorf("%d latencies, want 50", r.Latency().Count())
	}
}

// After the duration no request begins, and running requests are finished: without the slow
// ones the result would look better. Caught: requests aborted at the end of the duration.
func TestDurationEndsTheRunAndWaitsForResponses(t *testing.T) {
	const duration = 100 * time.Millisecond
	begun := time.Now()
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-time.After(time.Until(begun.Add(2 * duration))) })
	r := mustRun(t, t.Context(), Config{URL: url, Users: 3, Duration: duration, Workload: uniform(1, 9, 1)})
	if r.Succeeded != 3 || r.Unfinished != 0 || r.Interrupted || r.Elapsed < duration {
		t.Errorf("succeeded %d, unfinished %d, interrupted %v, elapsed %v; want 3 requests that outlast the run", r.Succeeded, r.Unfinished, r.Interrupted, r.Elapsed)
	}
}

// Users start one after the other. Users that have not started when the last id was requested
// do not make the run longer. Caught: a run that waited for them.
func TestSpawnRate(t *testing.T) {
	url, a := serve(t, func(http.ResponseWriter, *http.Request) {})
	r := mustRun(t, t.Context(), Config{URL: url, Users: 1000, SpawnRate: 0.001, Workload: scan(1, 200)})
	if r.Succeeded != 200 || len(a.conns) != 1 {
		t.Errorf("succeeded %d on %d connections, want 200 by the first user alone", r.Succeeded, len(a.conns))
	}
}

// The intervals add up to the report, except the last one, which may be too short.
func TestProgressAddsUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Status", "aside; hit; detail=L2") })
	var intervals, total, calls int64
	r := mustRun(t, ctx, Config{
		URL: url, Users: 8, Workload: uniform(1, 9, 1), Interval: 5 * time.Millisecond,
		Progress: func(p Progress) {
			intervals += p.Interval.Hits(TierL2)
			total = p.Total.Succeeded
			if intervals != total || p.Interval.Latency().Count() != p.Interval.Succeeded || p.Took <= 0 {
				t.Errorf("intervals have %d, the total is %d", intervals, total)
			}
			if calls++; calls == 10 {
				cancel()
			}
		},
	})
	if calls < 10 || r.Succeeded < total || r.Succeeded == 0 || r.Hits(TierL2) != r.Succeeded {
		t.Errorf("%d calls, %d in them, %d in the report", calls, total, r.Succeeded)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the failed handshake, as expected
	s.StartTLS()
	defer s.Close()
	r := mustRun(t, t.Context(), Config{URL: s.URL, Users: 1, Requests: 1, Workload: scan(1, 1)})
	if f := r.Failed[FailureKey{Kind: httpwire.NotConnected}]; f.Count != 1 || !strings.Contains(f.Example, "certificate") {
		t.Errorf("a certificate that nobody signed: %v", r.Failed)
	}
}

func TestValidateReportsAllMistakes(t *testing.T) {
	c := Config{
		URL: "http://user:secret@h/\x7f", Users: 0, SpawnRate: -1, Rate: math.NaN(), Duration: -1, Requests: -1, Timeout: -1,
		Mix: Mix{Create: 2, Own: -1}, WarmUp: WarmUp{Duration: -1},
	}
	_, err := Run(t.Context(), c)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"url", "users", "spawn rate", "rate must be 0", "workload", `"create"`, `"own"`, "duration", "timeout", "requests", "warm-up"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
}
