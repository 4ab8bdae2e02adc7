package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/ops"
	"github.com/asidecache/aside/tests/testserver"
)

const theToken = "correct-horse-battery"

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Who may use the calls of operators: nobody on the main listener of a server, who has the
// token if there is one, this machine in the demo, everybody on the admin listener; pages of
// other sites nowhere. Caught: a demo behind a proxy that was open to everybody.
func TestWhoMayOperate(t *testing.T) {
	token := tokenFile(t, theToken)
	right, wrong := "Authorization: Bearer "+theToken, "Authorization: Bearer wrong-horse-battery"
	const (
		sameSite  = "Sec-Fetch-Site: same-origin"
		crossSite = "Sec-Fetch-Site: cross-site"
		otherPage = "Origin: http://evil.example"
		proxied   = "X-Forwarded-For: 192.0.2.1"
	)
	plain := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--node", "plain")
	demo := start(t, nil, "demo", "--data", t.TempDir(), "--count", "3")
	secured := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--page-token-file", token)
	both := start(t, nil, "demo", "--data", t.TempDir(), "--count", "3", "--page-token-file", token)
	proxy := start(t, nil, "demo", "--data", t.TempDir(), "--count", "3", "--allowed-hosts", "todo.example.com")

	for name, tt := range map[string]struct {
		p      *process
		admin  bool
		config string // its "ops"
		want   map[string]int
	}{
		"server":                {plain, false, "none", map[string]int{"": 404, right: 404}},
		"its admin listener":    {plain, true, "none", map[string]int{"": 200, sameSite: 200, crossSite: 403, otherPage: 403, "Host: evil.example": 421}},
		"with a token":          {secured, false, "token", map[string]int{"": 401, right: 200, wrong: 401, right + "\n" + crossSite: 403, right + "\n" + otherPage: 403, "Authorization: Basic " + theToken: 401, "Authorization: bearer  " + theToken: 200, "Authorization: " + theToken: 401, "Authorization: Bearer " + theToken + "x": 401}},
		"admin beside a token":  {secured, true, "token", map[string]int{"": 200, wrong: 200, crossSite: 403}},
		"demo":                  {demo, false, "open", map[string]int{"": 200, sameSite: 200, crossSite: 403, otherPage: 403, proxied: 403, "Via: 1.1 proxy": 403, "Host: evil.example": 421}},
		"demo with a token":     {both, false, "token", map[string]int{"": 401, right: 200}},
		"demo for other places": {proxy, false, "none", map[string]int{"": 404}},
	} {
		base := tt.p.url
		if tt.admin {
			base = tt.p.admin
		}
		if got := tt.p.want(tt.p.do("GET", "/page/config", ""), 200).body; !strings.Contains(got, `"ops":"`+tt.config+`"`) {
			t.Errorf("%s: config %s, want ops %q", name, got, tt.config)
		}
		for headers, want := range tt.want {
			for _, call := range []string{"GET /ops/nodes", "GET /ops/inspect?id=1", "GET /ops/top", "POST /ops/drop?id=1"} {
				method, path, _ := strings.Cut(call, " ")
				r := doHost(t, method, base+path, headers)
				if ok := r.status == want || want == 200 && r.status == 204 || want == 401 && r.status == 429; !ok {
					t.Errorf("%s: %s with %q: %d, want %d\n%s", name, call, headers, r.status, want, r.body)
				}
				if strings.Contains(r.body, theToken) {
					t.Errorf("%s: the answer has the token", name)
				}
			}
		}
	}
	// Caught: another hash than that of the library's lines, by which nobody finds the key.
	sum := sha256.Sum256([]byte("aside:todos-memory:0:1"))
	if want := fmt.Sprintf(`"key_hash":"%x"`, sum[:8]); !strings.Contains(secured.logged(), want) {
		t.Errorf("the log has no %s:\n%s", want, secured.logged())
	}
	var many sync.WaitGroup
	var refused atomic.Int64
	for range 100 {
		many.Go(func() {
			if doHost(t, "GET", secured.url+"/ops/nodes", wrong).status == 429 {
				refused.Add(1)
			}
		})
	}
	many.Wait()
	if refused.Load() == 0 {
		t.Error("of 100 wrong tokens at once, none was refused unread")
	}
	if r := doHost(t, "GET", secured.url+"/ops/nodes", right); r.status != 200 {
		t.Errorf("the right token meanwhile: %d", r.status)
	}
	if strings.Contains(secured.logged()+both.logged(), theToken) {
		t.Error("the token is in the log")
	}
	for name, file := range map[string]string{"short": tokenFile(t, "short"), "none": "/does/not/exist"} {
		if _, stderr, code := asideRun(t, nil, "serve", "--data", t.TempDir(), "--page-token-file", file); code != exitUsage || !strings.Contains(stderr, "--page-token-file") || strings.Contains(stderr, "short\n") {
			t.Errorf("%s: exit %d\n%s", name, code, stderr)
		}
	}
	off := start(t, nil, "serve", "--data", t.TempDir(), "--no-page")
	for _, path := range []string{"/page/config", "/page/events", "/"} {
		off.want(off.do("GET", path, ""), 404)
	}
}

