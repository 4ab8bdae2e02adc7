package asideotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asidecache/aside"
)

// counters and gauges of a cache: those without attributes of their own.
var (
	counters = []figure{
		{"aside.negatives", "{request}", "Reads answered with a confirmed absence.", func(s *aside.Stats) float64 { return float64(s.Negatives) }},
		{"aside.stale", "{request}", "Reads answered with a value past its TTL.", func(s *aside.Stats) float64 { return float64(s.Stale) }},
		{"aside.coalesced", "{request}", "Reads that shared the lookup or load of another read.", func(s *aside.Stats) float64 { return float64(s.Coalesced) }},
		{"aside.loads", "{load}", "Calls of a loader.", func(s *aside.Stats) float64 { return float64(s.Loads) }},
		{"aside.load.failures", "{load}", "Calls of a loader that failed. A confirmed absence is not a failure.", func(s *aside.Stats) float64 { return float64(s.LoadFailures) }},
		{"aside.loads.refused", "{load}", "Loads that got no slot: the queue was full, or LoadTimeout passed in it.", func(s *aside.Stats) float64 { return float64(s.Overloads) }},
		{"aside.fills", "{entry}", "Loaded values stored in L2.", func(s *aside.Stats) float64 { return float64(s.Fills) }},
		{"aside.fills.refused", "{entry}", "Loaded values not stored because a write came between.", func(s *aside.Stats) float64 { return float64(s.FillsRefused) }},
		{"aside.undecodable", "{entry}", "L2 entries that could not be read and were replaced.", func(s *aside.Stats) float64 { return float64(s.Undecodable) }},
		{"aside.panics", "{panic}", "Panics of the application's callbacks, without loaders.", func(s *aside.Stats) float64 { return float64(s.Panics) }},
		{"aside.writes", "{write}", "Writes through the cache.", func(s *aside.Stats) float64 { return float64(s.Writes) }},
		{"aside.writes.unknown", "{write}", "Writes that ended with an unknown outcome.", func(s *aside.Stats) float64 { return float64(s.WritesUnknown) }},
		{"aside.fences.lost", "{fence}", "Fences that were gone when their write ended.", func(s *aside.Stats) float64 { return float64(s.FencesLost) }},
		{"aside.published", "{entry}", "Keys released with the new value.", func(s *aside.Stats) float64 { return float64(s.Published) }},
		{"aside.invalidations", "{key}", "Keys that L2 reported as changed or dropped. Own writes of keys that this node had read count too.", func(s *aside.Stats) float64 { return float64(s.Invalidations) }},
		{"aside.evictions", "{entry}", "Entries removed from L1 because it was full.", func(s *aside.Stats) float64 { return float64(s.L1Evictions) }},
		{"aside.l1.flushes", "{flush}", "Times L1 was emptied because invalidations may have been missed.", func(s *aside.Stats) float64 { return float64(s.L1Flushes) }},
		{"aside.l2.read", "By", "Bytes of the entries found in L2.", func(s *aside.Stats) float64 { return float64(s.BytesRead) }},
		{"aside.l2.stored", "By", "Bytes of the entries stored in L2.", func(s *aside.Stats) float64 { return float64(s.BytesStored) }},
		{"aside.feed.changes", "{change}", "Changes of the primary that were handled.", func(s *aside.Stats) float64 { return float64(s.Feed.Changes) }},
		{"aside.feed.gaps", "{gap}", "Times changes were missing.", func(s *aside.Stats) float64 { return float64(s.Feed.Gaps) }},
	}
	gauges = []figure{
		{"aside.loads.running", "{load}", "Loads running now.", func(s *aside.Stats) float64 { return float64(s.LoadsRunning) }},
		{"aside.loads.queued", "{load}", "Loads waiting for a free slot.", func(s *aside.Stats) float64 { return float64(s.LoadsQueued) }},
		{"aside.entries", "{entry}", "Entries in L1.", func(s *aside.Stats) float64 { return float64(s.L1Entries) }},
		{"aside.invalidations.pending", "{key}", "Keys that wait to be invalidated in L2.", func(s *aside.Stats) float64 { return float64(s.Pending) }},
		{"aside.pending.overdue", "s", "For how long the first invalidation, fence or lease has waited that L2 could be told of now.", func(s *aside.Stats) float64 { return s.Overdue.Seconds() }},
		{"aside.feed.lag", "s", "Time from the commit of the last change until it had been handled.", func(s *aside.Stats) float64 { return s.Feed.Lag.Seconds() }},
		{"aside.feed.fed", "1", "1 while changes made past the cache are seen.", func(s *aside.Stats) float64 { return bit(s.Feed.Fed) }},
	}
)

