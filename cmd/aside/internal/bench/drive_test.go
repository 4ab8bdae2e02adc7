package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// staticTarget answers every request with the same bytes, with as little work as possible.
// A measurement against it measures the generator.
func staticTarget(t testing.TB) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	body := `{"id":"123","name":"` + strings.Repeat("n", 30) + `","description":"` + strings.Repeat("d", 60) + `","completed":false,"version":1}`
	canned := []byte("HTTP/1.1 200 OK\r\nCache-Control: private, no-cache\r\nCache-Status: aside; hit; detail=L1\r\nContent-Type: application/json\r\n" +
		"Etag: \"1-8f3a5c7d9e1b2f40\"\r\nServer-Timing: cache;dur=0.001, total;dur=0.009\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\n" +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for n := 0; ; {
					got, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += got; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						n = 0
						if _, err := c.Write(canned); err != nil {
							return
						}
					}
				}
			})
		}
	})
	return "http://" + l.Addr().String() + "/todos"
}

func driveTodos(n int) (todos []todo.Todo) {
	for id := range n {
		todos = append(todos, todo.Todo{ID: fmt.Sprint(id + 1), Name: strings.Repeat("n", 30), Version: 1})
	}
	return todos
}

// bare is a minimal service in Go: net/http, a map, and the same record, marshalled for each
// request.
func bare(b *testing.B, records int) (url string) {
	byID := map[string]todo.Todo{}
	for _, t := range driveTodos(records) {
		byID[t.ID] = t
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /todos/{id}", func(w http.ResponseWriter, r *http.Request) {
		t, ok := byID[r.PathValue("id")]
		body, err := json.Marshal(t)
		if !ok || err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	s := httptest.NewServer(mux)
	b.Cleanup(s.Close)
	return s.URL + "/todos"
}

// service is the todo service with all requested records in L1.
func service(b *testing.B, records int) (url string) {
	cache, err := aside.New(aside.Options[string, todo.Todo]{L1Size: 2 * records})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cache.Close(context.Background()) })
	todos := driveTodos(records)
	handler, err := httpapi.New(httpapi.Options{Service: todo.NewService(todo.ServiceOptions{Store: todotest.New(todos...), Cache: cache})})
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(handler)
	b.Cleanup(s.Close)
	return s.URL + "/todos"
}

// BenchmarkDrive compares the throughput of the generator against a target that costs nearly
// nothing, against a minimal handler, and against the service, all in this process. If the
// first is several times the last, the generator is not the bottleneck.
//
//	go test ./internal/bench -run '^$' -bench Drive -benchtime 200000x -count 5
func BenchmarkDrive(b *testing.B) {
	const records = 1000
	all := ids.Range{First: 1, Last: records}
	for name, url := range map[string]string{"static": staticTarget(b), "bare": bare(b, records), "service": service(b, records)} {
		for _, users := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/users=%d", name, users), func(b *testing.B) {
				r, err := Run(context.Background(), Config{
					URL: url, Users: users, Requests: int64(b.N), Workload: ids.Uniform(all, 1), WarmUp: WarmUp{Once: true},
				})
				if err != nil || r.Failures() > 0 {
					b.Fatal(err, r.Failed)
				}
				b.ReportMetric(r.Rate(), "requests/s")
				b.ReportMetric(float64(r.CPU.Nanoseconds())/float64(b.N), "cpu-ns/request")
			})
		}
	}
}

// BenchmarkLoopback is the upper limit for any generator: goroutines that only send and
// receive the same bytes over the same number of connections.
func BenchmarkLoopback(b *testing.B) {
	url := staticTarget(b)
	host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/todos")
	request := []byte("GET /todos/123456 HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: aside-bench\r\n\r\n")
	for _, users := range []int{1, 100} {
		b.Run(fmt.Sprintf("users=%d", users), func(b *testing.B) {
			conns := make([]net.Conn, users)
			for i := range conns {
				c, err := net.Dial("tcp", host)
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				conns[i] = c
			}
			left := atomic.Int64{}
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for _, c := range conns {
				wg.Go(func() {
					buf := make([]byte, 4096)
					for left.Add(-1) >= 0 {
						_, err := c.Write(request)
						n, err2 := c.Read(buf) // all of it: it is sent in one piece
						if err := errors.Join(err, err2); err != nil || buf[n-1] != '}' {
							b.Error(err, string(buf[:n]))
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// A request allocates no memory in the generator. Caught: the body of a response was read
// into a new buffer.
func TestRequestsDoNotAllocate(t *testing.T) {
	c := Config{URL: staticTarget(t), Users: 1, Workload: ids.Uniform(ids.Range{First: 1, Last: 200_000}, 1), Timeout: defaultTimeout}
	e, err := c.endpoint()
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(c, e)
	u := r.newUser(0)
	defer u.line.close()
	once := func() {
		if !u.choose() {
			t.Fatal("the workload ended")
		}
		if v, _ := u.send(t.Context(), r.start, r.start); v != answered || len(r.recorders[0].tally.Failed) > 0 {
			t.Fatalf("%v, failed %v", v, r.recorders[0].tally.Failed)
		}
	}
	for range 100 {
		once()
	}
	// This also counts the goroutine of the target, and sometimes work of the runtime.
	if n := testing.AllocsPerRun(2000, once); n >= 1 {
		t.Errorf("%v allocations a request", n)
	}
}
