package sse

import (
	"bufio"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves streams that send n events, one every pause, with timeouts that are much
// shorter than a stream.
func serve(t *testing.T, s *Streams, n int, pause time.Duration) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := s.Serve(w, r, func(ctx context.Context, st *Stream) error {
			for i := range n {
				if err := st.Send("tick", []byte(fmt.Sprint(i))); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(pause):
				}
			}
			return nil
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 100*time.Millisecond, 150*time.Millisecond
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Body.Close() })
	return r
}

// A stream outlives the server's timeouts for requests and responses.
func TestStreamOutlivesTimeouts(t *testing.T) {
	s := New(1, make(chan struct{}))
	srv := serve(t, s, 5, 100*time.Millisecond)
	r := get(t, srv.URL) // the client unpacks gzip
	body, err := io.ReadAll(r.Body)
	want := "retry: 2000\n\n"
	for i := range 5 {
		want += fmt.Sprintf("event: tick\ndata: %d\n\n", i)
	}
	if err != nil || string(body) != want || !r.Uncompressed {
		t.Fatalf("%v, unpacked: %v\n%s", err, r.Uncompressed, body)
	}
	r, err = http.Head(srv.URL)
	if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %v %+v", err, r)
	}
	http.DefaultClient.CloseIdleConnections()
	if s.Open() != 0 {
		t.Errorf("%d streams are open", s.Open())
	}
}

// Each event is there when it was sent, also with gzip. Caught: events that waited for
// more in the compressor.
func TestEventsAreNotHeldBack(t *testing.T) {
	done := make(chan struct{})
	srv := serve(t, New(1, done), 2, time.Hour)
	lines := bufio.NewScanner(get(t, srv.URL).Body)
	for lines.Scan() && lines.Text() != "data: 0" {
	}
	if lines.Text() != "data: 0" {
		t.Fatal("no event")
	}
	close(done)
	for lines.Scan() { // ends, since the stream does
	}
}

// More streams than the limit are refused; one that ended makes room. When the server
// shuts down, all end and no new one begins.
func TestStreamsAreBoundedAndEnd(t *testing.T) {
	done := make(chan struct{})
	s := New(2, done)
	srv := serve(t, s, 2, time.Hour)
	a, b := get(t, srv.URL), get(t, srv.URL)
	if r := get(t, srv.URL); r.StatusCode != 503 {
		t.Errorf("the third stream: %d", r.StatusCode)
	}
	a.Body.Close()
	for s.Open() > 1 {
		time.Sleep(time.Millisecond)
	}
	c := get(t, srv.URL)
	if c.StatusCode != 200 {
		t.Errorf("after one has ended: %d", c.StatusCode)
	}
	close(done)
	for _, r := range []*http.Response{b, c} {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("the end of a stream: %v", err)
		}
	}
	if r := get(t, srv.URL); r.StatusCode != 503 {
		t.Errorf("after the shutdown: %d", r.StatusCode)
	}
}

// A client that does not read is dropped, in its own time or at once when the server
// shuts down. Caught: a shutdown that waited for the timeout of an event.
func TestClientThatDoesNotRead(t *testing.T) {
	for name, within := range map[string]time.Duration{"timeout": 200 * time.Millisecond, "shutdown": time.Hour} {
		t.Run(name, func(t *testing.T) {
			done, blocked, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			s := New(1, done)
			s.send = within
			var begun sync.Once
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = s.Serve(w, r, func(ctx context.Context, st *Stream) error {
					large := []byte(strings.Repeat("x", 1<<20))
					for {
						begun.Do(func() { close(blocked) })
						if err := st.Send("large", large); err != nil {
							ended <- err
							return err
						}
					}
				})
			}))
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-blocked
			if name == "shutdown" {
				close(done)
			}
			select {
			case err := <-ended:
				if err == nil {
					t.Error("no error")
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it holds the stream")
			}
		})
	}
}
