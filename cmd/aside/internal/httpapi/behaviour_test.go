package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func TestCacheStatus(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	status := func(path string, headers ...string) string {
		t.Helper()
		return f.do("GET", path, "", headers...).Header.Get("Cache-Status")
	}
	for _, tt := range []struct {
		path, want string
		headers    []string
	}{
		{"/todos/1", "aside; fwd=miss; detail=load", nil},
		{"/todos/1", "aside; hit; detail=L1", nil},
		{"/todos/none", "aside; fwd=miss; detail=load/negative", nil},
		{"/todos/none", "aside; hit; detail=L1/negative", nil},
		{"/todos/1", "aside; fwd=request; detail=load", []string{"Cache-Control: max-stale, No-Cache"}},
		{"/todos/1", "aside; fwd=request; detail=load", []string{"Cache-Control: max-age=0"}},
		{"/todos/1", "aside; hit; detail=L1", []string{"Cache-Control: max-age=10"}},
	} {
		if got := status(tt.path, tt.headers...); got != tt.want {
			t.Errorf("GET %s %v: Cache-Status = %q, want %q", tt.path, tt.headers, got, tt.want)
		}
		f.settled(tt.path)
	}

	without := serve(t, []todo.Todo{legacy("1", "one")}, noCache)
	for range 2 {
		a := without.want(without.do("GET", "/todos/1", ""), 200)
		if got := a.Header.Get("Cache-Status"); got != "aside; fwd=bypass" {
			t.Errorf("without a cache: Cache-Status = %q", got)
		}
	}
	if n := without.store.Calls("get"); n != 2 {
		t.Errorf("without a cache the store was asked %d times, want 2", n)
	}
}

// L1 must not answer a strong read. Here the record changes without the cache, so L1 is out
// of date. Seen to fail with aside.Default for all reads.
func TestStrongReadSeesTheStore(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "old")})
	f.warm("1")
	f.store.Put(legacy("1", "new"))
	if a := f.do("GET", "/todos/1", ""); !strings.Contains(string(a.body), "old") {
		t.Fatalf("not cached: %s", a.body)
	}
	for _, path := range []string{"/todos/1", "/todos?ids=1"} {
		if a := f.do("GET", path, "", "Cache-Control: no-cache"); !strings.Contains(string(a.body), "new") {
			t.Errorf("strong GET %s: %s", path, a.body)
		}
	}
}

func TestServerTiming(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	miss := regexp.MustCompile(`^cache;dur=\d+\.\d{3}, load;dur=\d+\.\d{3}, total;dur=\d+\.\d{3}$`)
	hit := regexp.MustCompile(`^cache;dur=\d+\.\d{3}, total;dur=\d+\.\d{3}$`)
	for _, want := range []*regexp.Regexp{miss, hit} {
		if want == hit {
			f.settled("/todos/1")
		}
		if got := f.do("GET", "/todos/1", "").Header.Get("Server-Timing"); !want.MatchString(got) {
			t.Errorf("Server-Timing = %q, want %v", got, want)
		}
	}
}

// handlerOver serves a store through a cache with options.
func handlerOver(t *testing.T, store todo.Store, o aside.Options[string, todo.Todo]) http.Handler {
	t.Helper()
	cache, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close(context.Background()) })
	h, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: store, Cache: cache})})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCoalescedReadsSaySo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := todotest.New(legacy("1", "one"))
		gate := make(chan struct{})
		store.Before(func(context.Context, string, string) error {
			<-gate
			return nil
		})
		h := handlerOver(t, store, aside.Options[string, todo.Todo]{})
		const readers = 8
		answers := make([]*httptest.ResponseRecorder, readers)
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			go h.ServeHTTP(answers[i], httptest.NewRequest("GET", "/todos/1", nil))
		}
		synctest.Wait() // one loads, the others wait for it
		close(gate)
		synctest.Wait()
		count := map[string]int{}
		for _, a := range answers {
			count[fmt.Sprint(a.Code, " ", a.Header().Get("Cache-Status"))]++
		}
		if count["200 aside; fwd=miss; detail=load"] != 1 || count["200 aside; fwd=miss; collapsed; detail=load"] != readers-1 {
			t.Errorf("answers: %v", count)
		}
		if n := store.Calls("get"); n != 1 {
			t.Errorf("%d loads", n)
		}
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-tick.C:
		}
	}
}

