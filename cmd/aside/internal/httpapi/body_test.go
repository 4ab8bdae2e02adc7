package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// raw is a connection on which the test writes requests by hand.
type raw struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (f *fixture) dial() *raw {
	f.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	return &raw{f.t, conn, bufio.NewReader(conn)}
}

func (c *raw) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one response. It returns nil if the connection is closed.
func (c *raw) answer(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// The server does not wait for a body that it does not need, with and without Expect:
// 100-continue. The server of this test has no read timeout. Caught: replacing the body of
// the request itself by a limited one, which made each of these wait for ever.
func TestUnneededBodiesAreNotAwaited(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), legacy("2", "two")})
	for _, tt := range []struct {
		name, head string
		status     int
	}{
		{"no such path", "POST /nope", 404},
		{"no such path, not in its shortest form", "POST /todos/./1", 404},
		{"method", "POST /todos/1", 405},
		{"method, slash at the end", "POST /todos/1/", 405},
		{"unknown method", "BREW /todos", 405},
		{"media type", "POST /todos\r\nContent-Type: text/plain", 415},
		{"compressed", "PUT /todos/1\r\nContent-Encoding: gzip", 415},
		{"id", "PUT /todos/%2E", 422},
		{"If-Match", "PUT /todos/1\r\nIf-Match: x", 400},
		{"another site", "POST /todos\r\nOrigin: http://evil\r\nSec-Fetch-Site: cross-site", 403},
		{"parameter", "GET /todos?limit=0", 422},
		{"read", "GET /todos/1", 200},
		{"head", "HEAD /todos/1", 200},
		{"page", "GET /todos", 200},
		{"not modified", "GET /todos/1\r\nIf-None-Match: *", 304},
		{"health", "GET /healthz", 200},
		{"metrics", "GET /metrics", 200},
		{"docs", "GET /docs/swagger-ui-bundle.js", 200},
		{"delete", "DELETE /todos/2", 204},
		{"delete again", "DELETE /todos/2", 404},
	} {
		for _, body := range []string{"Content-Length: 12", "Transfer-Encoding: chunked", "Content-Length: 100000000"} {
			for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
				t.Run(fmt.Sprint(tt.name, ", ", body, " ", expect), func(t *testing.T) {
					f.t = t
					f.store.Put(legacy("2", "two"))
					if tt.name == "delete again" {
						f.do("DELETE", "/todos/2", "")
					}
					c := f.dial()
					method, rest, _ := strings.Cut(tt.head, " ")
					line, headers, _ := strings.Cut(rest, "\r\n")
					if headers != "" {
						headers += "\r\n"
					}
					c.send(method + " " + line + " HTTP/1.1\r\nHost: x\r\n" + headers + expect + body + "\r\n\r\n")
					a := c.answer(method)
					if a == nil {
						t.Fatal("no answer")
					}
					if a.StatusCode != tt.status {
						t.Errorf("status %d, want %d", a.StatusCode, tt.status)
					}
					if !a.Close {
						t.Error("the connection stays open: what its client sends next would be taken for a request")
					}
				})
			}
		}
	}
}

// If Content-Length is too large, the request is refused before the body is sent.
// Caught: a "100 Continue" for a body of a gigabyte.
func TestOversizedBodyIsRefusedEarly(t *testing.T) {
	f := serve(t, nil)
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		c := f.dial()
		c.send("POST /todos HTTP/1.1\r\nHost: x\r\n" + expect + "Content-Length: 1000000000\r\n\r\n")
		if a := c.answer("POST"); a == nil || a.StatusCode != 413 || !a.Close {
			t.Errorf("%q: %+v", expect, a)
		}
	}
}

// A client that waits for 100 Continue gets it if the server needs the body.
func TestContinue(t *testing.T) {
	f := serve(t, nil)
	c := f.dial()
	const body = `{"id":"1","name":"n"}`
	fmt.Fprintf(c, "POST /todos HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	if a := c.answer("POST"); a == nil || a.StatusCode != 100 {
		t.Fatalf("%+v", a)
	}
	c.send(body)
	if a := c.answer("POST"); a == nil || a.StatusCode != 201 || a.Close {
		t.Fatalf("%+v", a)
	}
}

// A short body that no handler reads does not close the connection, and is not parsed as the
// next request. Caught: the connection was closed after each DELETE with a body.
func TestStrayBodyKeepsTheConnection(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	c := f.dial()
	const stray = "GET /stray HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, body := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(stray), stray),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(stray), stray),
	} {
		c.send("GET /todos/1 HTTP/1.1\r\nHost: x\r\n" + body)
		if a := c.answer("GET"); a == nil || a.StatusCode != 200 || a.Close {
			t.Fatalf("%+v", a)
		}
	}
	if a := f.do("GET", "/metrics", ""); strings.Contains(string(a.body), `route="/"`) {
		t.Error("the body was taken for a request")
	}
	// The rest of a body that arrives late is not a request either.
	c.send("POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n12345")
	if a := c.answer("POST"); a == nil || a.StatusCode != 404 {
		t.Fatalf("%+v", a)
	}
	_, _ = io.WriteString(c, stray)
	if a := c.answer("GET"); a != nil {
		t.Errorf("the rest of a body was answered: %+v", a)
	}
}
