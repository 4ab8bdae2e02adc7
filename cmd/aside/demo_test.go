package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/ownredis"
	"github.com/asidecache/aside/tests/testserver"
)

// urlsOf returns the addresses of all servers of a demo, when they serve.
func (p *process) urlsOf(nodes int) (urls []string) {
	p.t.Helper()
	testserver.Eventually(p.t, 30*time.Second, "all nodes serve", func() bool {
		byNode := map[string]string{}
		for line := range strings.Lines(p.logged()) {
			var entry struct{ Msg, URL, Node string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				byNode[entry.Node] = entry.URL
			}
		}
		urls = nil
		for _, node := range slices.Sorted(maps.Keys(byNode)) {
			urls = append(urls, byNode[node])
		}
		return len(urls) == nodes
	})
	return urls
}

// told is what a story answered.
type told struct {
	steps []string
	text  string
	level string
	facts map[string]any
}

func (p *process) story(name, parameters string) (s told) {
	p.t.Helper()
	r := p.want(p.do("POST", "/story/"+name, parameters), 200)
	done := false
	for line := range strings.Lines(r.body) {
		var step struct {
			Text  string
			Level string
			Done  bool
			Facts map[string]any
		}
		if err := json.Unmarshal([]byte(line), &step); err != nil || step.Text == "" || step.Level == "" {
			p.t.Fatalf("%s: %v in %s", name, err, r.body)
		}
		if done = step.Done; done {
			s.text, s.level, s.facts = step.Text, step.Level, step.Facts
		} else {
			s.steps = append(s.steps, step.Text)
		}
	}
	if !done || r.header.Get("Content-Type") != "application/x-ndjson" {
		p.t.Errorf("%s has no end: %s", name, r.body)
	}
	if s.level != "good" {
		p.t.Errorf("%s: %s\n%s", name, s.text, strings.Join(s.steps, "\n"))
	}
	p.t.Logf("%s: %s", name, s.text)
	return s
}

func (s told) number(name string) float64 {
	n, _ := s.facts[name].(float64)
	return n
}

// Several servers share the store and a Redis of the demo's own, and every story is true on
// them. Caught: stories that left a changed record behind.
func TestDemoStories(t *testing.T) {
	if _, _, err := ownredis.Find(t.Context()); errors.Is(err, ownredis.ErrMissing) {
		testserver.Missing(t, "%v", err)
	}
	data := t.TempDir()
	p := start(t, nil, "demo", "--nodes", "2", "--count", "60", "--data", data,
		"--redis-timeout", "2s") // a lookup that takes longer is a second load of the burst
	urls := p.urlsOf(2)
	for _, url := range urls {
		testserver.Eventually(t, 30*time.Second, "the feed is followed", func() bool {
			return strings.Contains(p.do("GET", url+"/readyz", "").body, `"fed":true`)
		})
	}
	etag := p.want(p.do("PATCH", urls[0]+"/todos/7", `{"name":"seven"}`), 200).header.Get("ETag")
	if r := p.want(p.do("GET", urls[1]+"/todos/7", "", "Cache-Control: no-cache"), 200); r.header.Get("ETag") != etag {
		t.Errorf("the other server: %s", r.body)
	}
	var list []struct {
		Name, Title, What string
		Available         bool
	}
	if err := json.Unmarshal([]byte(p.want(p.do("GET", "/story", ""), 200).body), &list); err != nil || len(list) != 5 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, s := range list {
		if !s.Available || s.Title == "" || s.What == "" {
			t.Errorf("%+v", s)
		}
	}

	if s := p.story("burst", `{"id":"7"}`); s.number("loads") != 1 || s.number("requests") != 100 || s.text != "100 requests, 1 load" {
		t.Errorf("burst: %s %v", s.text, s.facts)
	}
	if s := p.story("behind", `{"id":"7"}`); s.number("healed_ms") <= 0 || s.number("stale_reads_without_feed") < 10 ||
		s.number("stale_reads_without_feed") != s.number("reads_without_feed") {
		t.Errorf("behind: %v", s.facts)
	}
	if s := p.story("storm", `{"id":"7","seconds":2}`); s.number("writes") < 5 || s.number("stale") != 0 || s.number("errors") != 0 {
		t.Errorf("storm: %v", s.facts)
	}
	if s := p.story("redis-down", `{"seconds":3}`); s.number("errors") != 0 || s.number("writes") < 3 || !strings.Contains(strings.Join(s.steps, "\n"), "degraded") {
		t.Errorf("redis-down: %v\n%s", s.facts, strings.Join(s.steps, "\n"))
	}
	if s := p.story("restart", `{"seconds":2}`); s.number("loads") < 1 || s.number("most_loads_at_once") > s.number("max_loads") {
		t.Errorf("restart: %v", s.facts)
	}
	for _, url := range urls {
		if r := p.want(p.do("GET", url+"/todos/7", "", "Cache-Control: no-cache"), 200); !strings.Contains(r.body, `"name":"seven"`) {
			t.Errorf("after the stories: %s", r.body)
		}
	}
	p.wantStoriesRefused()

	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	out := p.printed("--target " + urls[0])
	page, check := strings.Index(out, "Open "+urls[0]+"/ in a browser"), strings.Index(out, "--target "+urls[0]+" --target "+urls[1])
	if page < 0 || check < page || strings.Contains(out, "\x1b") {
		t.Errorf("it says:\n%s", out)
	}
}

