package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server with a store in memory.
type fixture struct {
	t     *testing.T
	store *todotest.Store
	cache *aside.Cache[string, todo.Todo] // nil without cache
	url   string
	log   *bytes.Buffer

	undocumented bool // its responses are not in the usual document
}

type option func(*aside.Options[string, todo.Todo], *httpapi.Options)

func serve(t *testing.T, records []todo.Todo, options ...option) *fixture {
	t.Helper()
	f := &fixture{t: t, store: todotest.New(records...), log: &bytes.Buffer{}}
	var copts aside.Options[string, todo.Todo]
	hopts := httpapi.Options{Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, o := range options {
		o(&copts, &hopts)
	}
	if hopts.Version != "no-cache" {
		cache, err := aside.New(copts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cache.Close(context.Background()) })
		f.cache, hopts.CacheStats = cache, cache.Stats
	}
	hopts.Service = todo.NewService(todo.ServiceOptions{Store: f.store, Cache: f.cache})
	h, err := httpapi.New(hopts)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// noCache is a server without a cache.
func noCache(_ *aside.Options[string, todo.Todo], o *httpapi.Options) { o.Version = "no-cache" }

type answer struct {
	*http.Response
	body []byte
}

func (a *answer) json(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("body is not JSON: %v\n%s", err, a.body)
	}
}

// do sends a request without following redirects. Headers are "Name: value".
func (f *fixture) do(method, path, body string, headers ...string) *answer {
	f.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, f.url+path, r)
	if err != nil {
		f.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Set(name, value)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	f.named(resp)
	return &answer{resp, b}
}

// document is the OpenAPI document: path, method, status, media types.
var document = sync.OnceValue(func() map[string]map[string]struct {
	Responses map[string]struct{ Content map[string]any }
} {
	h, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: todotest.New()})})
	if err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		panic(err)
	}
	return doc.Paths
})

// named checks that the document has this response. All responses in the tests of this
// package are checked here. Caught: 408, 403 and the 503 of a full server were missing in
// the document.
func (f *fixture) named(resp *http.Response) {
	f.t.Helper()
	if f.undocumented {
		return
	}
	path := resp.Request.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/todos/"); ok && rest != "" {
		path = "/todos/{id}"
	}
	op, ok := document()[strings.TrimSuffix(path, "/")][strings.ToLower(resp.Request.Method)]
	if !ok || strings.Contains(resp.Request.URL.EscapedPath(), "//") || strings.Contains(resp.Request.URL.EscapedPath(), "/.") {
		return // no such path or method
	}
	as, ok := op.Responses[fmt.Sprint(resp.StatusCode)]
	if !ok {
		f.t.Errorf("%s %s: the document does not name status %d", resp.Request.Method, path, resp.StatusCode)
		return
	}
	got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if _, ok := as.Content[got]; len(as.Content) > 0 && !ok && got != "" {
		f.t.Errorf("%s %s: the document does not name %s for status %d", resp.Request.Method, path, got, resp.StatusCode)
	}
}

func (f *fixture) want(a *answer, status int) *answer {
	f.t.Helper()
	if a.StatusCode != status {
		f.t.Fatalf("%s %s: status %d, want %d\n%s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
	if status >= 400 && a.Request.Method != http.MethodHead {
		if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
			f.t.Errorf("%s %s: Content-Type of an error is %q", a.Request.Method, a.Request.URL, got)
		}
		var p httpapi.Problem
		a.json(f.t, &p)
		if p.Status != status || p.Title == "" || p.Detail == "" || p.Code == "" || p.Type == "" {
			f.t.Errorf("incomplete problem: %s", a.body)
		}
		if p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id") {
			f.t.Errorf("request_id is %q, header has %q", p.RequestID, a.Header.Get("X-Request-Id"))
		}
	}
	return a
}

func ptr[T any](v T) *T { return &v }

// legacy returns a record as the older system wrote it.
func legacy(id, name string) todo.Todo { return todo.Todo{ID: id, Name: name, Description: ptr("d")} }

// settled waits until L1 answers path: a load returns to its readers before it fills L1.
func (f *fixture) settled(path string) {
	f.t.Helper()
	eventually(f.t, "L1 has "+path, func() bool {
		return strings.Contains(f.do("GET", path, "").Header.Get("Cache-Status"), "hit; detail=L1")
	})
}

// warm loads records into L1.
func (f *fixture) warm(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		f.settled("/todos/" + id)
	}
}
