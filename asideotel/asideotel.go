// Package asideotel traces and measures the caches of package aside with
// OpenTelemetry: [New] makes a Telemetry of a cache, whose Observer is set in its
// options, and whose Measure exports its statistics.
package asideotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/asidecache/aside"
)

// Scope is the name of the tracer and of the meter.
const Scope = "github.com/asidecache/aside/asideotel"

// Options of New. The zero value works.
type Options struct {
	// TracerProvider and MeterProvider are those of the program. The default are the
	// global ones, as they are when New is called or will be set later.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider

	// Key returns what a span says of a key, as attribute aside.key. Keys may be
	// personal, such as a mail address: so spans have none by default.
	Key func(key any) string

	// Hits adds an event, aside.hit, to the span of the caller for each read that L1 has
	// answered. It costs each such read more than the lookup in L1 does.
	Hits bool
}

// Telemetry traces and measures one cache. Make one with New.
type Telemetry struct {
	options   Options
	tracer    trace.Tracer
	meter     metric.Meter
	cache     attribute.KeyValue
	names     map[aside.OpKind]string // of spans
	durations durations
}

// New makes a Telemetry. cache names the cache in spans and metrics; it must differ
// between the caches of a program.
func New(cache string, o Options) (*Telemetry, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	t := &Telemetry{
		options: o, tracer: o.TracerProvider.Tracer(Scope), meter: o.MeterProvider.Meter(Scope),
		cache: attribute.String("aside.cache", cache), names: map[aside.OpKind]string{},
	}
	for k := aside.OpKind(1); k.String() != "none"; k++ {
		t.names[k] = k.String() + " " + cache
	}
	var err error
	if t.durations.of, err = newDurations(t.meter); err != nil {
		return nil, fmt.Errorf("asideotel: %w", err)
	}
	return t, nil
}

// Observer is for aside.Options.Observer.
//
// Each operation is a span, such as "load todos": OpRead, OpLookup, OpLoad, and so on.
// Reads that L1 answers have none. The load and the lookup are children of the read
// that began them. Other reads that shared them have a link to them, since they may be
// of other traces. Loaders and write functions get a context with their span, so spans
// of database drivers are children of it.
func (t *Telemetry) Observer() aside.Observer {
	o := aside.Observer{Start: t.start, End: t.end}
	if t.options.Hits {
		o.Hit = t.hit
	}
	return o
}

func (t *Telemetry) start(ctx context.Context, op aside.Op) context.Context {
	links := make([]trace.Link, 0, 4)
	for _, other := range op.Links {
		links = append(links, trace.LinkFromContext(other))
	}
	ctx, span := t.tracer.Start(ctx, t.names[op.Kind], trace.WithLinks(links...))
	if !span.IsRecording() {
		return ctx
	}
	span.SetAttributes(t.cache)
	switch {
	case op.Key == nil && op.Keys > 0:
		span.SetAttributes(attribute.Int("aside.keys", op.Keys))
	case op.Key != nil && t.options.Key != nil:
		span.SetAttributes(attribute.String("aside.key", t.options.Key(op.Key)))
	}
	if op.Background {
		span.SetAttributes(attribute.Bool("aside.background", true))
	}
	if op.Mode&aside.Strong != 0 {
		span.SetAttributes(attribute.Bool("aside.strong", true))
	}
	return ctx
}

func (t *Telemetry) end(ctx context.Context, op aside.Op, r aside.OpResult) {
	t.durations.record(ctx, t.cache, op, r)
	span := trace.SpanFromContext(ctx)
	defer span.End()
	if !span.IsRecording() {
		return
	}
	for _, other := range r.Shared {
		if s := trace.SpanContextFromContext(other); s.IsValid() {
			span.AddLink(trace.Link{SpanContext: s})
		}
	}
	if r.Outcome != "" {
		span.SetAttributes(attribute.String("aside.outcome", string(r.Outcome)))
	}
	if op.Kind == aside.OpRead {
		span.SetAttributes(readAttributes(r)...)
	}
	if r.Err == nil || r.Info.Negative {
		return
	}
	span.SetAttributes(errorType(r.Err))
	// A write that the primary has refused is an answer; the program knows what it means.
	if r.Outcome != aside.OutcomeRefused {
		span.SetStatus(codes.Error, r.Err.Error())
	}
}

// readAttributes say how a read was answered. Those that are false are left out.
func readAttributes(r aside.OpResult) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 8)
	i := r.Info
	if i.Source != aside.SourceNone {
		attrs = append(attrs, attribute.String("aside.source", source(i.Source)))
	}
	if i.Miss != aside.MissNone {
		attrs = append(attrs, attribute.String("aside.miss", i.Miss.String()))
	}
	for _, is := range []struct {
		name string
		is   bool
	}{{"aside.coalesced", i.Coalesced || len(r.Shared) > 0}, {"aside.negative", i.Negative}, {"aside.stale", i.Stale}} {
		if is.is {
			attrs = append(attrs, attribute.Bool(is.name, true))
		}
	}
	return attrs
}

func (t *Telemetry) hit(ctx context.Context, op aside.Op, info aside.Info) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attrs := make([]attribute.KeyValue, 0, 3)
	attrs = append(attrs, t.cache)
	if info.Negative {
		attrs = append(attrs, attribute.Bool("aside.negative", true))
	}
	if t.options.Key != nil {
		attrs = append(attrs, attribute.String("aside.key", t.options.Key(op.Key)))
	}
	span.AddEvent("aside.hit", trace.WithAttributes(attrs...))
}

// source is the tier that answered, as in the metrics.
func source(s aside.Source) string {
	switch s {
	case aside.SourceL1:
		return "l1"
	case aside.SourceL2:
		return "l2"
	case aside.SourceLoad:
		return "load"
	}
	return "none"
}
