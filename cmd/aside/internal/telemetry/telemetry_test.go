package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// collector takes what is exported.
type collector struct {
	mu       sync.Mutex
	spans    []*traces.Span
	metrics  []string
	resource map[string]string
	hang     chan struct{} // nil, or closed when it may answer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.hang != nil {
		<-c.hang
		return
	}
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/v1/traces":
		var m collectortraces.ExportTraceServiceRequest
		if proto.Unmarshal(body, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		for _, rs := range m.ResourceSpans {
			c.resource = map[string]string{}
			for _, a := range rs.Resource.Attributes {
				c.resource[a.Key] = a.Value.GetStringValue()
			}
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	case "/v1/metrics":
		var m collectormetrics.ExportMetricsServiceRequest
		if proto.Unmarshal(body, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		for _, rm := range m.ResourceMetrics {
			for _, sm := range rm.ScopeMetrics {
				for _, x := range sm.Metrics {
					c.metrics = append(c.metrics, x.Name)
				}
			}
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// store answers one todo.
type store struct{ todo.Store }

func (store) Get(_ context.Context, id string) (todo.Todo, error) {
	if id == "none" {
		return todo.Todo{}, todo.ErrNotFound
	}
	return todo.Todo{ID: id}, nil
}

// set sets the variables, for the SDK too.
func set(t *testing.T, env map[string]string) {
	for k, v := range env {
		t.Setenv(k, v)
	}
}

// A request is one trace, from the client's to the store's, and Close sends it. Caught:
// a Close that does not; a span that is not below the client's.
func TestExport(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	set(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_SERVICE_NAME": "todo-service"})
	tele, err := Open(t.Context(), Options{Version: "v1", Node: "web-1", Log: slog.New(slog.DiscardHandler)})
	if err != nil || tele == nil || tele.What() != "traces and metrics" {
		t.Fatal(tele, err)
	}
	observer, measure, err := tele.Cache("todos")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := aside.New(aside.Options[string, todo.Todo]{Observer: observer})
	if err != nil {
		t.Fatal(err)
	}
	if err := measure(cache.Stats); err != nil {
		t.Fatal(err)
	}
	primary := tele.Store(store{}, "bbolt")
	loader := aside.LoaderFunc[string, todo.Todo](func(ctx context.Context, id string) (todo.Todo, error) {
		v, err := primary.Get(ctx, id)
		if errors.Is(err, todo.ErrNotFound) {
			err = aside.ErrNotFound
		}
		return v, err
	})
	h := tele.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.URL.Query().Get("id"); id != "" {
			_, _ = cache.Get(r.Context(), id, loader)
		}
		tele.Finished(r, "/todos/{id}", http.StatusOK, time.Millisecond)
	}))
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for _, target := range []string{"/todos/1?id=1", "/todos/1?id=1", "/todos/2?id=none", "/healthz"} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Header.Set("traceparent", "00-"+trace+"-b7ad6b7169203331-01")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	_ = cache.Close(t.Context())
	if err := tele.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var names []string
	parents := map[string]string{}
	for _, s := range c.spans {
		parents[string(s.SpanId)] = s.Name
	}
	for _, s := range c.spans {
		names = append(names, parents[string(s.ParentSpanId)]+"/"+s.Name)
		if s.Status.GetCode() == traces.Status_STATUS_CODE_ERROR {
			t.Errorf("%s failed: %v", s.Name, s.Status)
		}
	}
	slices.Sort(names)
	want := []string{"/GET /todos/{id}", "/GET /todos/{id}", "/GET /todos/{id}",
		"GET /todos/{id}/read todos", "GET /todos/{id}/read todos", "load todos/store get", "load todos/store get", "read todos/load todos", "read todos/load todos"}
	if !slices.Equal(names, want) {
		t.Errorf("spans %q, want %q", names, want)
	}
	if c.resource["service.name"] != "todo-service" || c.resource["service.instance.id"] != "web-1" || c.resource["service.version"] != "v1" {
		t.Errorf("resource %v", c.resource)
	}
	for _, name := range []string{"http.server.request.duration", "aside.operation.duration", "aside.requests"} {
		if !slices.Contains(c.metrics, name) {
			t.Errorf("no metric %s in %v", name, c.metrics)
		}
	}
}

// Without variables nothing is made, and nil does nothing. Caught: a goroutine that runs
// for nobody.
func TestOff(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	tele, err := Open(t.Context(), Options{Log: slog.New(slog.DiscardHandler), Getenv: func(string) string { return "" }})
	if tele != nil || err != nil {
		t.Fatal(tele, err)
	}
	observer, measure, err := tele.Cache("todos")
	if observer.Start != nil || observer.End != nil || measure(nil) != nil || err != nil {
		t.Error("a cache is observed")
	}
	h := http.NotFoundHandler()
	if s := (store{}); tele.Store(s, "") != todo.Store(s) {
		t.Error("the store is observed")
	}
	tele.Handler(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/todos", nil))
	if err := tele.Close(t.Context()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, ignore)
}

// A collector that hangs does not keep the service from ending. Caught: a Close that
// waits for it.
func TestCloseEnds(t *testing.T) {
	c := &collector{hang: make(chan struct{})}
	server := httptest.NewServer(c)
	defer server.Close()
	defer close(c.hang)
	set(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL})
	tele, err := Open(t.Context(), Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tele.tracer.Start(t.Context(), "x")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := tele.Close(ctx); err == nil {
		t.Error("Close says that all was sent")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}
