package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The exit code is 0 for a healthy server. It is 1 for a server that is unhealthy, down or
// hanging, and for a redirect. What /readyz says of its parts is shown. Caught: a redirect
// that was followed to another server's 200; "ok", and no more, of a degraded server.
func TestHealth(t *testing.T) {
	hung := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
	mux.HandleFunc("/degraded", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"status":"degraded","store":{"status":"ok"},"cache":{"status":"degraded","since":"2026-07-01T10:00:00Z","reason":"not connected\u001b[31m"},
			"feed":{"fed":false,"follows":false,"since":"2026-07-01T10:00:01Z","reason":"no node follows"}}`)
	})
	mux.HandleFunc("/unavailable", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"status":"unavailable","store":{"status":"unavailable","since":"2026-07-01T10:00:02Z","reason":"it does not answer"},"cache":{"status":"off"},"feed":{"fed":true}}`)
	})
	mux.HandleFunc("/ill", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/healthz", http.StatusFound) })
	mux.HandleFunc("/hung", func(w http.ResponseWriter, r *http.Request) { <-hung })
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	t.Cleanup(func() { close(hung) })
	gone := httptest.NewServer(mux)
	gone.Close()

	for _, tt := range []struct {
		url  string
		code int
		says string
	}{
		{plain.URL + "/healthz", 0, "ok\n"},
		{secure.URL + "/healthz", 0, "ok\n"},
		{plain.URL + "/ill", 1, "answered 503"},
		{plain.URL + "/moved", 1, "answered 302"},
		{plain.URL + "/hung", 1, "did not answer within 300ms"},
		{gone.URL + "/healthz", 1, "does not answer"},
		{"http://%", 1, "--url"},
		{plain.URL + "/degraded", 0, "degraded\ncache: degraded since 2026-07-01T10:00:00Z: not connected\\x1b[31m\n" +
			"feed: not fed since 2026-07-01T10:00:01Z: no node follows\n"},
		{plain.URL + "/unavailable", 1, "/unavailable answered 503 Service Unavailable\nstore: unavailable since 2026-07-01T10:00:02Z: it does not answer\n"},
	} {
		stdout, stderr, code := asideRun(t, []string{"ASIDE_HEALTH_URL=" + tt.url}, "health", "--timeout", "300ms")
		if code != tt.code || !strings.Contains(stdout+stderr, tt.says) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", tt.url, code, tt.code, tt.says, stdout, stderr)
		}
	}

	p := start(t, nil, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	if stdout, stderr, code := asideRun(t, nil, "health", "--url", p.url+"/healthz"); code != 0 {
		t.Errorf("a server that runs: exit %d\n%s%s", code, stdout, stderr)
	}
}
