package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/page"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// hostile is a text that does harm where it is taken for HTML.
const hostile = `<img src=/x onerror="document.title='harm'"><script>document.title='harm'</script>`

// service is the real API on a store in memory with a cache of two tiers. Dashboard,
// operators' calls and story answer what the tests want, in the form of the real ones.
type service struct {
	URL   string
	store *todotest.Store
	cache *aside.Cache[string, todo.Todo]

	mu      sync.Mutex
	config  map[string]any
	refuse  int               // status of the events; 0: they are sent
	entries map[string]string // answers of /ops/inspect
	alone   bool              // drops reach this server alone
	watched chan string       // events of /ops/watch
	nodes   int
	trouble map[string]any // of the last samples
	end     chan struct{}  // closed: the streams end
}

func serve(t *testing.T) *service {
	t.Helper()
	s := &service{
		config: map[string]any{
			"node": "node-1", "node_id": "0123456789ab", "version": "v1.2.3", "store": "embedded, ./aside-data", "cache": "memory and Redis",
			"docs": true, "metrics": true, "ops": "open", "story": true, "started": 1,
		},
		entries: map[string]string{}, watched: make(chan string), nodes: 1, end: make(chan struct{}),
	}
	s.store = todotest.New()
	for i := range 45 {
		text := fmt.Sprintf("Text of %d", i+1)
		s.store.Put(todo.Todo{ID: fmt.Sprint(i + 1), Name: fmt.Sprintf("Todo number %d", i+1), Description: &text, Version: 1, Completed: i%4 == 3, CreatedAt: time.Now(), UpdatedAt: time.Now()})
	}
	s.store.Put(todo.Todo{ID: "hostile", Name: hostile, Description: new(hostile), Version: 1, CreatedAt: time.Now(), UpdatedAt: time.Now()})
	var l2 asidetest.Server
	var err error
	s.cache, err = aside.New(aside.Options[string, todo.Todo]{Name: "todos", L2: l2.NewClient()})
	if err != nil {
		t.Fatal(err)
	}
	h, err := httpapi.New(httpapi.Options{
		Service: todo.NewService(todo.ServiceOptions{Store: s.store, Cache: s.cache}),
		Mounts: httpapi.Mounts{
			Page: page.Handler(), Dashboard: http.HandlerFunc(s.dashboard), Ops: http.HandlerFunc(s.ops), Story: http.HandlerFunc(s.story),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	s.URL = server.URL
	t.Cleanup(func() {
		close(s.end)
		server.CloseClientConnections()
		server.Close()
		_ = s.cache.Close(context.Background())
	})
	return s
}

// set changes what is answered.
func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *service) dashboard(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	config, refuse := s.config, s.refuse
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/page/config" && config == nil:
		httpapi.WriteProblem(w, 404, "no_such_path", "This path does not exist.")
	case r.URL.Path == "/page/config":
		httpapi.WriteJSON(w, 200, config)
	case refuse != 0:
		httpapi.WriteProblem(w, refuse, "too_many_streams", "This server already sends 32 such streams.")
	default:
		s.events(w, r)
	}
}

// events sends a history, and then samples faster than time.
func (s *service) events(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Truncate(time.Second).UnixMilli()
	nodes := map[string]any{}
	s.mu.Lock()
	names := []string{"node-1", "node-2", "node-3"}[:s.nodes]
	s.mu.Unlock()
	info := map[string]any{"id": "0123456789ab", "version": "v1.2.3", "url": "http://127.0.0.1:8000", "started": now - 3723000, "uptime_s": 3723, "store": "embedded", "cache": "memory and Redis"}
	for k, name := range names {
		var samples []map[string]any
		for i := -899; i <= 0; i++ {
			samples = append(samples, sample(now+int64(i)*1000, k))
		}
		nodes[name] = map[string]any{"info": announced(info, name), "samples": samples}
	}
	send(w, "history", map[string]any{"nodes": nodes})
	for i := int64(1); ; i++ {
		select {
		case <-r.Context().Done():
			return
		case <-s.end:
			return
		case <-time.After(250 * time.Millisecond):
		}
		nodes := map[string]any{}
		for k, name := range names {
			one := sample(now+i*1000, k)
			s.mu.Lock()
			for field, v := range s.trouble {
				one[field] = v
			}
			s.mu.Unlock()
			nodes[name] = map[string]any{"info": announced(info, name), "sample": one}
		}
		send(w, "sample", map[string]any{"nodes": nodes})
	}
}

func sample(t int64, node int) map[string]any {
	x := float64(t/1000)/60 + float64(node)
	wave := func(mean, swing, speed float64) float64 {
		return math.Round(mean + swing*math.Sin(x*speed) + swing/3*math.Sin(x*speed*7.3))
	}
	loads := wave(30, 12, 3)
	return map[string]any{
		"t": t, "requests": wave(900, 120, 1), "errors": 0, "p50": 0.08, "p95": 0.4 + 0.1*math.Sin(x), "p99": 3 + math.Sin(x*2),
		"l1": wave(780, 90, 1), "l2": wave(90, 20, 2), "misses": loads, "negatives": 4, "stale": 0, "coalesced": 6, "failures": 0,
		"loads": loads, "load_failures": 0, "running": 1, "queued": 0, "load_p50": 2.1, "load_p99": 5.5 + math.Sin(x),
		"fences": wave(20, 5, 2), "published": wave(19, 5, 2), "fills_refused": 1, "inv_in": wave(40, 8, 2), "inv_out": wave(20, 5, 2), "pending": 0,
		"l1_entries": 8000 + 200*math.Sin(x), "l1_cost": 1 << 20, "evictions": wave(6, 3, 4), "flushes": 0,
		"l2_ops": 120, "l2_errors": 0, "l2_p50": 0.2, "l2_p99": 0.9 + 0.2*math.Sin(x), "db_ops": 50, "db_errors": 0, "db_p50": 1.9, "db_p99": 5 + math.Sin(x),
		"feed_changes": wave(22, 5, 2), "feed_lag": 3 + math.Sin(x), "degraded": "", "feed": "fed", "feed_reason": "", "breaker": "closed",
	}
}

func send(w http.ResponseWriter, event string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, b)
	_ = http.NewResponseController(w).Flush()
}