func TestStoreDown(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), legacy("2", "two")})
	f.warm("1")
	secret := errors.New("dial mongodb://root:hunter2@db1.internal: refused")
	f.store.FailWith(fmt.Errorf("%w: %w", todo.ErrUnavailable, secret))

	f.want(f.do("GET", "/todos/1", ""), 200)
	for _, a := range []*answer{
		f.do("GET", "/todos/2", ""),
		f.do("GET", "/todos", ""),
		f.do("POST", "/todos", `{"name":"n"}`),
		f.do("PUT", "/todos/2", `{"name":"n"}`),
		f.do("PATCH", "/todos/2", `{"name":"n"}`),
		f.do("DELETE", "/todos/2", ""),
	} {
		f.want(a, 503)
		if a.Header.Get("Retry-After") == "" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", a.Request.Method, a.Header)
		}
		if strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "db1") {
			t.Errorf("leaked: %s", a.body)
		}
	}
	a := f.do("GET", "/readyz", "")
	if a.StatusCode != 503 || strings.Contains(string(a.body), "db1") || !strings.Contains(string(a.body), `"status":"unavailable"`) {
		t.Errorf("readyz: %d %s", a.StatusCode, a.body)
	}
	if a := f.do("GET", "/healthz", ""); a.StatusCode != 200 {
		t.Errorf("healthz: %d", a.StatusCode)
	}
	// It recovers by itself.
	f.store.FailWith(nil)
	f.want(f.do("GET", "/todos/2", ""), 200)
	f.want(f.do("GET", "/readyz", ""), 200)
}

// localNoon is a moment in another zone than UTC.
var localNoon = time.Date(2026, 7, 1, 12, 0, 0, 123_456_789, time.FixedZone("CEST", 2*3600))

// The degraded cache tells why, and since when, in UTC. Caught: the time of the server's zone.
func TestReadyzDegraded(t *testing.T) {
	f := serve(t, nil, func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) {
		o.Version = "no-cache"
		o.CacheStats = func() aside.Stats {
			return aside.Stats{Degraded: true, DegradedReason: "L2 times out", DegradedSince: localNoon}
		}
	})
	a := f.want(f.do("GET", "/readyz", ""), 200)
	var got map[string]any
	a.json(t, &got)
	if got["status"] != "degraded" || fmt.Sprint(got["cache"]) != "map[reason:L2 times out since:2026-07-01T10:00:00.123Z status:degraded]" {
		t.Errorf("readyz: %s", a.body)
	}
}

func TestReadyzFeed(t *testing.T) {
	for _, c := range []struct {
		name     string
		feed     aside.FeedStats
		required bool
		status   string
		want     string
	}{
		{"none", aside.FeedStats{}, true, "ready", "<nil>"},
		{"followed", aside.FeedStats{Attached: true, Fed: true, Leads: true, Since: localNoon}, true, "ready", "map[fed:true follows:true]"},
		{"not followed", aside.FeedStats{Attached: true, Reason: "wal_level", Since: localNoon}, false, "ready", "map[fed:false follows:false reason:wal_level since:2026-07-01T10:00:00.123Z]"},
		{"required", aside.FeedStats{Attached: true, Reason: "wal_level"}, true, "degraded", "map[fed:false follows:false reason:wal_level]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, nil, func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) {
				o.Version, o.FeedRequired = "no-cache", c.required
				o.CacheStats = func() aside.Stats { return aside.Stats{Feed: c.feed} }
			})
			var got map[string]any
			f.want(f.do("GET", "/readyz", ""), 200).json(t, &got)
			if got["status"] != c.status || fmt.Sprint(got["feed"]) != c.want {
				t.Errorf("readyz: %v", got)
			}
		})
	}
}

