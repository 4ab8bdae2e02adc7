package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func with(set func(*httpapi.Options)) option {
	return func(_ *aside.Options[string, todo.Todo], o *httpapi.Options) { set(o) }
}

type listing struct {
	Todos   []todo.Todo `json:"todos"`
	Next    string      `json:"next_cursor"`
	Missing []string    `json:"missing"`
	Rest    []string    `json:"rest"`
}

// large returns n records of the maximum size. Each character of the texts needs six bytes
// in JSON.
func large(n int) (records []todo.Todo) {
	for i := range n {
		records = append(records, todo.Todo{
			ID: fmt.Sprintf("%04d", i), Name: strings.Repeat("\x01", todo.MaxNameBytes),
			Description: ptr(strings.Repeat("\x01", todo.MaxDescriptionBytes)),
		})
	}
	return records
}

// A page ends before it exceeds its size in bytes. A batch lists the ids that do not fit.
// With further requests all records are read. Caught: a page of 78 MB with 200 valid
// records.
func TestPagesHaveALimitInBytes(t *testing.T) {
	const count, most = 40, 1 << 20
	records := append(large(count), legacy("9998", "small"), legacy("9999", "small"))
	f := serve(t, records)
	for round := range 2 { // the second request knows their size
		seen := 0
		for path := "/todos?limit=200"; path != ""; {
			a := f.want(f.do("GET", path, ""), 200)
			if len(a.body) > most+1000 {
				t.Fatalf("a page of %d bytes", len(a.body))
			}
			var page listing
			a.json(t, &page)
			for _, r := range page.Todos {
				if r.ID != records[seen].ID {
					t.Fatalf("record %d is %s", seen, r.ID)
				}
				seen++
			}
			path = ""
			if page.Next != "" {
				path = "/todos?limit=200&cursor=" + page.Next
			}
		}
		if seen != len(records) {
			t.Errorf("round %d: %d records, want %d", round, seen, len(records))
		}
	}
	before := f.store.Calls("list")
	f.want(f.do("GET", "/todos?limit=200", ""), 200)
	if n := f.store.Calls("list") - before; n != 1 {
		t.Errorf("%d questions to the store for a page of %d", n, most)
	}

	ids := []string{"none"}
	for _, r := range records {
		ids = append(ids, r.ID)
	}
	seen, missing := 0, 0
	for len(ids) > 0 {
		a := f.want(f.do("GET", "/todos?ids="+strings.Join(ids, ","), ""), 200)
		if len(a.body) > most+2000 {
			t.Fatalf("a batch of %d bytes", len(a.body))
		}
		var batch listing
		a.json(t, &batch)
		missing += len(batch.Missing)
		for _, r := range batch.Todos {
			if r.ID != records[seen].ID {
				t.Fatalf("record %d is %s", seen, r.ID)
			}
			seen++
		}
		if ids = batch.Rest; len(batch.Todos) == 0 {
			break
		}
	}
	if seen != len(records) || missing != 1 {
		t.Errorf("%d records and %d missing in batches", seen, missing)
	}
}

// A record that is larger than the maximum is a page alone.
func TestPageOfOneGiant(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", strings.Repeat("x", 5000)), legacy("2", "n"), legacy("3", "n")}, with(func(o *httpapi.Options) { o.MaxPage = 1000 }))
	var page listing
	f.want(f.do("GET", "/todos", ""), 200).json(t, &page)
	if len(page.Todos) != 1 || page.Next == "" {
		t.Errorf("%d records, cursor %q", len(page.Todos), page.Next)
	}
	f.want(f.do("GET", "/todos?cursor="+page.Next, ""), 200).json(t, &page)
	if len(page.Todos) != 2 {
		t.Errorf("%d records behind it", len(page.Todos))
	}
}

// A page of usual records needs one read from the store. Caught: all pages were read in
// pieces because records might be large.
func TestUsualPagesAreOnePiece(t *testing.T) {
	var records []todo.Todo
	for i := range 300 {
		records = append(records, legacy(fmt.Sprintf("%03d", i), "name"))
	}
	f := serve(t, records)
	for i := range 20 {
		f.want(f.do("GET", "/todos", ""), 200)
		if n := f.store.Calls("list"); n != i+1 {
			t.Fatalf("%d questions for %d pages", n, i+1)
		}
	}
}

