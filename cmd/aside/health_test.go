package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The exit code is 0 for a healthy server. It is 1 for a server that is unhealthy, down or
// hanging, and for a redirect. Caught: a redirect that was followed to another server's 200.
func TestHealth(t *testing.T) {
	hung := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
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