// A store that answers pings and fails calls makes the service degraded, not unavailable:
// what is cached is still served. Each says since when. Caught: "ready" beside a locked table.
func TestReadyzWhileCallsFail(t *testing.T) {
	var trouble atomic.Pointer[httpapi.StoreTrouble]
	f := serve(t, nil, func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) {
		o.StoreTrouble = func() httpapi.StoreTrouble { return *trouble.Load() }
	})
	for _, c := range []struct {
		trouble              httpapi.StoreTrouble
		down                 bool
		status, store, since string
	}{
		{httpapi.StoreTrouble{}, false, "ready", "ok", ""},
		{httpapi.StoreTrouble{Failing: localNoon}, false, "degraded", "degraded", "2026-07-01T10:00:00.123Z"},
		{httpapi.StoreTrouble{Silent: localNoon, Failing: localNoon.Add(-time.Hour)}, true, "unavailable", "unavailable", "2026-07-01T10:00:00.123Z"},
	} {
		trouble.Store(&c.trouble)
		code := 200
		if c.down {
			code = 503
			f.store.FailWith(todo.ErrUnavailable)
		}
		var got struct {
			Status string
			Store  struct{ Status, Since string }
		}
		a := f.do("GET", "/readyz", "")
		a.json(t, &got)
		if a.StatusCode != code || got.Status != c.status || got.Store.Status != c.store || got.Store.Since != c.since {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestErrorTable(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	f.undocumented = true // a store does not return some of these errors for a read
	leak := errors.New("secret-internals")
	for _, tt := range []struct {
		name              string
		err               error
		read, write       int
		readCode, wrtCode string
	}{
		{"unknown outcome", todo.ErrUnknownOutcome, 504, 504, "unknown_outcome", "unknown_outcome"},
		{"unavailable", todo.ErrUnavailable, 503, 503, "store_unavailable", "store_unavailable"},
		{"overloaded", aside.ErrOverloaded, 503, 503, "overloaded", "overloaded"},
		{"cache down", aside.ErrL2Unavailable, 503, 503, "cache_unavailable", "cache_unavailable"},
		{"unacknowledged", aside.ErrUnacknowledged, 504, 504, "unacknowledged", "unacknowledged"},
		{"closed", aside.ErrClosed, 503, 503, "shutting_down", "shutting_down"},
		{"cancelled by the server", context.Canceled, 503, 504, "shutting_down", "unknown_outcome"},
		{"timed out", context.DeadlineExceeded, 503, 504, "timeout", "unknown_outcome"},
		{"invalid", todo.ErrInvalid, 422, 422, "invalid", "invalid"},
		{"unknown", leak, 500, 500, "internal", "internal"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			f.store.FailWith(fmt.Errorf("%w (secret-internals)", tt.err))
			check := func(a *answer, status int, code string) {
				t.Helper()
				f.want(a, status)
				var p httpapi.Problem
				a.json(t, &p)
				if p.Code != code {
					t.Errorf("code %q, want %q", p.Code, code)
				}
				if strings.Contains(string(a.body), "secret") {
					t.Errorf("leaked: %s", a.body)
				}
				if (status == 503) != (a.Header.Get("Retry-After") != "") {
					t.Errorf("status %d with Retry-After %q", status, a.Header.Get("Retry-After"))
				}
			}
			check(f.do("GET", "/todos", ""), tt.read, tt.readCode)
			check(f.do("GET", "/todos/cold-"+tt.readCode, ""), tt.read, tt.readCode)
			// A write with unknown outcome leaves a fence, so each write needs its own id.
			check(f.do("PUT", "/todos/put-"+tt.readCode, `{"name":"n"}`), tt.write, tt.wrtCode)
			check(f.do("POST", "/todos", `{"name":"n"}`), tt.write, tt.wrtCode)
		})
	}
}

// The log has the reason of an internal error, with the request id that the client gets.
func TestInternalErrorIsLogged(t *testing.T) {
	f := serve(t, nil)
	f.store.FailWith(errors.New("the real reason"))
	a := f.want(f.do("GET", "/todos/1", "", "X-Request-Id: my-id.1"), 500)
	if a.Header.Get("X-Request-Id") != "my-id.1" {
		t.Errorf("request id %q", a.Header.Get("X-Request-Id"))
	}
	if log := f.log.String(); !strings.Contains(log, "the real reason") || !strings.Contains(log, "request_id=my-id.1") {
		t.Errorf("log: %s", log)
	}
	a = f.do("GET", "/healthz", "", "X-Request-Id: bad\tid")
	if got := a.Header.Get("X-Request-Id"); got == "bad\tid" || got == "" {
		t.Errorf("request id %q", got)
	}
}

func TestPanicIsA500(t *testing.T) {
	f := serve(t, nil)
	f.store.Before(func(context.Context, string, string) error { panic("boom-secret") })
	for _, a := range []*answer{
		f.do("GET", "/todos/1", ""), // inside the cache's loader
		f.do("GET", "/todos", ""),   // inside a handler
	} {
		f.want(a, 500)
		if strings.Contains(string(a.body), "boom") {
			t.Errorf("leaked: %s", a.body)
		}
	}
	if log := f.log.String(); strings.Count(log, "boom-secret") < 2 {
		t.Errorf("log: %s", log)
	}
	f.store.Before(nil)
	f.want(f.do("GET", "/todos", ""), 200)
}

func TestRequestTimeout(t *testing.T) {
	f := serve(t, nil, func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) {
		o.RequestTimeout = 20 * time.Millisecond
	})
	f.store.Before(func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	f.want(f.do("GET", "/todos", ""), 503)
	f.want(f.do("GET", "/todos/1", ""), 503)
	f.want(f.do("POST", "/todos", `{"name":"n"}`), 504)
}

// If the client closes the connection, a running write continues. Seen to fail with the
// request's own context for writes.
func TestWriteOutlivesItsClient(t *testing.T) {
	store := todotest.New()
	h, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: store})})
	if err != nil {
		t.Fatal(err)
	}
	client, leave := context.WithCancel(context.Background())
	defer leave()
	store.Before(func(ctx context.Context, op, _ string) error {
		if op == "insert" || op == "get" {
			leave()
		}
		return nil
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(client, "POST", "/todos", strings.NewReader(`{"id":"1","name":"n"}`))
	h.ServeHTTP(w, r)
	if w.Code != 201 {
		t.Errorf("the write ended with %d: %s", w.Code, w.Body)
	}

	// A read ends, since no client waits for it.
	client, leave = context.WithCancel(context.Background())
	defer leave()
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(client, "GET", "/todos/1", nil))
	if w.Code != 499 {
		t.Errorf("the read ended with %d: %s", w.Code, w.Body)
	}
}