func (s *service) ops(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	s.mu.Lock()
	mode, answer, alone := s.config["ops"], s.entries[id], s.alone
	s.mu.Unlock()
	if mode == "token" && r.Header.Get("Authorization") != "Bearer secret" {
		httpapi.WriteProblem(w, http.StatusUnauthorized, "unauthorized", "The token is missing or wrong.")
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /ops/inspect":
		if answer == "" {
			answer = absent(id)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	case "POST /ops/drop":
		if err := s.cache.Invalidate(r.Context(), id); err != nil {
			httpapi.WriteError(w, err, true)
			return
		}
		if alone {
			httpapi.WriteProblem(w, http.StatusServiceUnavailable, "cache_unavailable", "Dropped on this server alone.")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "GET /ops/watch":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "retry: 2000\n\n")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case e := <-s.watched:
				send(w, "key", json.RawMessage(e))
			case <-r.Context().Done():
				return
			case <-s.end:
				return
			}
		}
	default:
		httpapi.WriteProblem(w, 404, "no_such_path", "This path does not exist.")
	}
}

func absent(id string) string {
	b, _ := json.Marshal(map[string]any{
		"key": "k:" + id, "l2_key": "aside:todos:1:" + id, "l1": nil, "l2": nil, "l2_error": "", "primary": map[string]any{"found": false, "took_ms": 0.4},
		"verdict": "absent", "explain": "The database has no such record, and the cache has nothing.",
	})
	return string(b)
}

func (s *service) story(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /story":
		httpapi.WriteJSON(w, 200, []map[string]any{
			{"name": "burst", "title": "A burst on a cold key", "what": "A hundred requests ask for one record that is not cached.", "available": true, "reason": ""},
			{"name": "broken", "title": "A change behind the cache", "what": "The record is changed in the database itself.", "available": true, "reason": ""},
			{"name": "redis-down", "title": "Redis gone for ten seconds", "what": "The proxy in front of Redis refuses everything.", "available": false, "reason": "this demo has no Redis"},
		})
	case "POST /story/burst":
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, line := range []string{
			`{"t_ms":0.2,"text":"The record 7 is dropped from the cache.","level":"info"}`,
			`{"t_ms":3.5,"text":"100 requests are sent at once.","level":"info"}`,
			`{"t_ms":8.1,"text":"All were answered.","level":"good"}`,
			`{"t_ms":8.2,"text":"` + `<b>none</b> failed","level":"bad"}`,
			`{"done":true,"text":"100 requests, 1 load","facts":{"requests":100,"loads":1,"coalesced":99}}`,
		} {
			fmt.Fprintln(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	case "POST /story/broken":
		httpapi.WriteError(w, errors.New("secret of the server"), false)
	default:
		httpapi.WriteProblem(w, 404, "no_such_path", "This path does not exist.")
	}
}

// announced is what a node says of itself. One of them means harm.
func announced(info map[string]any, name string) map[string]any {
	out := maps.Clone(info)
	if name == "node-3" {
		out["url"] = "javascript:document.title='harm'"
	}
	return out
}
