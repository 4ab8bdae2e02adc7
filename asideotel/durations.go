package asideotel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asidecache/aside"
)

// durations are those of the operations, by kind and result.
type durations struct {
	of   metric.Float64Histogram
	sets sync.Map // result -> metric.MeasurementOption
}

// result are the attributes of a duration.
type result struct {
	kind    aside.OpKind
	outcome aside.Outcome
	source  aside.Source
	err     string
}

func newDurations(m metric.Meter) (metric.Float64Histogram, error) {
	return m.Float64Histogram("aside.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Duration of the cache's operations: reads that L1 has not answered, lookups in L2, loads, writes."),
		metric.WithExplicitBucketBoundaries(.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
}

func (d *durations) record(ctx context.Context, cache attribute.KeyValue, op aside.Op, r aside.OpResult) {
	key := result{kind: op.Kind, outcome: r.Outcome}
	if op.Kind == aside.OpRead {
		key.source = r.Info.Source
	}
	if r.Err != nil && !r.Info.Negative {
		key.err = errorType(r.Err).Value.AsString()
	}
	set, ok := d.sets.Load(key)
	if !ok {
		set, _ = d.sets.LoadOrStore(key, key.attributes(cache))
	}
	d.of.Record(ctx, r.Took.Seconds(), set.(metric.MeasurementOption))
}

func (r result) attributes(cache attribute.KeyValue) metric.MeasurementOption {
	attrs := []attribute.KeyValue{cache, attribute.String("aside.operation", r.kind.String())}
	if r.source != aside.SourceNone {
		attrs = append(attrs, attribute.String("aside.source", source(r.source)))
	}
	if r.outcome != "" {
		attrs = append(attrs, attribute.String("aside.outcome", string(r.outcome)))
	}
	if r.err != "" {
		attrs = append(attrs, attribute.String("error.type", r.err))
	}
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}
