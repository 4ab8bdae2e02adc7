package asideotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideotel"
	"github.com/asidecache/aside/asidetest"
)

// bench is a cache with its telemetry in memory.
type bench struct {
	*aside.Cache[string, int]
	t      *testing.T
	spans  *tracetest.InMemoryExporter
	tracer api.Tracer
	reader *metric.ManualReader
	tele   *asideotel.Telemetry
}

func newBench(t *testing.T, o aside.Options[string, int], with asideotel.Options) *bench {
	t.Helper()
	b := &bench{t: t, spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	tp := trace.NewTracerProvider(trace.WithSyncer(b.spans))
	with.TracerProvider, with.MeterProvider = tp, metric.NewMeterProvider(metric.WithReader(b.reader))
	b.tracer = tp.Tracer("test")
	var err error
	if b.tele, err = asideotel.New("todos", with); err != nil {
		t.Fatal(err)
	}
	o.Name, o.Observer = "t", b.tele.Observer()
	if b.Cache, err = aside.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// want compares the spans that have ended since the last call, each as "name of its
// parent/name key=value ...", in a synctest bubble.
func (b *bench) want(want ...string) tracetest.SpanStubs {
	b.t.Helper()
	synctest.Wait()
	all := b.spans.GetSpans()
	b.spans.Reset()
	names := map[api.SpanID]string{}
	for _, s := range all {
		names[s.SpanContext.SpanID()] = s.Name
	}
	var got []string
	for _, s := range all {
		text := names[s.Parent.SpanID()] + "/" + s.Name
		for _, a := range s.Attributes {
			if a.Key != "aside.cache" {
				text += fmt.Sprintf(" %s=%v", strings.TrimPrefix(string(a.Key), "aside."), a.Value.AsInterface())
			}
		}
		for _, l := range s.Links {
			text += " -> " + names[l.SpanContext.SpanID()]
		}
		if s.Status.Code == codes.Error {
			text += " ERROR " + s.Status.Description
		}
		got = append(got, text)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("spans\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	return all
}

var errDown = errors.New("down")

// A miss is one trace, to the loader's own spans; a hit in L1 is none. Caught: a span
// of the loader that is not below that of the load; a hit that has a span.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, aside.Options[string, int]{L2: new(asidetest.Server).NewClient()}, asideotel.Options{})
		loader := func(v int, err error) aside.LoaderFunc[string, int] {
			return func(ctx context.Context, _ string) (int, error) {
				_, span := b.tracer.Start(ctx, "SELECT")
				span.End()
				return v, err
			}
		}
		ctx, root := b.tracer.Start(t.Context(), "GET /todos")
		if _, err := b.Get(ctx, "k", loader(1, nil)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		root.End()
		all := b.want("/GET /todos",
			"GET /todos/read todos source=load miss=absent",
			"read todos/lookup todos outcome=granted",
			"read todos/load todos outcome=loaded",
			"load todos/SELECT",
			"read todos/fill todos outcome=stored")
		for _, s := range all {
			if s.SpanContext.TraceID() != root.SpanContext().TraceID() {
				t.Errorf("%s is of another trace", s.Name)
			}
		}
		_, _ = b.Get(t.Context(), "k", loader(1, nil))
		b.want()
		_, _ = b.Read(t.Context(), "k", loader(1, nil), aside.Strong)
		b.want("/read todos strong=true source=l2", "read todos/lookup todos outcome=found")
		_, _ = b.Get(t.Context(), "none", loader(0, aside.ErrNotFound))
		b.want("/read todos source=load miss=absent negative=true", "read todos/lookup todos outcome=granted",
			"read todos/load todos outcome=absent", "load todos/SELECT", "read todos/fill todos outcome=stored")
		_, _ = b.Get(t.Context(), "bad", loader(0, fmt.Errorf("load: %w", errDown)))
		b.want("/read todos outcome=failed source=load miss=absent error.type=*errors.errorString ERROR load: down",
			"read todos/lookup todos outcome=granted", "load todos/SELECT",
			"read todos/load todos outcome=failed error.type=*errors.errorString ERROR load: down")

		write := func(err error) {
			_ = b.Write(t.Context(), "k", func(ctx context.Context, w *aside.WriteTx[string, int]) error {
				_, span := b.tracer.Start(ctx, "UPDATE")
				span.End()
				return err
			})
		}
		write(nil)
		b.want("/write todos outcome=written", "write todos/fence todos", "write todos/UPDATE", "write todos/release todos")
		write(aside.Aborted(errDown))
		b.want("/write todos outcome=refused error.type=*errors.errorString", "write todos/fence todos", "write todos/UPDATE", "write todos/release todos")
		write(errDown)
		b.want("/write todos outcome=unknown error.type=*errors.errorString ERROR down", "write todos/fence todos", "write todos/UPDATE")
	})
}

// What is refreshed while nobody waits says so. Caught: a load that looks like one that
// somebody waited for.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, aside.Options[string, int]{TTL: time.Minute, Jitter: -1, RefreshAhead: 0.5}, asideotel.Options{})
		loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 1, nil })
		_, _ = b.Get(t.Context(), "k", loader)
		b.want("/read todos source=load miss=no L2", "read todos/load todos outcome=loaded")
		time.Sleep(59 * time.Second)
		_, _ = b.Get(t.Context(), "k", loader)
		b.want("/load todos background=true outcome=loaded")
	})
}