// doHost is process.do with the header Host, and several headers in one text.
func doHost(t *testing.T, method, url, headers string) reply {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for h := range strings.SplitSeq(headers, "\n") {
		name, value, _ := strings.Cut(h, ": ")
		switch name {
		case "":
		case "Host":
			req.Host = value
		default:
			req.Header.Set(name, value)
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, b.String()}
}

// The commands of operators on two servers that share a Redis: they see each other, each
// entry says who stored it, a stale record is found and dropped everywhere, and a server
// that died disappears.
func TestOperate(t *testing.T) {
	redis := testserver.Redis(t)
	proxy := testserver.Toxiproxy(t, redis.Addr())
	env := []string{"ASIDE_REDIS=" + redis.URL(), "ASIDE_CACHE_NAME=ops"}
	// Their stores differ, as if the record had been changed past the service for b.
	a := start(t, env, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--node", "node-a", "--redis", strings.Replace(redis.URL(), redis.Addr(), proxy.Addr(), 1))
	b := start(t, env, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--node", "node-b")
	run := func(want int, args ...string) string {
		t.Helper()
		stdout, stderr, code := asideRun(t, nil, args...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout + stderr
	}
	testserver.Eventually(t, 15*time.Second, "each sees the other", func() bool {
		return strings.Count(run(0, "nodes", "--admin", a.admin), "node-")+strings.Count(run(0, "nodes", "--admin", b.admin), "node-") == 4
	})

	a.want(a.do("POST", "/todos", `{"id":"1","name":"one"}`), 201)
	a.want(a.do("GET", "/todos/1", ""), 200)
	var i ops.Inspection
	if err := json.Unmarshal([]byte(run(0, "inspect", "1", "--json", "--admin", a.admin)), &i); err != nil {
		t.Fatal(err)
	}
	if i.Verdict != ops.Same || i.L1 == nil || i.L2 == nil || i.L2.NodeName != "node-a" || i.L2.Version != 1 || i.L2.Kind != "value" || i.L2.Size == 0 || i.L2Key != "aside:ops:0:1" || i.Primary.Record == nil {
		t.Errorf("%+v", i)
	}
	if out := run(0, "inspect", "1", "--admin", a.admin); !strings.Contains(out, "1, in Redis aside:ops:0:1: same.") || !strings.Contains(out, "node-a") {
		t.Error(out)
	}
	out := run(exitDiffers, "inspect", "1", "--admin", b.admin)
	if !strings.Contains(out, "older") || !strings.Contains(out, "no such record") || !strings.Contains(out, "node-a") {
		t.Error(out)
	}
	b.want(b.do("GET", "/todos/1", ""), 200)
	if out := run(0, "top", "-n", "1", "--admin", a.admin, "--admin", b.admin); !strings.Contains(out, "Hottest") || !strings.Contains(out, "Biggest entries") || !strings.Contains(out, " 1\n") {
		t.Error(out)
	}
	if out := run(0, "drop", "1", "--admin", a.admin); out != "1 is dropped (asked "+a.admin+").\n" {
		t.Error(out)
	}
	testserver.Eventually(t, 10*time.Second, "it is gone from the other one's memory", func() bool { return b.do("GET", "/todos/1", "").status == 404 })
	if out := run(0, "inspect", "1", "--admin", b.admin, "--admin", b.admin); strings.Count(out, "absent") != 2 {
		t.Error(out)
	}
	if out := run(exitDiffers, "inspect", "1", "--admin", a.admin); !strings.Contains(out, "negative") || !strings.Contains(out, "says that there is no such record") || !strings.Contains(out, "node-b") {
		t.Error(out)
	}

	if strings.Contains(a.logged()+b.logged(), `"id":"1"`) {
		t.Error("the log has an id")
	}
	b.signal(syscall.SIGKILL)
	<-b.ended
	testserver.Eventually(t, 20*time.Second, "the dead one disappears", func() bool { return !strings.Contains(run(0, "nodes", "--admin", a.admin), "node-b") })
	// Its entries still say whose they are.
	if out := run(exitDiffers, "inspect", "1", "--admin", a.admin); !strings.Contains(out, "node-b") {
		t.Error(out)
	}
	proxy.Cut()
	testserver.Eventually(t, 10*time.Second, "without Redis it is alone, and degraded", func() bool {
		out := run(0, "nodes", "--admin", a.admin)
		return strings.Contains(out, "node-a") && strings.Contains(out, "degraded: ")
	})
	if out := run(1, "inspect", "2", "--admin", a.admin); !strings.Contains(out, "Redis could not be looked at") {
		t.Error(out)
	}
	// Caught: "same" and exit 0 for a record in memory; "is dropped" while Redis kept it.
	testserver.Eventually(t, 20*time.Second, "its memory has the record, for a second each time", func() bool {
		a.want(a.do("GET", "/todos/1", ""), 200)
		return strings.Contains(run(1, "inspect", "1", "--admin", a.admin), "unknown. The record in memory (L1) is that of the store. Redis could not be looked at")
	})
	if out := run(1, "drop", "1", "--admin", a.admin); !strings.Contains(out, "on this server alone") || strings.Contains(out, "is dropped") {
		t.Error(out)
	}
	proxy.Restore()
	testserver.Eventually(t, 30*time.Second, "Redis is told, and a drop is done", func() bool {
		_, _, code := asideRun(t, nil, "drop", "1", "--admin", a.admin)
		return code == 0
	})
}

// With --tag-days an entry shows its tag, and the tag drops it on all servers, also by what
// inspect says of what is still in Redis.
// Caught: an old entry in Redis with a verdict that asks to drop it; records of servers
// without the flag, which no tag reaches.
func TestOperateTags(t *testing.T) {
	redis := testserver.Redis(t)
	env := []string{"ASIDE_REDIS=" + redis.URL(), "ASIDE_CACHE_NAME=tags", "ASIDE_TAG_DAYS=1"}
	// Their stores differ, as in TestOperate.
	a := start(t, env, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--feed", "off")
	b := start(t, env, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0", "--feed", "off")
	plain := start(t, env[:2], "serve", "--data", t.TempDir(), "--feed", "off")
	var made struct {
		Created time.Time `json:"created_at"`
	}
	if err := json.Unmarshal([]byte(a.want(a.do("POST", "/todos", `{"id":"1","name":"one"}`), 201).body), &made); err != nil {
		t.Fatal(err)
	}
	tag := "created:" + made.Created.UTC().Format(time.DateOnly)
	b.want(b.do("GET", "/todos/1", ""), 200) // from Redis
	inspect := func(p *process) (i ops.Inspection) {
		t.Helper()
		out, stderr, _ := asideRun(t, nil, "inspect", "1", "--json", "--admin", p.admin)
		if err := json.Unmarshal([]byte(out), &i); err != nil {
			t.Fatal(err, out, stderr)
		}
		return i
	}
	if i := inspect(b); i.L1 == nil || i.L2 == nil || !slices.Equal(i.L1.Tags, []string{tag}) || !slices.Equal(i.L2.Tags, []string{tag}) {
		t.Errorf("%+v, %+v", i.L1, i.L2)
	}
	if out, _, _ := asideRun(t, nil, "inspect", "1", "--admin", b.admin); strings.Count(out, tag) != 2 {
		t.Error(out)
	}
	// Servers without the flag take nothing from the others.
	plain.want(plain.do("GET", "/todos/1", ""), 404)
	a.want(a.do("PATCH", "/todos/1", `{"name":"two"}`), 200)
	b.want(b.do("GET", "/todos/1", "", "Cache-Control: no-cache"), 200)

	out, stderr, code := asideRun(t, nil, "drop", "--tag", tag, "--tag", "created:unknown", "--admin", a.admin)
	if code != 0 || out != "All with "+tag+", created:unknown are dropped (asked "+a.admin+").\n" {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	for name, p := range map[string]*process{"a": a, "b": b} {
		if i := inspect(p); i.Verdict == ops.Older || i.L2 == nil || !strings.Contains(i.Explain+i.L2.Error, "a tag of the entry was invalidated") {
			t.Errorf("%s, after the drop: %s: %s", name, i.Verdict, i.Explain)
		}
	}
	b.want(b.do("GET", "/todos/1", "", "Cache-Control: no-cache"), 404)
	b.want(b.do("GET", "/todos/1", ""), 404)
	out, stderr, code = asideRun(t, nil, "drop", "--json", "--tag", tag, "--admin", b.admin)
	if code != 0 || out != `{"dropped_tags":["`+tag+`"],"server":"`+b.admin+`"}`+"\n" {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	if m := a.do("GET", "/metrics", "").body; !strings.Contains(m, `aside_tag_invalidations_total{cache="todos"} 2`) {
		t.Error("the metrics do not have the two tags")
	}
	if !strings.Contains(a.logged(), `"msg":"entries of tags dropped by an operator","tags":["`+tag+`","created:unknown"]`) {
		t.Errorf("the log does not say what was dropped:\n%s", a.logged())
	}
}

// What goes wrong is said with what to do. A server that fails does not keep the others from
// being asked. Caught: commands that ended at the first.
func TestOperateErrors(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }))
	defer html.Close()
	moved := httptest.NewServer(http.RedirectHandler(html.URL, http.StatusFound))
	defer moved.Close()
	stale := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"verdict":"older"}`) }))
	defer stale.Close()
	token, wrong := tokenFile(t, theToken), tokenFile(t, "wrong-horse-battery")
	secured := start(t, nil, "serve", "--data", t.TempDir(), "--page-token-file", token)
	plain := start(t, nil, "serve", "--data", t.TempDir(), "--no-cache", "--admin", "127.0.0.1:0")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"nodes", "--admin", gone.URL}, 1, "does not answer"},
		{[]string{"nodes", "--admin", gone.URL, "--admin", secured.url, "--token-file", token}, 1, "REQ/S"},
		{[]string{"nodes", "--admin", gone.URL, "--admin", html.URL}, 1, gone.URL + " does not answer"},
		{[]string{"nodes", "--admin", gone.URL, "--admin", html.URL}, 1, html.URL + " does not answer like a server of aside"},
		{[]string{"top", "--admin", plain.admin, "--admin", secured.url, "--token-file", token}, 1, "Hottest"},
		{[]string{"drop", "1", "--admin", gone.URL, "--admin", secured.url, "--token-file", token}, 1, "1 is dropped (asked " + secured.url},
		{[]string{"inspect", "1", "--admin", gone.URL, "--admin", plain.admin}, 1, "not-cached"},
		{[]string{"inspect", "1", "--admin", gone.URL, "--admin", stale.URL, "--admin", plain.admin}, exitDiffers, "not-cached"},
		{[]string{"inspect", "1", "--admin", gone.URL, "--admin", stale.URL}, exitDiffers, gone.URL + " does not answer"},
		{[]string{"nodes", "--admin", html.URL}, 1, "does not answer like a server of aside"},
		{[]string{"nodes", "--admin", moved.URL}, 1, "answered 302"},
		{[]string{"nodes", "--admin", "localhost:1"}, exitUsage, "--admin must be like"},
		{[]string{"nodes", "--admin", plain.url}, 1, "give the URL of its admin listener"},
		{[]string{"nodes", "--admin", secured.url}, 1, "--token-file"},
		{[]string{"nodes", "--admin", secured.url, "--token-file", wrong}, 1, "refused the token"},
		{[]string{"nodes", "--admin", secured.url, "--token-file", "/does/not/exist"}, exitUsage, "--token-file"},
		{[]string{"nodes", "--admin", secured.url, "--token-file", token}, 0, "REQ/S"},
		{[]string{"drop", "1", "--admin", plain.admin}, 1, "has no cache"},
		{[]string{"drop", "--tag", "created:unknown", "--admin", plain.admin}, 1, "has no cache"},
		{[]string{"drop", "--tag", "created:unknown", "--admin", secured.url, "--token-file", token}, 1, "have no tags (aside serve --tag-days)"},
		{[]string{"drop", "--tag", "created:unknown", "--tag", "day", "--admin", plain.admin}, 1, `query.tag: must be created:YYYY-MM-DD, a day in UTC, or created:unknown, is "day"`},
		{[]string{"drop"}, exitUsage, "give the id of a todo, or --tag"},
		{[]string{"drop", "1", "--tag", "created:unknown"}, exitUsage, "not both"},
		{[]string{"top", "--admin", plain.admin}, 1, "has no cache"},
		{[]string{"inspect", "1", "--admin", plain.admin}, 0, "not-cached"},
		{[]string{"inspect", "a\nb", "--admin", plain.admin}, 1, "query.id"},
		{[]string{"inspect"}, exitUsage, "<id>"},
		{[]string{"top", "-n", "0"}, exitUsage, "--count must be 1 to 100"},
	} {
		stdout, stderr, code := asideRun(t, nil, tt.args...)
		if code != tt.code || !strings.Contains(stdout+stderr, tt.says) || strings.Contains(stdout+stderr, "horse") {
			t.Errorf("%v: exit %d, want %d with %q\n%s%s", tt.args, code, tt.code, tt.says, stdout, stderr)
		}
	}
	if stdout, _, code := asideRun(t, []string{"ASIDE_ADMIN_URL=" + plain.admin}, "nodes", "--json"); code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// A stream of a real server outlives its timeouts, and ends at once when it shuts down,
// before the delay. Caught: streams that held the shutdown up until its limit.
func TestStreamsOfTheServer(t *testing.T) {
	p := start(t, nil, "demo", "--data", t.TempDir(), "--count", "3", "--read-timeout", "300ms", "--request-timeout", "300ms", "--send-timeout", "300ms", "--shutdown-delay", "30s")
	stream := func(path string) *bufio.Scanner {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		r, err := http.NewRequestWithContext(ctx, "GET", p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		t.Cleanup(func() { resp.Body.Close() })
		s := bufio.NewScanner(resp.Body)
		s.Buffer(nil, 1<<24)
		return s
	}
	events, watch := stream("/page/events"), stream("/ops/watch?id=1")
	samples := 0
	for samples < 3 && events.Scan() {
		if events.Text() == "event: sample" {
			samples++
		}
	}
	if samples < 3 {
		t.Fatalf("the stream ended after %d samples: %v", samples, events.Err())
	}
	p.want(p.do("GET", "/todos/1", ""), 200)
	var kinds []string
	for !slices.Contains(kinds, "read") && watch.Scan() {
		var e struct{ Kind, Text, Source string }
		if data, ok := strings.CutPrefix(watch.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
			kinds = append(kinds, e.Kind)
			if e.Text == "" || (e.Kind == "read") != (e.Source == "load") {
				t.Errorf("%+v", e)
			}
		}
	}
	if !slices.Contains(kinds, "load") || !slices.Contains(kinds, "read") {
		t.Errorf("events of the first read: %v", kinds)
	}
	p.signal(syscall.SIGTERM)
	for _, s := range []*bufio.Scanner{events, watch} {
		for s.Scan() {
		}
		if s.Err() != nil {
			t.Errorf("the end of a stream: %v", s.Err())
		}
	}
	select {
	case <-p.ended:
		t.Error("the streams ended with the process, and not before its delay")
	default:
	}
	if r := p.do("GET", "/page/events", ""); r.status != 503 || !strings.Contains(r.body, "shutting_down") {
		t.Errorf("a new stream: %d %s", r.status, r.body)
	}
	m := p.do("GET", "/metrics", "").body
	if !strings.Contains(m, `aside_http_requests_total{code="200",method="GET",route="/page/events"} 1`) ||
		!strings.Contains(m, `aside_http_request_duration_seconds_count{method="GET",route="/page/events"} 1`) { // the refused one
		t.Error("the duration of a stream is in the metrics")
	}
}

// At level debug the log has one line for each request, with the way that it took.
func TestDebugLogHasTheTrace(t *testing.T) {
	p := start(t, nil, "demo", "--data", t.TempDir(), "--count", "3", "--log-level", "debug")
	p.want(p.do("GET", "/todos/1", "", "X-Request-Id: trace-1"), 200)
	testserver.Eventually(t, 10*time.Second, "the line is there", func() bool {
		for line := range strings.Lines(p.logged()) {
			var e struct {
				RequestID    string `json:"request_id"`
				CacheStatus  string `json:"cache_status"`
				ServerTiming string `json:"server_timing"`
			}
			if json.Unmarshal([]byte(line), &e) == nil && e.RequestID == "trace-1" {
				if e.CacheStatus != "aside; fwd=miss; detail=load" || !strings.Contains(e.ServerTiming, "load;dur=") {
					t.Errorf("line: %s", line)
				}
				return true
			}
		}
		return false
	})
}