func TestCrossOriginWritesAreRefused(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	f.want(f.do("POST", "/todos", `{"name":"n"}`, "Sec-Fetch-Site: cross-site"), 403)
	f.want(f.do("POST", "/todos", `{"name":"n"}`, "Sec-Fetch-Site: same-origin"), 201)
	f.want(f.do("GET", "/todos/1", "", "Sec-Fetch-Site: cross-site"), 200)
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := serve(t, []todo.Todo{legacy("1", "one")}, func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) { o.Registry = reg })
	f.do("GET", "/todos/1", "")
	f.do("GET", "/todos/1/", "")
	f.do("GET", "/todos/none", "")
	f.do("BREW", "/todos/1", "")
	f.do("GET", "/any/thing", "")
	f.do("POST", "/todos", `{"name":"n"}`)
	text := string(f.want(f.do("GET", "/metrics", ""), 200).body)
	for _, want := range []string{
		`aside_http_requests_total{code="200",method="GET",route="/todos/{id}"} 2`,
		`aside_http_requests_total{code="404",method="GET",route="/todos/{id}"} 1`,
		`aside_http_requests_total{code="405",method="other",route="/todos/{id}"} 1`,
		`aside_http_requests_total{code="404",method="GET",route="/"} 1`,
		`aside_http_requests_total{code="201",method="POST",route="/todos"} 1`,
		`aside_http_request_duration_seconds_count{method="GET",route="/todos/{id}"} 3`,
		`aside_http_requests_in_flight 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	f := serve(t, nil)
	a := f.want(f.do("GET", "/openapi.json", ""), 200)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage
	}
	a.json(t, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi %q", doc.OpenAPI)
	}
	for path, methods := range map[string]string{
		"/todos": "get post", "/todos/{id}": "get head put patch delete",
		"/healthz": "get", "/readyz": "get", "/metrics": "get",
	} {
		for _, m := range strings.Fields(methods) {
			if doc.Paths[path][m] == nil {
				t.Errorf("%s %s is not documented", m, path)
				continue
			}
			op := string(doc.Paths[path][m])
			if strings.Contains(path, "{id}") && !strings.Contains(op, `"in":"path","name":"id"`) {
				t.Errorf("%s %s does not document its id", m, path)
			}
			if m != "get" && m != "post" && !strings.Contains(op, `"If-Match"`) {
				t.Errorf("%s %s does not document If-Match", m, path)
			}
			if strings.HasPrefix(path, "/todos") && !strings.Contains(op, `"422"`) {
				t.Errorf("%s %s does not document 422", m, path)
			}
		}
	}
	for _, want := range []string{"application/merge-patch+json", `"Problem"`, `"NewTodo"`, "If-None-Match"} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("no %s in the document", want)
		}
	}
	if strings.Contains(string(a.body), "$schema") {
		t.Error("the document has huma's $schema links")
	}
	f.want(f.do("GET", "/openapi.json", "", "If-None-Match: "+a.Header.Get("ETag")), 304)
}