// Requests above the limit get 503 and Retry-After, except those to health endpoints.
func TestRequestsInFlight(t *testing.T) {
	f := serve(t, nil, with(func(o *httpapi.Options) { o.MaxRequests = 2 }))
	g := testsync.NewGate(t)
	f.store.Before(func(_ context.Context, op, id string) error {
		if op != "ping" {
			g.Pass(id)
		}
		return nil
	})
	first := testsync.Async(func() *answer { return f.do("GET", "/todos/1", "") })
	second := testsync.Async(func() *answer { return f.do("GET", "/todos/2", "") })
	testsync.Await(t, "the first", g.Arrived)
	testsync.Await(t, "the second", g.Arrived)
	for _, path := range []string{"/todos/3", "/todos", "/docs", "/nope", "/healthz/x"} {
		a := f.want(f.do("GET", path, ""), 503)
		if a.Header.Get("Retry-After") != "1" || !strings.Contains(string(a.body), `"busy"`) {
			t.Errorf("%s: %v %s", path, a.Header, a.body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/readyz/"} {
		f.want(f.do("GET", path, ""), 200)
	}
	g.Open()
	f.want(testsync.Await(t, "the first", first), 404)
	f.want(testsync.Await(t, "the second", second), 404)
	f.want(f.do("GET", "/todos/3", ""), 404)
}

// Pages and batches have a separate limit, which does not affect reads of one record. A slot
// is released however the request ends.
func TestListsInFlight(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")}, with(func(o *httpapi.Options) { o.MaxLists = 1 }))
	f.warm("1")
	g := testsync.NewGate(t)
	f.store.Before(func(_ context.Context, op, _ string) error {
		if op == "list" {
			g.Pass(op)
		}
		return nil
	})
	first := testsync.Async(func() *answer { return f.do("GET", "/todos", "") })
	testsync.Await(t, "the first page", g.Arrived)
	for _, path := range []string{"/todos", "/todos?ids=1"} {
		if a := f.want(f.do("GET", path, ""), 503); a.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %v", path, a.Header)
		}
	}
	f.want(f.do("GET", "/todos/1", ""), 200)
	g.Open()
	f.want(testsync.Await(t, "the first page", first), 200)
	f.store.Before(func(context.Context, string, string) error { panic("in the store") })
	f.want(f.do("GET", "/todos", ""), 500)
	f.store.FailWith(todo.ErrUnavailable)
	f.want(f.do("GET", "/todos", ""), 503)
	f.store.FailWith(nil)
	f.want(f.do("GET", "/todos?limit=0", ""), 422)
	f.want(f.do("GET", "/todos", "", "Sec-Fetch-Site: cross-site"), 403)
	f.want(f.do("GET", "/todos", ""), 200)
}

// behind serves h with an http.Server that setup has configured.
func behind(t *testing.T, f *fixture, h http.Handler, setup func(*http.Server)) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	setup(srv.Config)
	srv.Start()
	t.Cleanup(srv.Close)
	f.url = srv.URL
}

func handler(t *testing.T, f *fixture, o httpapi.Options) *httpapi.Server {
	t.Helper()
	o.Service = todo.NewService(todo.ServiceOptions{Store: f.store})
	h, err := httpapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A connection above the limit gets 503, or the response of a health endpoint, and is closed.
// Far above the limit, connections are closed at once. When others close, new ones work.
func TestConnections(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	conns := httpapi.NewConnections(3)
	behind(t, f, handler(t, f, httpapi.Options{Connections: conns}), conns.Limit)
	get := func(c *raw, path string) *http.Response {
		_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		return c.answer("GET")
	}
	var idle []*raw
	for range 3 {
		c := f.dial()
		if a := get(c, "/todos/1"); a == nil || a.StatusCode != 200 || a.Close {
			t.Fatalf("%+v", a)
		}
		idle = append(idle, c)
	}
	for range 2 {
		c := f.dial()
		if a := get(c, "/todos/1"); a == nil || a.StatusCode != 503 || !a.Close || a.Header.Get("Retry-After") != "1" {
			t.Fatalf("%+v", a)
		}
		c = f.dial()
		if a := get(c, "/healthz"); a == nil || a.StatusCode != 200 || !a.Close {
			t.Fatalf("%+v", a)
		}
	}
	if a := get(idle[0], "/todos/1"); a == nil || a.StatusCode != 200 || a.Close {
		t.Errorf("a connection below the limit: %+v", a)
	}
	var more []*raw
	for range 80 { // none of them sends a request
		more = append(more, f.dial())
	}
	eventually(t, "a connection is closed at once", func() bool {
		return slices.ContainsFunc(more, func(c *raw) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.r.Peek(1)
			return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
		})
	})
	for _, c := range append(more, idle...) {
		c.Close()
	}
	eventually(t, "connections are let in again", func() bool {
		a := get(f.dial(), "/todos/1")
		return a != nil && a.StatusCode == 200
	})
}

