package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func mustHosts(t *testing.T, names ...string) *httpapi.Hosts {
	t.Helper()
	h, err := httpapi.NewHosts(names)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A web page whose host name resolves to this server (DNS rebinding) is refused, for every
// request.
func TestHosts(t *testing.T) {
	good := []string{"localhost", "localhost:8000", "LOCALHOST.", "a.localhost:1", "127.0.0.1", "127.0.0.1:9", "127.8.9.1:9", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]:80"}
	bad := []string{
		"evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "192.0.2.1", "[2001:db8::1]:80", "0.0.0.0:80",
		"evil.example:127.0.0.1", "localhost@evil.example", "[::1].evil.example", "1.2.3.4.5", "[", "]:",
	}
	for _, tt := range []struct {
		names     []string
		good, bad []string
	}{
		{nil, good, bad},
		{[]string{"Todo.Example.com.", "*.example.org", "2001:db8::1"},
			append(good, "todo.example.com", "TODO.example.com:443", "todo.example.com.", "a.example.org", "a.b.example.org:1", "[2001:db8::1]:80"),
			[]string{"evil.example", "example.com", "example.org", "a.todo.example.com", "xexample.org", "192.0.2.1"}},
		{[]string{"*"}, append(good, bad[:8]...), nil},
	} {
		f := serve(t, []todo.Todo{legacy("1", "one")}, with(func(o *httpapi.Options) { o.Hosts = mustHosts(t, tt.names...) }))
		ask := func(path, host string) *http.Response {
			c := f.dial()
			c.send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
			return c.answer("GET")
		}
		for _, host := range tt.good {
			if a := ask("/todos/1", host); a == nil || a.StatusCode != 200 {
				t.Errorf("%v: %s: %+v", tt.names, host, a)
			}
		}
		for _, host := range tt.bad {
			for _, path := range []string{"/todos/1", "/metrics", "/docs", "/readyz", "/nope", "http://" + host + "/todos/1"} {
				a := ask(path, host)
				if a == nil || a.StatusCode == 200 || a.StatusCode != 421 && a.StatusCode != 400 {
					t.Errorf("%v: %s %s: %+v", tt.names, host, path, a)
				}
			}
		}
		// The host name in the request's URL takes precedence over the header.
		c := f.dial()
		c.send("GET http://other.example/todos/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if a := c.answer("GET"); a == nil || (a.StatusCode == 200) != (len(tt.bad) == 0) {
			t.Errorf("%v: %+v", tt.names, a)
		}
		// A program may send no host name.
		c = f.dial()
		c.send("GET /todos/1 HTTP/1.0\r\n\r\n")
		if a := c.answer("GET"); a == nil || a.StatusCode != 200 {
			t.Errorf("without a name: %+v", a)
		}
	}
	for _, name := range []string{"", "http://a", "a:80", "a/b", "*.", "a.*.b", "a b", "u@h"} {
		if _, err := httpapi.NewHosts([]string{name}); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// Web pages of other sites cannot change records or send strong reads. Following a link is
// allowed.
func TestOtherSites(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	const image = "Sec-Fetch-Mode: no-cors"
	link := []string{"Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	strong := "Cache-Control: no-cache"
	for _, tt := range []struct {
		status  int
		method  string
		path    string
		headers []string
	}{
		{403, "POST", "/todos", []string{"Sec-Fetch-Site: cross-site"}},
		{403, "DELETE", "/todos/1", []string{"Sec-Fetch-Site: same-site"}},
		{403, "PUT", "/todos/1", []string{"Origin: http://evil.example"}},
		{403, "POST", "/todos", append([]string{"Sec-Fetch-Site: cross-site"}, link...)},
		{403, "GET", "/todos", []string{"Sec-Fetch-Site: cross-site", image}},
		{403, "GET", "/todos?ids=1", []string{"Sec-Fetch-Site: same-site", image}},
		{403, "GET", "/todos/1", []string{"Sec-Fetch-Site: cross-site", image, strong}},
		{403, "GET", "/todos/1", []string{"Origin: http://evil.example", strong}},
		{403, "GET", "/todos/1", []string{"Origin: null", strong}},
		{403, "GET", "/metrics", []string{"Sec-Fetch-Site: cross-site", image}},
		{403, "GET", "/todos", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}},
		{200, "GET", "/todos/1", []string{"Sec-Fetch-Site: cross-site", image}},
		{200, "GET", "/todos", append([]string{"Sec-Fetch-Site: cross-site"}, link...)},
		{200, "GET", "/todos", []string{"Sec-Fetch-Site: same-origin", strong}},
		{200, "GET", "/todos", []string{"Sec-Fetch-Site: none"}},
		{200, "GET", "/todos/1", []string{"Origin: " + f.url, strong}},
		{200, "GET", "/docs", []string{"Sec-Fetch-Site: cross-site"}},
	} {
		body := ""
		if tt.method == "POST" || tt.method == "PUT" {
			body = `{"name":"n"}`
		}
		if a := f.do(tt.method, tt.path, body, tt.headers...); a.StatusCode != tt.status {
			t.Errorf("%s %s %v: %d, want %d", tt.method, tt.path, tt.headers, a.StatusCode, tt.status)
		}
	}
}

// The admin listener has no authentication, so it checks host names and the site of requests,
// and limits profiles.
func TestAdminGuards(t *testing.T) {
	f := serve(t, nil)
	f.undocumented = true
	h := httpapi.Admin(httpapi.AdminOptions{Registry: prometheus.NewRegistry(), Hosts: mustHosts(t)})
	behind(t, f, h, func(*http.Server) {})
	get := func(path string, headers ...string) int { return f.do("GET", path, "", headers...).StatusCode }
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
		if got := get(path, "Sec-Fetch-Site: cross-site"); got != 403 {
			t.Errorf("%s for another site: %d", path, got)
		}
		if got := get(path, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"); got != 403 {
			t.Errorf("%s by a link: %d", path, got)
		}
		c := f.dial()
		c.send("GET " + path + " HTTP/1.1\r\nHost: evil.example\r\n\r\n")
		if a := c.answer("GET"); a == nil || a.StatusCode != 421 {
			t.Errorf("%s for another name: %+v", path, a)
		}
	}
	if a := f.do("POST", "/flush", "", "Sec-Fetch-Site: same-site"); a.StatusCode != 403 {
		t.Errorf("flush for another site: %d", a.StatusCode)
	}
	if got := get("/debug/pprof/", "Sec-Fetch-Site: none"); got != 200 {
		t.Errorf("typed: %d", got)
	}
	for _, path := range []string{"profile?seconds=100000", "trace?seconds=61", "heap?seconds=1e9", "goroutine?seconds=NaN", "profile?seconds=-1", "trace?seconds=x"} {
		if got := get("/debug/pprof/" + path); got != 400 {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// At most two profiles and one flush run at the same time. Caught: any number of them, each
// of which needs CPU time and memory.
func TestAdminLimitsProfilesAndFlushes(t *testing.T) {
	f := serve(t, nil)
	f.undocumented = true
	h := httpapi.Admin(httpapi.AdminOptions{Registry: prometheus.NewRegistry()})
	behind(t, f, h, func(*http.Server) {})
	answers := make(chan *http.Response, 3)
	var conns []*raw
	for range 3 {
		c := f.dial()
		conns = append(conns, c)
		c.send("GET /debug/pprof/heap?seconds=60 HTTP/1.1\r\nHost: x\r\n\r\n")
		go func() { answers <- c.answer("GET") }()
	}
	if a := testsync.Await(t, "an answer", answers); a == nil || a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %+v", a)
	}
	for _, c := range conns {
		c.Close()
	}
	for range 2 {
		testsync.Await(t, "the others' end", answers)
	}
}

// A profile may take longer than other responses of the admin listener.
func TestAdminProfileOutlastsTheWriteTimeout(t *testing.T) {
	f := serve(t, nil)
	f.undocumented = true
	behind(t, f, httpapi.Admin(httpapi.AdminOptions{Registry: prometheus.NewRegistry()}), func(s *http.Server) { s.WriteTimeout = 200 * time.Millisecond })
	if a := f.do("GET", "/debug/pprof/trace?seconds=1", ""); a.StatusCode != 200 || len(a.body) == 0 {
		t.Errorf("%d with %d bytes", a.StatusCode, len(a.body))
	}
}

func TestWithoutDocsAndMetrics(t *testing.T) {
	f := serve(t, nil, with(func(o *httpapi.Options) { o.NoDocs, o.NoMetrics = true, true }))
	f.undocumented = true
	for _, path := range []string{"/docs", "/docs/init.js", "/openapi.json", "/metrics"} {
		if a := f.want(f.do("GET", path, ""), 404); strings.Contains(string(a.body), "/docs") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	documented := serve(t, nil, with(func(o *httpapi.Options) { o.NoMetrics = true }))
	if a := documented.want(documented.do("GET", "/openapi.json", ""), 200); strings.Contains(string(a.body), `"/metrics"`) {
		t.Error("the document has /metrics")
	}
}