func (p *process) wantStoriesRefused() {
	p.t.Helper()
	for _, r := range []struct {
		method, path, body, header string
		status                     int
	}{
		{"POST", "/story/none", "", "Accept: */*", 404},
		{"GET", "/story/burst", "", "Accept: */*", 405},
		{"POST", "/story", "", "Accept: */*", 405},
		{"POST", "/story/burst", `{"evil":1}`, "Accept: */*", 400},
		{"POST", "/story/storm", `{"seconds":3600}`, "Accept: */*", 400},
		{"POST", "/story/burst", "", "Origin: http://evil.example", 403},
		{"POST", "/story/burst", "", "Sec-Fetch-Site: cross-site", 403},
		{"GET", "/story", "", "Sec-Fetch-Site: cross-site", 403},
	} {
		if got := p.do(r.method, r.path, r.body, r.header); got.status != r.status {
			p.t.Errorf("%s %s %s %s: status %d, want %d: %s", r.method, r.path, r.body, r.header, got.status, r.status, got.body)
		}
	}
}

// A story that nobody reads any more ends, and only one runs at a time.
func TestStoryEndsWithItsReader(t *testing.T) {
	p := start(t, nil, "demo", "--count", "20", "--redis-server", "off", "--data", t.TempDir())
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	body := `{"seconds":60}`
	fmt.Fprintf(conn, "POST /story/storm HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	testserver.Eventually(t, 30*time.Second, "it runs", func() bool { return strings.Contains(p.logged(), "story begins") })
	if r := p.do("POST", "/story/burst", ""); r.status != 409 || !strings.Contains(r.body, "storm") {
		t.Errorf("a second story: %d %s", r.status, r.body)
	}
	_ = conn.Close()
	testserver.Eventually(t, 30*time.Second, "it ends", func() bool { return strings.Contains(p.logged(), "story ended") })
	if r := p.do("POST", "/story/redis-down", ""); r.status != 409 || !strings.Contains(r.body, "--redis-server=off") {
		t.Errorf("without Redis: %d %s", r.status, r.body)
	}
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
}

// Without redis-server one server runs, several do not, and both say why.
func TestDemoWithoutRedisServer(t *testing.T) {
	env := []string{"PATH=" + t.TempDir()}
	p := start(t, env, "demo", "--count", "5", "--data", t.TempDir())
	p.want(p.do("GET", "/todos/5", ""), 200)
	if r := p.want(p.do("GET", "/story", ""), 200); !strings.Contains(r.body, "install redis-server") {
		t.Errorf("%s", r.body)
	}
	p.printed("install redis-server")
	p.signal(os.Interrupt)
	p.wantExit(0)
	data := filepath.Join(t.TempDir(), "data")
	_, stderr, code := asideRun(t, env, "demo", "--nodes", "3", "--listen", "127.0.0.1:0", "--data", data)
	if code != 2 || !strings.Contains(stderr, "--nodes 3 needs a Redis that the servers share") || !strings.Contains(stderr, "apt install redis-server") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made its store: %v", err)
	}
}

// A demo whose port is taken writes nothing. Caught: one that made its records first.
func TestDemoPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := filepath.Join(t.TempDir(), "data")
	stdout, stderr, code := asideRun(t, nil, "demo", "--listen", l.Addr().String(), "--data", data)
	if code != 1 || !strings.Contains(stderr, "already listens") || stdout != "" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made its store: %v", err)
	}
	for n, want := range map[int]string{0: "127.0.0.1:8000", 2: "127.0.0.1:8002", anyPort: "127.0.0.1:0"} {
		if got := nthAddress("127.0.0.1:8000", n); got != want {
			t.Errorf("address %d is %s, want %s", n, got, want)
		}
	}
	if got := nthAddress("[::1]:65535", 1); got != "[::1]:0" {
		t.Errorf("behind the last port: %s", got)
	}
}

