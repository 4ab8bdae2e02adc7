package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A server whose environment names a collector sends it what happened, the last of it
// when it ends. Caught: an end that loses the spans of the last five seconds.
func TestTelemetry(t *testing.T) {
	var mu sync.Mutex
	var got bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&got, r.Body)
	}))
	defer collector.Close()
	p := start(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_SERVICE_NAME=the-service"}, "serve", "--shutdown-delay", "0s")
	if r := p.do(http.MethodPost, "/todos", `{"id":"a","name":"x"}`); r.status != http.StatusCreated {
		t.Fatal(r)
	}
	if r := p.do(http.MethodGet, "/todos/a", "", "Cache-Control: no-cache"); r.status != http.StatusOK {
		t.Fatal(r)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"the-service", "GET /todos/{id}", "POST /todos", "write todos", "read todos", "load todos", "store get", "store insert", "bbolt",
		"http.server.request.duration", "aside.requests"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q was not exported", want)
		}
	}
	if !strings.Contains(p.logged(), "traces and metrics") {
		t.Error("the log does not say what is exported")
	}
}
