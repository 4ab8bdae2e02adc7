package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
	"github.com/asidecache/aside/tests/testserver"
)

// records is a server with the ids 1 to 9. It counts the requests.
func records(t *testing.T) (url string, n *atomic.Int64) {
	t.Helper()
	n = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" { // asked once, for the report
			http.NotFound(w, r)
			return
		}
		n.Add(1)
		if id := strings.TrimPrefix(r.URL.Path, "/todos/"); len(id) != 1 || id == "0" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Status", "aside; hit; detail=L1")
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/todos", n
}

func TestBench(t *testing.T) {
	url, n := records(t)
	var out, errOut bytes.Buffer
	if code := run([]string{"bench", "--url", url, "--users", "3", "--pick", "scan", "--ids", "1-9", "--json"}, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var report struct {
		Requests, Failures, Users int64
		HitRatio                  float64 `json:"hit_ratio"`
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if report.Requests != 9 || report.Failures != 0 || report.Users != 3 || report.HitRatio != 1 || n.Load() != 9 {
		t.Errorf("%+v, and the server saw %d", report, n.Load())
	}

	out.Reset()
	if code := run([]string{"bench", "--url", url, "--requests", "20", "--ids", "1-9", "--seed", "5", "--spawn-rate", "0"}, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	for _, want := range []string{"100 users, uniform over 1-9, seed 5", "20 requests, 0 failed", "L1", "hit ratio 1.0000"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
}

// Failed requests are reported, and the exit code is 1.
func TestBenchFails(t *testing.T) {
	url, _ := records(t)
	var out, errOut bytes.Buffer
	if code := run([]string{"bench", "--url", url, "--pick", "scan", "--ids", "0-9", "--users", "1"}, &out, &errOut); code != 1 {
		t.Errorf("exit code %d, want 1: %s", code, &errOut)
	}
	if !strings.Contains(out.String(), "failed: 1 GET with status 404, first: GET /todos/0") || !strings.Contains(errOut.String(), "1 of 10 requests failed") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", &out, &errOut)
	}
}

// Every flag is checked before a request is sent. Caught, among others: flags for
// --compare were ignored without it.
func TestBenchMistakes(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	if err := os.WriteFile(trace, []byte("1\n\n2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"--users=0", "users must be 1"},
		{"--ids=9-1", "the first id is after the last"},
		{"--ids=x", "FIRST-LAST"},
		{"--url=127.0.0.1:8000", "url"},
		{"--url=http://me:secret@h/", "must not contain a user"},
		{"--duration=-1s", "duration must not be negative"},
		{"--spawn-rate=-1", "spawn rate must not be negative"},
		{"--requests=-1", "requests must not be negative"},
		{"--timeout=-1s", "timeout must not be negative"},
		{"--rate=-1", "rate must be 0"},
		{"--rate=NaN", "rate must be 0"},
		{"--arrivals=random", "need a rate"},
		{"--arrivals=bursts", "even"},
		{"--warm-up=-1s", "must be once, a duration"},
		{"--warm-up=twice", "must be once, a duration"},
		{"--pick=normal", "uniform"},
		{"--pick=zipf --zipf-exponent=0", "--zipf-exponent: the exponent must be greater than 0"},
		{"--pick=zipf --zipf-exponent=x", "--zipf-exponent"},
		{"--pick=hot --hot-ids=0%", "the hot share of ids must be greater than 0"},
		{"--pick=hot --hot-requests=100%", "the hot share of requests"},
		{"--pick=hot --hot-requests=200%", "--hot-requests"},
		{"--repeat", "--repeat needs"},
		{"--trace=" + trace, "line 2: an id must not be empty"},
		{"--trace=" + trace + " --pick=zipf", "choose one"},
		{"--trace=/nowhere/at/all", "--trace"},
		{"--trace=/", "is a directory"},
		{"--create=50% --update=0.4 --delete=20%", "must not be more than 1 together"},
		{"--update=110%", "--update"},
		{"--max-error-ratio=2", "--max-error-ratio"},
		{"--html=/nowhere/at/all/r.html", "/nowhere/at/all is not a directory"},
		{"--csv=/nowhere/at/all/r", "/nowhere/at/all is not a directory"},
		{"--url=http://a --url=http://b", "several servers need --compare"},
		{"--rounds=2", "--rounds needs --compare"},
		{"--settings=L1", "--settings needs --compare"},
		{"-- --ttl 1m", "need --compare"},
		{"--compare --url=http://a", "at least two --url"},
		{"--compare --url=http://a --url=ftp://b", "url must be like"},
		{"--compare --url=http://a --url=http://b -- --ttl=1m", "no --url"},
		{"--compare --rounds=-1", "--rounds must be 1"},
		{"--compare --csv=x", "--csv cannot write a comparison"},
		{"--compare --settings=L1", "at least two"},
		{"--compare --settings=L1,L3", `"L3" is not one of`},
		{"--compare --settings=L1,L1", "twice"},
		{"--compare --settings=L1,L2", "L2 needs --redis"},
		{"--compare -- --listen=:1", "--listen is not allowed after --"},
		{"--compare --trace=-", "--compare replays"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"bench"}, strings.Fields(tt.args)...), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), tt.want) || strings.Contains(errOut.String(), "secret") || out.Len() > 0 {
			t.Errorf("%s: exit code %d, want %d with %q: %s%s", tt.args, code, exitUsage, tt.want, &errOut, &out)
		}
	}
	// All mistakes are reported at once.
	var out, errOut bytes.Buffer
	run([]string{"bench", "--users=0", "--rate=-1", "--pick=zipf", "--zipf-exponent=-1", "--repeat"}, &out, &errOut)
	for _, want := range []string{"users", "rate", "exponent", "--repeat"} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("no %q in: %s", want, &errOut)
		}
	}
}