type figure struct {
	name, unit, help string
	value            func(*aside.Stats) float64
}

// causes of a degraded cache, "" among them not.
var causes = []aside.DegradedCause{aside.DegradedReported, aside.DegradedFailing, aside.DegradedRefused, aside.DegradedPending, aside.DegradedOverflow}

// measured are instruments, with what is observed for each.
type measured struct {
	instruments []metric.Observable
	observe     []func(metric.Observer, *aside.Stats)
}

// Measure exports the statistics of the cache, whenever the meter's reader asks for
// them; stats is the cache's Stats method. stop ends that: call it before you close the
// cache, if the program goes on.
func (t *Telemetry) Measure(stats func() aside.Stats) (stop func() error, err error) {
	var m measured
	var errs []error
	cache := attribute.NewSet(t.cache)
	for _, f := range counters {
		c, err := t.meter.Float64ObservableCounter(f.name, metric.WithUnit(f.unit), metric.WithDescription(f.help))
		errs = append(errs, err)
		m.add(c, func(o metric.Observer, s *aside.Stats) {
			o.ObserveFloat64(c, f.value(s), metric.WithAttributeSet(cache))
		})
	}
	for _, f := range gauges {
		g, err := t.meter.Float64ObservableGauge(f.name, metric.WithUnit(f.unit), metric.WithDescription(f.help))
		errs = append(errs, err)
		m.add(g, func(o metric.Observer, s *aside.Stats) {
			o.ObserveFloat64(g, f.value(s), metric.WithAttributeSet(cache))
		})
	}

	requests, err := t.meter.Int64ObservableCounter("aside.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Reads by the tier that answered and the result: hits of l1 and l2, misses answered by a load, and errors."))
	errs = append(errs, err)
	m.add(requests, func(o metric.Observer, s *aside.Stats) {
		of := func(n uint64, source, result string) {
			o.ObserveInt64(requests, int64(n), metric.WithAttributes(t.cache, attribute.String("aside.source", source), attribute.String("aside.result", result)))
		}
		of(s.HitsL1, "l1", "hit")
		of(s.HitsL2, "l2", "hit")
		of(s.Misses, "load", "miss")
		of(s.Failures, "none", "error")
	})
	failed, err := t.meter.Int64ObservableCounter("aside.l2.errors", metric.WithUnit("{error}"),
		metric.WithDescription("Operations on L2 that failed, by operation."))
	errs = append(errs, err)
	m.add(failed, func(o metric.Observer, s *aside.Stats) {
		for op, n := range s.L2ErrorsBy {
			o.ObserveInt64(failed, int64(n), metric.WithAttributes(t.cache, attribute.String("aside.l2.operation", op)))
		}
	})
	degraded, err := t.meter.Int64ObservableGauge("aside.degraded", metric.WithUnit("1"),
		metric.WithDescription("1 for the cause for which L2 is not, or not fully, in use; 0 for the others."))
	errs = append(errs, err)
	m.add(degraded, func(o metric.Observer, s *aside.Stats) {
		for _, cause := range causes {
			o.ObserveInt64(degraded, int64(bit(s.DegradedCause == cause)), metric.WithAttributes(t.cache, attribute.String("aside.cause", string(cause))))
		}
	})

	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("asideotel: %w", err)
	}
	r, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := stats()
		for _, f := range m.observe {
			f(o, &s)
		}
		return nil
	}, m.instruments...)
	if err != nil {
		return nil, fmt.Errorf("asideotel: %w", err)
	}
	return r.Unregister, nil
}

func (m *measured) add(i metric.Observable, f func(metric.Observer, *aside.Stats)) {
	m.instruments = append(m.instruments, i)
	m.observe = append(m.observe, f)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
