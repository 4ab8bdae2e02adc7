package httpwire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/asidetest/testsync"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustConn(t *testing.T, url string, timeout time.Duration) *Conn {
	t.Helper()
	e, err := Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(e, "wire-test", timeout)
	t.Cleanup(c.Close)
	return c
}

// peer is a server that calls handle for each connection.
func peer(t *testing.T, handle func(c net.Conn, r *bufio.Reader)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			})
		}
	})
	return "http://" + l.Addr().String()
}

// Each kind of incomplete response has its kind of failure, and the next request uses a new
// connection. Caught: bytes after a response, read as the next response; a truncated header
// reported as closed without a response; a connection used again after a failure.
func TestBrokenResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes string
		close bool
		want  Kind // "" is success
	}{
		"complete":                {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", false, ""},
		"complete, chunked":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false, ""},
		"until the end":           {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab", true, ""},
		"cut in the body":         {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", true, Truncated},
		"cut before the body":     {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", true, Truncated},
		"cut in the header":       {"HTTP/1.1 200 OK\r\nContent-Le", true, Truncated},
		"cut in the status":       {"HTTP/1.1 2", true, Truncated},
		"cut in a chunk":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true, Truncated},
		"nothing":                 {"", true, Closed},
		"longer than it says":     {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false, Malformed},
		"another protocol":        {"220 smtp.example.org ESMTP\r\n\r\n", false, Malformed},
		"a header without an end": {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*bufferSize), false, Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			url := peer(t, func(c net.Conn, r *bufio.Reader) {
				for {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					if _, err := io.WriteString(c, tt.bytes); err != nil || tt.close {
						return
					}
				}
			})
			c := mustConn(t, url, 20*time.Second)
			for i := range 3 {
				a, f := c.Do(t.Context())
				switch {
				case tt.want == "":
					if f != nil || a.Status != 200 || string(a.Body()) != "ab" {
						t.Errorf("request %d: %+v, %+v", i, a, f)
					}
				case f == nil || f.Kind != tt.want || f.Detail == "" || !f.Sent || f.Began.IsZero():
					t.Errorf("request %d: %+v; want %q, sent", i, f, tt.want)
				}
			}
			want := int64(3)
			if tt.want == "" && !tt.close {
				want = 1
			}
			if c.Dialed() != want {
				t.Errorf("%d connections, want %d", c.Dialed(), want)
			}
		})
	}
}

// Caught: the next request, without a body, sent the length of the previous body.
func TestDo(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Test", r.Header.Get("X-Test"))
		w.WriteHeader(418)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.EscapedPath(), r.UserAgent(), body)
	}))
	defer s.Close()
	c := mustConn(t, s.URL+"/todos/", 20*time.Second)
	for i, tt := range []struct{ method, body string }{
		{"PUT", "a"}, {"GET", ""}, {"POST", strings.Repeat("long ", 10_000)}, {"DELETE", ""}, {"PUT", "b"}, {"GET", ""},
	} {
		before := time.Now()
		c.Request.Header.SetMethod(tt.method)
		c.Request.Header.Set("X-Test", fmt.Sprint(i))
		c.Request.SetRequestURI(c.endpoint.Path + "/a%2Fb")
		c.Request.SetBodyString(tt.body)
		a, f := c.Do(t.Context())
		if f != nil {
			t.Fatal(f)
		}
		if a.Status != 418 || string(a.Header("X-Test")) != fmt.Sprint(i) || string(a.Body()) != tt.method+" /todos/a%2Fb wire-test "+tt.body {
			t.Errorf("%d, %s, %.100s", a.Status, a.Header("X-Test"), a.Body())
		}
		if a.Began.Before(before) || a.Ended.Before(a.Began) || time.Now().Before(a.Ended) {
			t.Errorf("began %v after, ended %v after", a.Began.Sub(before), a.Ended.Sub(before))
		}
	}
	if c.Dialed() != 1 {
		t.Errorf("%d connections, want 1", c.Dialed())
	}
}

// If Failure.Sent is false, the request was not sent. Caught: Sent depended on the kind of
// failure, so that a timeout during sending looked like a missing server.
func TestSent(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + l.Addr().String()
		l.Close()
		if _, f := mustConn(t, url, time.Second).Do(t.Context()); f == nil || f.Kind != Refused || f.Sent || !f.Began.IsZero() {
			t.Errorf("%+v", f)
		}
	})
	t.Run("no handshake", func(t *testing.T) {
		url := peer(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
		c := mustConn(t, "https"+strings.TrimPrefix(url, "http"), 50*time.Millisecond)
		if _, f := c.Do(t.Context()); f == nil || f.Kind != TimedOut || f.Sent || !f.Began.IsZero() {
			t.Errorf("%+v", f)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		read := make(chan string, 1)
		url := peer(t, func(_ net.Conn, r *bufio.Reader) {
			if req, err := http.ReadRequest(r); err == nil {
				read <- req.Method
			}
			_, _ = io.Copy(io.Discard, r)
		})
		c := mustConn(t, url, 50*time.Millisecond)
		if _, f := c.Do(t.Context()); f == nil || f.Kind != TimedOut || !f.Sent || f.Began.IsZero() {
			t.Errorf("%+v", f)
		}
		testsync.Await(t, "the request", read)
	})
	t.Run("aborted before", func(t *testing.T) {
		c := mustConn(t, peer(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }), 20*time.Second)
		c.Abort()
		if _, f := c.Do(t.Context()); f == nil || f.Sent {
			t.Errorf("%+v", f)
		}
	})
	t.Run("aborted while it waits", func(t *testing.T) {
		arrived := make(chan bool, 1)
		url := peer(t, func(_ net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			arrived <- true
			_, _ = io.Copy(io.Discard, r)
		})
		c := mustConn(t, url, 20*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer context.AfterFunc(ctx, c.Abort)()
		done := testsync.Async(func() *Failure { _, f := c.Do(ctx); return f })
		testsync.Await(t, "the request", arrived)
		cancel()
		if f := testsync.Await(t, "the end", done); f == nil || !f.Sent {
			t.Errorf("%+v", f)
		}
	})
}

// A request is sent only once, even on a dead connection: only the caller knows whether it
// can be repeated. Caught: a second attempt on a new connection.
func TestNothingIsSentTwice(t *testing.T) {
	var mu sync.Mutex
	var seen bytes.Buffer
	url := peer(t, func(c net.Conn, r *bufio.Reader) {
		for first := true; ; first = false {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			mu.Lock()
			fmt.Fprintln(&seen, req.URL.Path)
			mu.Unlock()
			if !first {
				return // like a server that closes an idle connection at this moment
			}
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	c := mustConn(t, url, 20*time.Second)
	for _, path := range []string{"/1", "/2", "/3"} {
		c.Request.SetRequestURI(path)
		_, f := c.Do(t.Context())
		if failed := path == "/2"; (f != nil) != failed || failed && (f.Kind != Closed || !f.Sent) {
			t.Errorf("%s: %+v", path, f)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if got := seen.String(); got != "/1\n/2\n/3\n" {
		t.Errorf("the server saw %q", got)
	}
}