// HTTP/2 connections are counted once, and no longer when they are closed.
func TestConnectionsOfHTTP2(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	conns := httpapi.NewConnections(2)
	srv := httptest.NewUnstartedServer(handler(t, f, httpapi.Options{Connections: conns}))
	conns.Limit(srv.Config)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	for i := range 20 {
		tr := srv.Client().Transport.(*http.Transport).Clone()
		resp, err := (&http.Client{Transport: tr}).Get(srv.URL + "/todos/1")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		tr.CloseIdleConnections()
		if resp.ProtoMajor != 2 {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		if resp.StatusCode == 503 { // the server has not noticed yet that the previous ones are closed
			eventually(t, fmt.Sprintf("room for connection %d", i), func() bool {
				tr := srv.Client().Transport.(*http.Transport).Clone()
				defer tr.CloseIdleConnections()
				resp, err := (&http.Client{Transport: tr}).Get(srv.URL + "/todos/1")
				if err != nil {
					return false
				}
				resp.Body.Close()
				return resp.StatusCode == 200
			})
		}
	}
}

// The connection of a client that does not read is closed, and its slot is released.
func TestClientsThatDoNotRead(t *testing.T) {
	f := serve(t, large(40))
	h := handler(t, f, httpapi.Options{MaxPage: 32 << 20, MaxLists: 1, SendTimeout: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	behind(t, f, h, func(s *http.Server) {
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10)
			return ctx
		}
	})
	c := f.dial()
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.send("GET /todos HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := c.r.Peek(1); err != nil { // the page is being sent
		t.Fatal(err)
	}
	eventually(t, "the place is free", func() bool { return f.do("GET", "/todos?limit=1", "").StatusCode == 200 })
	n, err := io.Copy(io.Discard, c.r)
	if n > 10<<20 {
		t.Errorf("all of the page arrived: %d bytes, %v", n, err)
	}
	if log := f.log.String(); strings.Contains(log, "ERROR") {
		t.Errorf("the log of the server: %s", log)
	}
}

// Strong reads may cause a limited number of loads per second. Further ones are refused.
// Default reads, and strong reads without a load, are not.
func TestStrongLoads(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), legacy("2", "two")}, with(func(o *httpapi.Options) { o.StrongLoads = 3 }))
	f.warm("1", "2")
	strong := func(path, header string) int {
		a := f.do("GET", path, "", header)
		if a.StatusCode == 503 {
			f.want(a, 503)
			if a.Header.Get("Retry-After") != "1" || !strings.Contains(string(a.body), "strong_reads_limited") {
				t.Errorf("%v %s", a.Header, a.body)
			}
		}
		return a.StatusCode
	}
	before := f.store.Calls("get") + f.store.Calls("get_many")
	answered, refused := 0, 0
	start := time.Now()
	for i := range 60 {
		path := []string{"/todos/1", "/todos/none", "/todos?ids=1,2"}[i%3]
		header := []string{"Cache-Control: no-cache", "Cache-Control: max-age=0"}[i%2]
		if strong(path, header) == 503 {
			refused++
		} else {
			answered++
		}
	}
	loads := f.store.Calls("get") + f.store.Calls("get_many") - before
	if most := 3*(int(time.Since(start)/time.Second)+1) + 2; loads > most || refused == 0 || answered == 0 {
		t.Errorf("%d loads, at most %d; %d answered, %d refused", loads, most, answered, refused)
	}
	f.want(f.do("GET", "/todos/1", ""), 200)
	f.want(f.do("GET", "/todos?ids=1,2", ""), 200)
	eventually(t, "a second later there is room again", func() bool { return strong("/todos/1", "Cache-Control: no-cache") == 200 })

	ignored := serve(t, []todo.Todo{legacy("1", "one")}, with(func(o *httpapi.Options) { o.IgnoreStrong = true }))
	ignored.warm("1")
	before = ignored.store.Calls("get")
	for range 10 {
		a := ignored.want(ignored.do("GET", "/todos/1", "", "Cache-Control: no-cache"), 200)
		if got := a.Header.Get("Cache-Status"); got != "aside; hit; detail=L1" {
			t.Errorf("Cache-Status: %s", got)
		}
	}
	if n := ignored.store.Calls("get") - before; n != 0 {
		t.Errorf("%d loads", n)
	}
}

// Caught: /readyz answered 200 until the listener closed, so that a load balancer sent
// requests to a closed port.
func TestLeave(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	h := handler(t, f, httpapi.Options{})
	behind(t, f, h, func(*http.Server) {})
	c := f.dial()
	c.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := c.answer("GET"); a == nil || a.StatusCode != 200 || a.Close {
		t.Fatalf("%+v", a)
	}
	h.Leave()
	if a := f.do("GET", "/readyz", ""); a.StatusCode != 503 || !strings.Contains(string(a.body), `"status":"leaving"`) {
		t.Errorf("readyz: %d %s", a.StatusCode, a.body)
	}
	f.want(f.do("GET", "/healthz", ""), 200)
	c.send("GET /todos/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if a := c.answer("GET"); a == nil || a.StatusCode != 200 || !a.Close {
		t.Errorf("a request to a server that leaves: %+v", a)
	}
}