// Two requests share one load: the second has a link to it, and is of its own trace. A
// load for several keys has one span. Caught: a follower below the leader's span.
func TestLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, aside.Options[string, int]{}, asideotel.Options{})
		held := make(chan struct{})
		loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { <-held; return 1, nil })
		get := func(name string) {
			ctx, span := b.tracer.Start(t.Context(), name)
			defer span.End()
			_, _ = b.Get(ctx, "k", loader)
		}
		go get("first")
		synctest.Wait()
		go get("second")
		synctest.Wait()
		close(held)
		all := b.want("/first", "first/read todos source=load miss=no L2", "read todos/load todos outcome=loaded",
			"/second", "second/read todos source=load miss=no L2 coalesced=true -> load todos")
		traces := map[api.TraceID]bool{}
		for _, s := range all {
			traces[s.SpanContext.TraceID()] = true
		}
		if len(traces) != 2 {
			t.Errorf("%d traces, want one for each request", len(traces))
		}
		_, _ = b.GetMany(t.Context(), []string{"k", "l", "m"}, aside.BulkLoaderFunc[string, int](func(_ context.Context, keys []string) (map[string]int, error) {
			return map[string]int{"l": 1}, nil
		}))
		b.want("/read todos keys=2", "read todos/load todos keys=2 outcome=loaded")
	})
}

// Keys and hits are told only to those who ask. Caught: keys in spans by default.
func TestKeysAndHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, aside.Options[string, int]{}, asideotel.Options{Hits: true, Key: func(key any) string { return key.(string) + "!" }})
		loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 1, nil })
		_, _ = b.Get(t.Context(), "k", loader)
		b.want("/read todos key=k! source=load miss=no L2", "read todos/load todos key=k! outcome=loaded")
		ctx, span := b.tracer.Start(t.Context(), "root")
		_, _ = b.Get(ctx, "k", loader)
		span.End()
		if s := b.want("/root"); len(s) == 1 && (len(s[0].Events) != 1 || s[0].Events[0].Name != "aside.hit" || !slices.Contains(s[0].Events[0].Attributes, attribute.String("aside.key", "k!"))) {
			t.Errorf("events: %+v", s[0].Events)
		}
	})
}

// A program whose sampler takes no trace gets its answers, and its metrics. Caught: a
// span that is asked for while nothing is recorded.
func TestNotSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		tele, err := asideotel.New("todos", asideotel.Options{
			TracerProvider: trace.NewTracerProvider(trace.WithSampler(trace.NeverSample())),
			MeterProvider:  metric.NewMeterProvider(metric.WithReader(reader)),
			Key:            func(any) string { t.Error("the key of a span that is not recorded"); return "" },
		})
		if err != nil {
			t.Fatal(err)
		}
		cache, err := aside.New(aside.Options[string, int]{Observer: tele.Observer()})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close(context.Background())
		stop, err := tele.Measure(cache.Stats)
		if err != nil {
			t.Fatal(err)
		}
		loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { time.Sleep(time.Millisecond); return 1, nil })
		for range 3 {
			if v, err := cache.Get(t.Context(), "k", loader); v != 1 || err != nil {
				t.Error(v, err)
			}
		}
		got := collect(t, reader)
		for name, want := range map[string]string{
			`aside.requests{aside.cache=todos aside.result=hit aside.source=l1}`:                    "2",
			`aside.requests{aside.cache=todos aside.result=miss aside.source=load}`:                 "1",
			`aside.loads{aside.cache=todos}`:                                                        "1",
			`aside.entries{aside.cache=todos}`:                                                      "1",
			`aside.degraded{aside.cache=todos aside.cause=failing}`:                                 "0",
			`aside.operation.duration{aside.cache=todos aside.operation=read aside.source=load}`:    "1 of 0.001",
			`aside.operation.duration{aside.cache=todos aside.operation=load aside.outcome=loaded}`: "1 of 0.001",
		} {
			if got[name] != want {
				t.Errorf("%s = %q, want %q", name, got[name], want)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, ok := collect(t, reader)["aside.loads{aside.cache=todos}"]; ok {
			t.Error("statistics are still exported")
		}
	})
}

// collect returns each figure by its name and attributes.
func collect(t *testing.T, r *metric.ManualReader) map[string]string {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	name := func(m metricdata.Metrics, set attribute.Set) string {
		var of []string
		for _, a := range set.ToSlice() {
			of = append(of, string(a.Key)+"="+a.Value.String())
		}
		return m.Name + "{" + strings.Join(of, " ") + "}"
	}
	set := func(m metricdata.Metrics) func(attribute.Set, any) {
		return func(attrs attribute.Set, v any) { got[name(m, attrs)] = fmt.Sprint(v) }
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[float64]:
				each(d.DataPoints, set(m))
			case metricdata.Sum[int64]:
				each(d.DataPoints, set(m))
			case metricdata.Gauge[float64]:
				each(d.DataPoints, set(m))
			case metricdata.Gauge[int64]:
				each(d.DataPoints, set(m))
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					got[name(m, p.Attributes)] = fmt.Sprintf("%d of %v", p.Count, p.Sum)
				}
			default:
				t.Errorf("%s is a %T", m.Name, d)
			}
		}
	}
	return got
}

func each[N int64 | float64](points []metricdata.DataPoint[N], set func(attribute.Set, any)) {
	for _, p := range points {
		set(p.Attributes, p.Value)
	}
}
