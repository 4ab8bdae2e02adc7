package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/testserver"
)

// records answers for the ids 1 to 9 and counts the requests.
func records(t *testing.T) (url string, n *atomic.Int64) {
	t.Helper()
	n = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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

// Failed requests are reported, and make the exit code 1.
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

func TestBenchMistakes(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--users=0", "users must be 1"},
		{"--ids=9-1", "the first id is after the last"},
		{"--ids=x", "FIRST-LAST"},
		{"--url=127.0.0.1:8000", "url"},
		{"--url=http://me:secret@h/", "must not hold a user"},
		{"--duration=-1s", "duration must not be negative"},
		{"--spawn-rate=-1", "spawn rate must not be negative"},
		{"--requests=-1", "requests must not be negative"},
	} {
		var out, errOut bytes.Buffer
		code := run([]string{"bench", tt.args}, &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), tt.want) || strings.Contains(errOut.String(), "secret") {
			t.Errorf("%s: exit code %d, want %d with %q: %s", tt.args, code, exitUsage, tt.want, &errOut)
		}
	}
}

// An interrupt ends the run early, and it is reported.
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
