package failpoint

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func TestHandler(t *testing.T) {
	set := NewSet()
	server := httptest.NewServer(set.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "next")
	})))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	do := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, strings.TrimSpace(string(b))
	}
	want := func(method, path, body string, status int, says string) {
		t.Helper()
		if got, text := do(method, path, body); got != status || !strings.Contains(text, says) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", method, path, body, got, text, status, says)
		}
	}

	want("GET", "/flush", "", 200, "next")
	want("GET", "/failpoints", "", 200, `[{"name":"load.after","hits":0,"held":0,"active":false},{"name":"load.before",`)
	want("PUT", "/failpoints/write.after", `{"action":"hang","for":"1h","id":"1","times":2,"ignore_context":true}`, 200,
		`{"name":"write.after","action":"hang","id":"1","for":"1h0m0s","times":2,"ignore_context":true,"hits":0,"held":0,"active":true}`)

	// GET with ?hits waits for the hits. Caught: an immediate response.
	hit := testsync.Async(func() string { _, text := do("GET", "/failpoints/write.after?hits=1", ""); return text })
	ended := testsync.Async(func() error { return write(t.Context(), Store(todotest.New(), set)) })
	if text := testsync.Await(t, "the hit", hit); !strings.Contains(text, `"hits":1,"held":1,"active":true`) {
		t.Errorf("hit: %s", text)
	}
	want("DELETE", "/failpoints/write.after", "", 200, `{"name":"write.after","hits":1,"held":0,"active":false}`)
	if err := testsync.Await(t, "the write", ended); err != nil {
		t.Error(err)
	}

	want("GET", "/failpoints/write", "", 404, "no such point")
	want("PUT", "/failpoints/write", `{"action":"kill"}`, 404, "no such point")
	want("GET", "/failpoints/write.after?hits=many", "", 400, "number")
	want("PUT", "/failpoints/write.after", `{"action":"hang","for":"soon"}`, 400, "duration")
	want("PUT", "/failpoints/write.after", `{"action":"explode"}`, 400, "unknown action")
	want("PUT", "/failpoints/write.after", `{"aktion":"kill"}`, 400, "unknown field")
}
