package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/tests/testserver"
)

// With this variable set, the test binary runs as the program aside.
const beAside = "ASIDE_TEST_BE_ASIDE"

func TestMain(m *testing.M) {
	if os.Getenv(beAside) == "1" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// command returns the program with these arguments. It removes the variables of aside from
// the environment; env adds some, as NAME=value.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = t.TempDir()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ASIDE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(append(cmd.Env, env...), beAside+"=1")
	return cmd
}

// asideRun runs the program until it ends. One that does not end fails the test.
func asideRun(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !overdue.Stop() {
		t.Fatalf("aside %q runs after 3 minutes:\n%s\n%s", args, &out, &errOut)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// process is a server under test.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	admin string

	ended chan struct{}

	mu     sync.Mutex
	log    []string
	code   int
	stdout []byte
}

// Write takes what the process prints.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stdout = append(p.stdout, b...)
	return len(b), nil
}

// printed waits until the process has printed text, and returns all that it has printed.
func (p *process) printed(text string) (out string) {
	p.t.Helper()
	testserver.Eventually(p.t, 30*time.Second, "it prints "+text, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		out = string(p.stdout)
		return strings.Contains(out, text)
	})
	return out
}

// start runs "aside serve" (or another command that serves) on a free port.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t, env, append(args, "--listen", "127.0.0.1:0", "--log-format", "json")...), ended: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout = p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var entry struct{ Msg, URL string }
			_ = json.Unmarshal(lines.Bytes(), &entry)
			p.mu.Lock()
			p.log = append(p.log, lines.Text())
			if entry.Msg == "admin listener started" {
				p.admin = entry.URL
			}
			p.mu.Unlock()
			if entry.Msg == "serving" || entry.Msg == "waiting for the store" {
				select {
				case ready <- entry.URL:
				default: // the second of these lines
				}
			}
		}
		_ = p.cmd.Wait()
		p.mu.Lock()
		p.code = p.cmd.ProcessState.ExitCode()
		p.mu.Unlock()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if strings.Contains(p.logged(), "DATA RACE") {
			t.Error("the server has a data race")
		}
		if t.Failed() {
			t.Log("the server's log:\n" + p.logged())
		}
	})
	select {
	case p.url = <-ready:
	case <-p.ended:
		t.Fatalf("it ended with %d:\n%s", p.exitCode(), p.logged())
	case <-time.After(20 * time.Second):
		t.Fatal("it does not serve")
	}
	return p
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

func (p *process) exitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wantExit waits for the end of the process and checks its exit code.
func (p *process) wantExit(code int) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.t.Fatal("it does not end")
	}
	if got := p.exitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d", got, code)
	}
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) cacheStatus() string { return r.header.Get("Cache-Status") }

func (p *process) do(method, path, body string, headers ...string) reply {
	p.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = p.url + path
	}
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