// Each workload requests the right ids.
func TestBenchWorkloads(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace.txt")
	if err := os.WriteFile(trace, []byte("3\n3\n5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args, says string
		requests   int64
	}{
		{"--pick zipf --zipf-exponent 0.8 --requests 50", "zipf 0.8 over 1-9, seed 1", 50},
		{"--pick hot --hot-requests 0.8 --hot-ids 20% --requests 50", "80 % of requests for 20 % of 1-9", 50},
		{"--pick scan", "every id of 1-9 once", 9},
		{"--pick scan --repeat --requests 25", "repeated", 25},
		{"--trace " + trace, "the 3 ids of " + trace + " in order", 3},
		{"--trace " + trace + " --repeat --requests 10", "repeated", 10},
		{"--rate 2000 --requests 40", "2000 requests/s at equal intervals, at most 2 concurrent", 40},
		{"--rate 2000 --arrivals random --requests 40", "at random times", 40},
	} {
		url, n := records(t)
		var out, errOut bytes.Buffer
		args := append([]string{"bench", "--url", url, "--ids", "1-9", "--users", "2"}, strings.Fields(tt.args)...)
		if code := run(args, &out, &errOut); code != 0 || !strings.Contains(out.String(), tt.says) || n.Load() != tt.requests {
			t.Errorf("%s: exit code %d, %d requests, want %d and %q:\n%s%s", tt.args, code, n.Load(), tt.requests, tt.says, &out, &errOut)
		}
	}
}

// todos is the service, with these ids.
func todos(t *testing.T, ids ...string) (url string) {
	t.Helper()
	var all []todo.Todo
	for _, id := range ids {
		all = append(all, todo.Todo{ID: id, Name: "n", Version: 1})
	}
	cache, err := aside.New(aside.Options[string, todo.Todo]{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	handler, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: todotest.New(all...), Cache: cache})})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL + "/todos"
}

// Without --ids, the server is asked. Caught: the default run against a demo got 81,187
// answers of 404 for 81,595 requests.
func TestBenchAsksForIDs(t *testing.T) {
	var many []string
	for n := range 450 { // three pages
		many = append(many, fmt.Sprint("todo/", n))
	}
	url, other, empty := todos(t, many...), todos(t, many[200:]...), todos(t)
	noList, _ := records(t)
	for _, tt := range []struct {
		args, says string
		code       int
	}{
		{"--requests 500 --url " + url, "uniform over all 450 ids that the server lists (todo/0 to todo/99), seed 1", 0},
		{"--requests 500 --warm-up once --pick zipf --url " + url, "zipf 0.99 over all 450 ids", 0},
		{"--requests 500 --pick hot --json --url " + url, "of all 450 ids", 0},
		{"--pick scan --url " + url, "\n450 requests, 0 failed", 0},
		{"--compare --rounds 1 --duration 50ms --users 2 --url " + url + " --url " + other, "uniform over 250 ids that all 2 servers list", 0},
		{"--url " + empty, "the server has no records: load some", 1},
		{"--requests 20 --create 1 --url " + empty, "\n20 requests, 0 failed", 0},
		{"--requests 20 --create 1 --warm-up once --url " + empty, "the server has no records", 1},
		{"--compare --url " + url + " --url " + todos(t, "x"), "has none of the ids that " + url + " lists", 1},
		{"--url " + noList, "cannot find out which ids exist: GET " + noList + " answered status 404: give them with --ids FIRST-LAST", 1},
		{"--pick hot --url " + todos(t, "x"), "a hot set needs at least two ids", exitUsage},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"bench"}, strings.Fields(tt.args)...), &out, &errOut)
		if code != tt.code || !strings.Contains(out.String()+errOut.String(), tt.says) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", tt.args, code, tt.code, tt.says, &out, &errOut)
		}
	}
}

