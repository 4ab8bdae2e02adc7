// Package telemetry exports traces and metrics of the service with OpenTelemetry, as the
// environment variables of its specification say. If they say nothing, it does nothing.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideotel"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Options of Open.
type Options struct {
	Version, Node string // of the service, for who reads the traces
	Log           *slog.Logger
	Getenv        func(string) string // nil: os.Getenv
}

// Telemetry exports. Of nil nothing is exported, at no cost.
type Telemetry struct {
	traces  trace.TracerProvider
	metrics metric.MeterProvider
	tracer  trace.Tracer
	carrier propagation.TextMapPropagator
	took    metric.Float64Histogram
	stops   []func(context.Context) error
}

const scope = "github.com/asidecache/aside/cmd/aside"

// Open starts what the environment asks for, and returns nil if that is nothing. Call
// Close. An exporter whose collector cannot be reached is no error: it is logged, and
// tried again.
func Open(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	s, err := read(o.Getenv)
	if err != nil || !s.traces && !s.metrics {
		return nil, err
	}
	otel.SetErrorHandler(&failures{log: o.Log})
	otel.SetLogger(logr.FromSlogHandler(o.Log.Handler()))
	// What the environment says of the service counts more than this.
	r, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("aside"), semconv.ServiceVersion(o.Version), semconv.ServiceInstanceID(o.Node)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES or OTEL_SERVICE_NAME: %w", err)
	}
	t := &Telemetry{traces: noop.NewTracerProvider(), metrics: metricnoop.NewMeterProvider()}
	if s.traces {
		e, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("the exporter of traces: %w", err)
		}
		p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(e), sdktrace.WithResource(r))
		t.traces, t.stops = p, append(t.stops, p.Shutdown)
	}
	if s.metrics {
		e, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the exporter of metrics: %w", err), t.Close(ctx))
		}
		p := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(e)), sdkmetric.WithResource(r))
		t.metrics, t.stops = p, append(t.stops, p.Shutdown)
	}
	var carriers []propagation.TextMapPropagator
	for _, p := range s.propagators {
		if p == "baggage" {
			carriers = append(carriers, propagation.Baggage{})
		} else {
			carriers = append(carriers, propagation.TraceContext{})
		}
	}
	t.carrier = propagation.NewCompositeTextMapPropagator(carriers...)
	t.tracer = t.traces.Tracer(scope)
	t.took, err = t.metrics.Meter(scope).Float64Histogram("http.server.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of HTTP server requests."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	if err != nil {
		return nil, errors.Join(err, t.Close(ctx))
	}
	return t, nil
}

// What says what is exported, for the log.
func (t *Telemetry) What() string {
	if len(t.stops) == 2 {
		return "traces and metrics"
	}
	if _, none := t.traces.(noop.TracerProvider); none {
		return "metrics"
	}
	return "traces"
}

// Cache returns the telemetry of the cache. Measure its statistics once it is open.
func (t *Telemetry) Cache(name string) (o aside.Observer, measure func(stats func() aside.Stats) error, err error) {
	if t == nil {
		return o, func(func() aside.Stats) error { return nil }, nil
	}
	c, err := asideotel.New(name, asideotel.Options{TracerProvider: t.traces, MeterProvider: t.metrics})
	if err != nil {
		return o, nil, err
	}
	return c.Observer(), func(stats func() aside.Stats) error {
		_, err := c.Measure(stats)
		return err
	}, nil
}

// Close sends what is left, until ctx ends.
func (t *Telemetry) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	errs := make(chan error, len(t.stops))
	for _, stop := range t.stops {
		go func() { errs <- stop(ctx) }()
	}
	var all []error
	for range t.stops {
		select {
		case err := <-errs:
			all = append(all, err)
		case <-ctx.Done():
			return errors.Join(append(all, ctx.Err())...)
		}
	}
	return errors.Join(all...)
}

// failures logs what could not be exported, now and then.
type failures struct {
	log  *slog.Logger
	last atomic.Int64
}

const logEvery = 30 * time.Second

// Handle implements otel.ErrorHandler.
func (f *failures) Handle(err error) {
	now := time.Now().UnixNano()
	if last := f.last.Load(); now-last < int64(logEvery) || !f.last.CompareAndSwap(last, now) {
		return
	}
	f.log.Warn("telemetry could not be exported (see OTEL_EXPORTER_OTLP_ENDPOINT)", "error", err)
}

// Store returns store with a span for each call; system is what it is, as in
// db.system.name.
func (t *Telemetry) Store(store todo.Store, system string) todo.Store {
	if t == nil {
		return store
	}
	return &traced{store, t.tracer, trace.WithAttributes(semconv.DBSystemNameKey.String(system))}
}