func (p *process) want(r reply, status int) reply {
	p.t.Helper()
	if r.status != status {
		p.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// slowRequest sends a POST without the end of its body. finish sends the end and returns
// the status line.
func (p *process) slowRequest(id string) (finish func() (string, error)) {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	body := fmt.Sprintf(`{"id":%q,"name":"slow"}`, id)
	fmt.Fprintf(conn, "POST /todos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:5])
	testserver.Eventually(p.t, 10*time.Second, "the request is being served", func() bool {
		return strings.Contains(p.do("GET", "/metrics", "").body, "aside_http_requests_in_flight 2\n")
	})
	return func() (string, error) {
		if _, err := io.WriteString(conn, body[5:]); err != nil {
			return "", err
		}
		return bufio.NewReader(conn).ReadString('\n')
	}
}

// After SIGTERM running requests are finished and new ones are refused. Acknowledged
// records exist after a restart.
func TestGracefulShutdown(t *testing.T) {
	data := t.TempDir()
	p := start(t, nil, "serve", "--data", data, "--shutdown-delay", "0s")
	finish := p.slowRequest("slow")
	p.signal(syscall.SIGTERM)
	testserver.Eventually(t, 10*time.Second, "new connections are refused", p.refuses)
	select {
	case <-p.ended:
		t.Fatal("it ended with a request under way")
	default:
	}
	if line, err := finish(); err != nil || !strings.Contains(line, " 201 ") {
		t.Fatalf("the request under way got %q, %v", line, err)
	}
	p.wantExit(0)
	again := start(t, nil, "serve", "--data", data)
	again.want(again.do("GET", "/todos/slow", ""), 200)
	again.signal(os.Interrupt)
	again.wantExit(0)
}

// refuses reports whether new connections are refused.
func (p *process) refuses() bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err == nil {
		conn.Close()
	}
	return err != nil
}

// After SIGTERM /readyz answers 503 while requests are still served. Then the listener
// closes. Caught: a listener that closed at once, so that a load balancer sent requests to
// it until its next health check.
func TestReadyzFailsBeforeTheListenerCloses(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--shutdown-delay", "2s")
	p.want(p.do("GET", "/readyz", ""), 200)
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	testserver.Eventually(t, 10*time.Second, "/readyz answers 503", func() bool { return p.do("GET", "/readyz", "").status == 503 })
	if r := p.do("GET", "/readyz", ""); !strings.Contains(r.body, `"status":"leaving"`) {
		t.Errorf("readyz: %s", r.body)
	}
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	p.want(p.do("GET", "/healthz", ""), 200)
	testserver.Eventually(t, 20*time.Second, "new connections are refused", p.refuses)
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("it closed its listener after %v", took)
	}
	p.wantExit(0)

	// Ctrl-C comes from a person, and the demo has no load balancer.
	for sig, args := range map[os.Signal][]string{
		os.Interrupt:    {"serve", "--data", t.TempDir(), "--shutdown-delay", "1h"},
		syscall.SIGTERM: {"demo", "--data", t.TempDir(), "--count", "1"},
	} {
		p := start(t, nil, args...)
		p.signal(sig)
		p.wantExit(0)
		if strings.Contains(p.logged(), "shutdown delay") {
			t.Errorf("%v: %v: it waited", args, sig)
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		sig   syscall.Signal
		code  int
		delay string
		says  string
	}{
		{syscall.SIGINT, 130, "0s", "shutting down"},
		{syscall.SIGTERM, 143, "0s", "shutting down"},
		{syscall.SIGTERM, 143, "1h", "shutdown delay"},
	} {
		p := start(t, nil, "serve", "--data", t.TempDir(), "--shutdown-delay", tt.delay)
		p.slowRequest("1") // never finished, so one signal alone would not end the process
		p.signal(tt.sig)
		testserver.Eventually(t, 10*time.Second, "it shuts down", func() bool { return strings.Contains(p.logged(), tt.says) })
		p.signal(tt.sig)
		p.wantExit(tt.code)
	}
}

func TestShutdownTimeoutAbortsRequests(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--shutdown-delay", "0s", "--shutdown-timeout", "10ms")
	p.slowRequest("1")
	p.signal(syscall.SIGTERM)
	p.wantExit(1)
	if !strings.Contains(p.logged(), "were aborted") {
		t.Error("the abort is not reported")
	}
}

func TestLimitsOnRequests(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--read-timeout", "300ms", "--max-header", "2000", "--max-body", "100")
	p.want(p.do("GET", "/todos/1", "", "X-Large: "+strings.Repeat("x", 20_000)), 431)
	p.want(p.do("POST", "/todos", `{"name":"`+strings.Repeat("x", 100)+`"}`), 413)

	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /todos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 408 ") {
		t.Errorf("a body that does not arrive got %q, %v", line, err)
	}
}

func TestAddressAndDataInUse(t *testing.T) {
	data := t.TempDir()
	p := start(t, nil, "serve", "--data", data)
	address := strings.TrimPrefix(p.url, "http://")
	_, stderr, code := asideRun(t, nil, "serve", "--data", t.TempDir(), "--listen", address)
	if code != 1 || !strings.Contains(stderr, "--listen "+address) || !strings.Contains(stderr, "choose another port") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	_, stderr, code = asideRun(t, nil, "serve", "--data", data, "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestAdminListener(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	hit := func() bool { return strings.Contains(p.do("GET", "/todos/1", "").cacheStatus(), "hit") }
	testserver.Eventually(t, 10*time.Second, "the record is cached", hit)
	p.want(p.do("POST", p.admin+"/flush", "", "Sec-Fetch-Site: cross-site"), 403)
	if !hit() {
		t.Error("flushed on behalf of another site")
	}
	p.want(p.do("POST", p.admin+"/flush", ""), 204)
	if hit() {
		t.Error("still cached after the flush")
	}
	p.want(p.do("GET", p.admin+"/debug/pprof/", ""), 200)
	if r := p.do("GET", p.admin+"/debug/pprof/cmdline", ""); r.status == 200 {
		t.Error("the command line, which may hold a password, is shown")
	}
	for _, path := range []string{"/flush", "/debug/pprof/"} {
		p.want(p.do("GET", path, ""), 404)
	}
	metrics := p.do("GET", "/metrics", "").body
	for _, name := range []string{"aside_requests_total", "aside_store_duration_seconds", "aside_load_duration_seconds", "go_goroutines", "process_cpu_seconds_total", "aside_build_info", "aside_degraded"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
}

// The flags of the listeners work: host names, docs, metrics, and strong reads.
func TestListenerFlags(t *testing.T) {
	p := start(t, []string{"ASIDE_ALLOWED_HOSTS=todo.example.com,*.example.org", "ASIDE_NO_DOCS=true"}, "serve", "--data", t.TempDir(),
		"--admin", "127.0.0.1:0", "--admin-metrics", "--max-strong-loads", "0", "--max-page", "300")
	ask := func(base, host string) int {
		req, err := http.NewRequest("GET", base, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for _, base := range []string{p.url + "/healthz", p.admin + "/metrics"} {
		for host, want := range map[string]int{"evil.example": 421, "todo.example.com": 200, "a.example.org:8000": 200, "localhost:1": 200} {
			if got := ask(base, host); got != want {
				t.Errorf("%s as %s: %d, want %d", base, host, got, want)
			}
		}
	}
	p.want(p.do("GET", "/docs", ""), 404)
	p.want(p.do("GET", "/metrics", ""), 404)
	p.want(p.do("GET", p.admin+"/metrics", ""), 200)
	for i := range 3 {
		p.want(p.do("POST", "/todos", fmt.Sprintf(`{"id":"%d","name":"n"}`, i)), 201)
	}
	if r := p.want(p.do("GET", "/todos", ""), 200); strings.Count(r.body, `"id"`) != 1 || !strings.Contains(r.body, "next_cursor") {
		t.Errorf("page: %s", r.body)
	}
	testserver.Eventually(t, 10*time.Second, "no-cache is ignored", func() bool {
		return p.do("GET", "/todos/1", "", "Cache-Control: no-cache").cacheStatus() == "aside; hit; detail=L1"
	})
	if r := p.do("GET", p.admin+"/debug/pprof/profile?seconds=9999", ""); r.status != 400 {
		t.Errorf("a long profile: %d", r.status)
	}

	open := start(t, nil, "serve", "--data", t.TempDir())
	if got := ask(open.url+"/healthz", "evil.example"); got != 421 {
		t.Errorf("a loopback listener answers under another name: %d", got)
	}
}

func TestDemo(t *testing.T) {
	data := t.TempDir()
	for i := range 2 {
		p := start(t, nil, "demo", "--count", fmt.Sprint(25+10*i), "--data", data)
		p.want(p.do("GET", "/todos/25", ""), 200)
		// The second time the store is not empty, and stays unchanged.
		p.want(p.do("GET", "/todos/26", ""), 404)
		p.printed("Serving 25 todos in " + data)
		p.printed("curl -i " + p.url + "/todos/1\n")
		p.signal(os.Interrupt)
		p.wantExit(0)
	}
}

func TestNoCache(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir(), "--no-cache")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	for range 2 {
		if r := p.want(p.do("GET", "/todos/1", ""), 200); r.cacheStatus() != "aside; fwd=bypass" {
			t.Errorf("Cache-Status: %s", r.cacheStatus())
		}
	}
	if r := p.want(p.do("GET", "/readyz", ""), 200); !strings.Contains(r.body, `"cache":{"status":"off"}`) {
		t.Errorf("readyz: %s", r.body)
	}
}

// The server starts and answers while Redis, MongoDB or PostgreSQL are down. It does not
// show their passwords.
func TestServersThatAreDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	const secret = "hunter2"
	t.Run("redis", func(t *testing.T) {
		p := start(t, []string{"ASIDE_REDIS=redis://user:" + secret + "@" + nobody}, "serve", "--data", t.TempDir(), "--log-level", "debug")
		p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
		p.want(p.do("GET", "/todos/1", ""), 200)
		if r := p.want(p.do("GET", "/readyz", ""), 200); !strings.Contains(r.body, `"status":"degraded"`) {
			t.Errorf("readyz: %s", r.body)
		}
		p.signal(os.Interrupt)
		p.wantExit(0)
		if strings.Contains(p.logged(), secret) {
			t.Error("the password is in the log")
		}
	})
	for name, url := range map[string]string{
		"mongo": "ASIDE_MONGO=mongodb://user:" + secret + "@" + nobody, "postgres": "ASIDE_POSTGRES=postgres://user:" + secret + "@" + nobody + "/todos",
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, []string{url}, "serve", "--log-level", "debug")
			for _, r := range []reply{p.do("GET", "/todos/1", ""), p.do("POST", "/todos", `{"name":"n"}`), p.do("GET", "/todos", "")} {
				if p.want(r, 503); r.header.Get("Retry-After") == "" || strings.Contains(r.body, nobody) {
					t.Errorf("%v %s", r.header, r.body)
				}
			}
			p.want(p.do("GET", "/readyz", ""), 503)
			p.want(p.do("GET", "/healthz", ""), 200)
			p.signal(os.Interrupt)
			p.wantExit(0)
			if strings.Contains(p.logged(), secret) {
				t.Error("the password is in the log")
			}
		})
	}
}