// The latency is real, and said aloud wherever a figure shows it.
func TestStoreLatency(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--store-latency", "50ms")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	begun := time.Now()
	p.want(p.do("GET", "/todos/1", "", "Cache-Control: no-cache"), 200)
	if took := time.Since(begun); took < 40*time.Millisecond {
		t.Errorf("a read from the store took %v", took)
	}
	if r := p.want(p.do("GET", "/readyz", ""), 200); !strings.Contains(r.body, `"added_latency":"50ms"`) || strings.Contains(r.body, `"feed"`) {
		t.Errorf("readyz: %s", r.body)
	}
	if !strings.Contains(p.logged(), "with 50ms of latency added") {
		t.Errorf("the log:\n%s", p.logged())
	}
	stdout, stderr, code := asideRun(t, nil, "bench", "--url", p.url+"/todos", "--ids", "1-1", "--users", "1", "--requests", "3")
	if code != 0 || !strings.Contains(stdout, "the server adds 50ms of latency to its store") {
		t.Errorf("bench: exit %d\n%s%s", code, stdout, stderr)
	}
	none := start(t, nil, "serve", "--data", t.TempDir())
	if r := none.want(none.do("GET", "/readyz", ""), 200); strings.Contains(r.body, "latency") {
		t.Errorf("readyz: %s", r.body)
	}
}

// The embedded store's feed is followed where something can be missed, and on request.
func TestEmbeddedFeed(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--feed", "on")
	testserver.Eventually(t, 30*time.Second, "it is followed", func() bool {
		return strings.Contains(p.do("GET", "/readyz", "").body, `"status":"ready"`) && strings.Contains(p.do("GET", "/readyz", "").body, `"fed":true`)
	})
	// Own writes are recognised: the record stays in memory.
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	testserver.Eventually(t, 30*time.Second, "the write was told", func() bool {
		return strings.Contains(p.do("GET", "/metrics", "").body, `aside_feed_changes_total{cache="todos"} 1`)
	})
	if r := p.want(p.do("GET", "/todos/1", ""), 200); r.cacheStatus() != "aside; hit; detail=L1" {
		t.Logf("on a busy machine the feed may be faster than the writer: %s", r.cacheStatus())
	}
}

// With --feed=on a server does not start where only an operator can help. Caught: one that
// started, and was degraded for ever.
func TestFeedOnRefusesToStart(t *testing.T) {
	db := testserver.OwnPostgres(t, "wal_level=replica")
	env := []string{"ASIDE_POSTGRES=" + db.URL()}
	_, stderr, code := asideRun(t, env, "serve", "--listen", "127.0.0.1:0", "--feed", "on")
	if code != 2 || !strings.Contains(stderr, "wal_level = 'logical'") || !strings.Contains(stderr, "--feed=auto") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	p := start(t, env, "serve")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)

	mongo := testserver.Mongo(t)
	if !mongo.IsFerretDB() {
		return
	}
	_, stderr, code = asideRun(t, []string{"ASIDE_MONGO=" + mongo.URI()}, "serve", "--listen", "127.0.0.1:0", "--feed", "on")
	if code != 2 || !strings.Contains(stderr, "no change streams") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestLiveText(t *testing.T) {
	for want, s := range map[string]dashboard.Sample{
		"no requests in the last second":                                {},
		"12 requests/s   loads 0/s   p99 1.5 ms":                        {Requests: 12, P99: 1.5},
		"10 requests/s   L1 50 %   L2 30 %   loads 2/s   p99 0.3 ms":    {Requests: 10, L1: 5, L2: 3, Misses: 2, Loads: 2, P99: 0.31},
		"1 requests/s   loads 0/s   p99 0.0 ms   errors 1/s":            {Requests: 1, Errors: 1},
		`0 requests/s   loads 0/s   p99 0.0 ms   degraded: gone\x1b[2J`: {Degraded: "gone\x1b[2J"},
	} {
		if got := liveText(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Log entries on the same terminal do not run into the line, which never wraps. Elsewhere
// there is no line.
func TestLiveLine(t *testing.T) {
	var screen bytes.Buffer
	l := &liveLine{w: &screen, width: func() int { return 20 }}
	log := slog.New(l.handler(slog.NewTextHandler(&screen, nil))).With("node", "a")
	log.Info("before")
	if strings.Contains(screen.String(), "\x1b") {
		t.Errorf("%q", screen.String())
	}
	l.show("a line that is too long for this terminal")
	screen.Reset()
	log.Info("after")
	if got := screen.String(); !strings.HasPrefix(got, clearLine+"time=") || !strings.HasSuffix(got, "node=a\na line that is too ") {
		t.Errorf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	screen.Reset()
	if l.run(ctx, nil); screen.String() != "\n" {
		t.Errorf("at the end: %q", screen.String())
	}
	piped := newLiveLine(&screen)
	var wg sync.WaitGroup
	wg.Go(func() { piped.run(ctx, nil) })
	wg.Wait()
	if piped.w != nil || screen.String() != "\n" {
		t.Errorf("to a pipe: %q", screen.String())
	}
}