// A comparison that starts its servers asks the first of them.
func TestBenchCompareAsksForIDs(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if _, errOut, code := asideRun(t, nil, "load", "--count", "30", "--data", data); code != 0 {
		t.Fatal(errOut)
	}
	out, errOut, code := asideRun(t, nil, "bench", "--compare", "--data", data, "--rounds", "1", "--duration", "50ms", "--users", "2")
	if code != 0 || !strings.Contains(out, "uniform over 1-30 (all that the server lists)") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

// A warm-up is not measured, and requests other ids than the measurement. Caught: a warm-up
// with the same choices, so that all requests were hits.
func TestBenchWarmUp(t *testing.T) {
	seen := map[string]bool{}
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		status := "aside; fwd=miss; detail=load"
		if seen[r.URL.Path] {
			status = "aside; hit; detail=L1"
		}
		seen[r.URL.Path] = true
		w.Header().Set("Cache-Status", status)
	}))
	defer s.Close()
	ratio := func(args ...string) (requests int64, ratio float64) {
		t.Helper()
		clear(seen)
		var out, errOut bytes.Buffer
		if code := run(append([]string{"bench", "--url", s.URL, "--users", "1", "--json"}, args...), &out, &errOut); code != 0 {
			t.Fatalf("exit code %d: %s", code, &errOut)
		}
		var report struct {
			Requests int64
			HitRatio float64 `json:"hit_ratio"`
		}
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		return report.Requests, report.HitRatio
	}
	if n, r := ratio("--ids", "1-500", "--requests", "100", "--warm-up", "once"); n != 100 || r != 1 || len(seen) != 500 {
		t.Errorf("%d requests, hit ratio %v, %d ids; want 100, 1, 500", n, r, len(seen))
	}
	if n, r := ratio("--ids", "1-1000000000", "--requests", "100", "--warm-up", "50ms"); n != 100 || r > 0.01 || len(seen) < 101 {
		t.Errorf("%d requests, hit ratio %v, %d ids; want 100, 0, more", n, r, len(seen))
	}
}

// --max-error-ratio limits the failures. The report is printed in any case.
func TestBenchMaxErrorRatio(t *testing.T) {
	for ratio, want := range map[string]int{"0": 1, "9%": 1, "10%": 0, "0.5": 0} {
		url, _ := records(t)
		var out, errOut bytes.Buffer
		code := run([]string{"bench", "--url", url, "--pick", "scan", "--ids", "0-9", "--users", "1", "--max-error-ratio", ratio}, &out, &errOut)
		if code != want || !strings.Contains(out.String(), "failed: 1 GET with status 404") {
			t.Errorf("%s: exit code %d, want %d: %s%s", ratio, code, want, &out, &errOut)
		}
	}
}

// The report files are written. A path that cannot be written is an error.
func TestBenchFiles(t *testing.T) {
	url, _ := records(t)
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	if code := run([]string{"bench", "--url", url, "--pick", "scan", "--ids", "1-9", "--html", dir + "/r.html", "--csv", dir + "/r"}, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	for name, want := range map[string]string{
		"r.html": "Request Statistics", "r_stats.csv": "Aggregated,9,0,", "r_stats_history.csv": "Total Request Count", "r_failures.csv": "Occurrences", "r_exceptions.csv": "Traceback",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
	errOut.Reset()
	if code := run([]string{"bench", "--url", url, "--pick", "scan", "--ids", "1-9", "--html", dir}, &out, &errOut); code != 1 {
		t.Errorf("a directory for a page: exit code %d: %s", code, &errOut)
	}
}

// An interrupt ends the run early, and the report is still printed.
func TestBenchInterrupted(t *testing.T) {
	url, n := records(t)
	cmd := command(t, nil, "bench", "--url", url, "--ids", "1-9", "--users", "2", "--duration", "10m")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	testserver.Eventually(t, 20*time.Second, "requests", func() bool { return n.Load() > 100 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, &errOut)
	}
	if !strings.Contains(out.String(), "ended early") || !strings.Contains(out.String(), " 0 failed") {
		t.Errorf("report:\n%s", &out)
	}
}

// The help explains both loops and has every flag.
func TestBenchHelp(t *testing.T) {
	stdout, _, code := asideRun(t, nil, "bench", "--help")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"open loop", "Closed loop", "coordinated omission", "--compare", "--html", "--csv", "--trace", "--warm-up", "--max-error-ratio", "exit code"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
}

// If no server listens, the load does not begin, and there is an error at once. Caught: a
// minute of refused connections, reported as a run.
func TestBenchNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + l.Addr().String() + "/todos"
	l.Close()
	alive, n := records(t)
	for _, args := range [][]string{
		{"--url", dead, "--duration", "1h"},
		{"--url", dead, "--rate", "10", "--warm-up", "once", "--json"},
		{"--compare", "--url", alive, "--url", dead},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"bench"}, args...), &out, &errOut)
		want := "--url " + dead + ": no server listens on " + l.Addr().String() + ": start the server"
		if code != 1 || !strings.Contains(errOut.String(), want) || out.Len() > 0 {
			t.Errorf("%v: exit code %d, want 1 with %q: %s%s", args, code, want, &errOut, &out)
		}
	}
	if n.Load() > 0 {
		t.Errorf("the other one was asked %d times", n.Load())
	}
}

// If every request failed, no report has latencies.
func TestBenchAllFailed(t *testing.T) {
	url, _ := records(t)
	prefix := filepath.Join(t.TempDir(), "x")
	var out, errOut bytes.Buffer
	if code := run([]string{"bench", "--url", url + "/nope", "--users", "2", "--requests", "10", "--ids", "1-9", "--csv", prefix, "--json"}, &out, &errOut); code != 1 {
		t.Fatalf("exit code %d: %s", code, &errOut)
	}
	var report map[string]any
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mean_ms", "p50_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms"} {
		if v, ok := report[name]; !ok || v != nil {
			t.Errorf("%s is %v, want null", name, v)
		}
	}
	b, err := os.ReadFile(prefix + "_stats.csv")
	if err != nil || strings.Count(string(b), "N/A") != 2*15 {
		t.Errorf("%v: %s", err, b)
	}
}

// A URL without the path of the collection gets nothing but 404, and the error says so.
// Caught: it told only how many requests failed.
func TestBenchWithoutThePath(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	var out, errOut bytes.Buffer
	code := run([]string{"bench", "--url", server.URL, "--ids=1-9", "--users=1", "--spawn-rate=0", "--requests=9"}, &out, &errOut)
	if code != 1 || !strings.Contains(errOut.String(), "--url must be the URL of the collection") {
		t.Errorf("exit code %d: %s", code, &errOut)
	}
	errOut.Reset()
	if code := run([]string{"bench", "--url", server.URL, "--requests=9"}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "the URL of the collection") {
		t.Errorf("without --ids: exit code %d: %s", code, &errOut)
	}
}

// If the report file is a symbolic link, a warning names its target. Caught: the target was
// overwritten silently.
func TestBenchReportThroughALink(t *testing.T) {
	url, _ := records(t)
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for _, name := range []string{"page.html", "x_stats.csv"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errOut, code := asideRun(t, nil, "bench", "--url", url, "--users", "1", "--requests", "5", "--ids", "1-9", "--html", filepath.Join(dir, "page.html"), "--csv", filepath.Join(dir, "x"))
	if code != 0 || strings.Count(errOut, "writing to the target of a symbolic link") != 2 || !strings.Contains(errOut, target) {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if b, err := os.ReadFile(target); err != nil || !strings.HasPrefix(string(b), "Type,Name") {
		t.Errorf("the target holds %.40q, %v", b, err)
	}
}
