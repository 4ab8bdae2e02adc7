// Package asideprom exports the statistics of caches of package aside to
// Prometheus: [NewCollector] their counters, [NewTimes] how long loads and operations
// on L2 take, [NewL2Collector] what L2's servers remember of their clients.
package asideprom

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
)

// Collector reads a cache's Stats whenever Prometheus asks. Between scrapes it
// costs nothing. Make one with NewCollector.
type Collector struct {
	stats func() aside.Stats
	descs []*prometheus.Desc
	build []metric

	degraded, cause, breaker, l2Errors, leaseWait *prometheus.Desc
}

type metric struct {
	kind   prometheus.ValueType
	value  func(*aside.Stats) float64
	labels []string
}

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector makes a Collector of a cache; cache is the value of the label of
// that name and must differ between the caches of a registry. stats is the
// cache's Stats method.
func NewCollector(cache string, stats func() aside.Stats) *Collector {
	c := &Collector{stats: stats}
	constant := prometheus.Labels{"cache": cache}
	add := func(desc *prometheus.Desc, kind prometheus.ValueType, value func(*aside.Stats) float64, labels ...string) {
		c.descs = append(c.descs, desc)
		c.build = append(c.build, metric{kind, value, labels})
	}
	one := func(kind prometheus.ValueType, name, help string, value func(*aside.Stats) float64) {
		add(prometheus.NewDesc(name, help, nil, constant), kind, value)
	}

	requests := prometheus.NewDesc("aside_requests_total",
		"Reads by the tier that answered and the result: hits of l1 and l2, misses answered by a load, and errors.",
		[]string{"tier", "result"}, constant)
	add(requests, prometheus.CounterValue, func(s *aside.Stats) float64 { return float64(s.HitsL1) }, "l1", "hit")
	add(requests, prometheus.CounterValue, func(s *aside.Stats) float64 { return float64(s.HitsL2) }, "l2", "hit")
	add(requests, prometheus.CounterValue, func(s *aside.Stats) float64 { return float64(s.Misses) }, "load", "miss")
	add(requests, prometheus.CounterValue, func(s *aside.Stats) float64 { return float64(s.Failures) }, "none", "error")

	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	for _, m := range []struct {
		kind  prometheus.ValueType
		name  string
		help  string
		value func(*aside.Stats) float64
	}{
		{counter, "aside_negatives_total", "Reads answered with a confirmed absence.", func(s *aside.Stats) float64 { return float64(s.Negatives) }},
		{counter, "aside_stale_total", "Reads answered with a value past its TTL, because the load failed or goes on in the background.", func(s *aside.Stats) float64 { return float64(s.Stale) }},
		{counter, "aside_refreshes_total", "Keys loaded in the background.", func(s *aside.Stats) float64 { return float64(s.Refreshes) }},
		{counter, "aside_refresh_failures_total", "Keys whose load in the background failed.", func(s *aside.Stats) float64 { return float64(s.RefreshFailures) }},
		{counter, "aside_soft_timeouts_total", "Flights answered with a value past its TTL, because the load took longer than SoftTimeout.", func(s *aside.Stats) float64 { return float64(s.SoftTimeouts) }},
		{counter, "aside_coalesced_total", "Reads that shared the lookup or load of another read.", func(s *aside.Stats) float64 { return float64(s.Coalesced) }},
		{counter, "aside_loads_total", "Calls of a loader.", func(s *aside.Stats) float64 { return float64(s.Loads) }},
		{counter, "aside_load_failures_total", "Calls of a loader that failed. A confirmed absence is not a failure.", func(s *aside.Stats) float64 { return float64(s.LoadFailures) }},
		{counter, "aside_loads_refused_total", "Loads that got no slot: the queue was full, or LoadTimeout passed in it.", func(s *aside.Stats) float64 { return float64(s.Overloads) }},
		{counter, "aside_loads_dropped_total", "Loads that left the queue because all their callers had left.", func(s *aside.Stats) float64 { return float64(s.LoadsDropped) }},
		{counter, "aside_batched_loads_total", "Calls of the bulk loader for single reads that came together.", func(s *aside.Stats) float64 { return float64(s.BatchedLoads) }},
		{counter, "aside_batched_keys_total", "Keys in these calls.", func(s *aside.Stats) float64 { return float64(s.BatchedKeys) }},
		{counter, "aside_hedges_total", "Keys loaded beside a lookup that took longer than L2SoftTimeout.", func(s *aside.Stats) float64 { return float64(s.Hedges) }},
		{counter, "aside_hedges_won_total", "Those of them whose load answered the read.", func(s *aside.Stats) float64 { return float64(s.HedgesWon) }},
		{counter, "aside_lease_waits_total", "Reads that waited LeaseWait for another node's load and then loaded the record themselves.", func(s *aside.Stats) float64 { return float64(s.LeaseWaits) }},
		{gauge, "aside_loads_running", "Loads running now.", func(s *aside.Stats) float64 { return float64(s.LoadsRunning) }},
		{gauge, "aside_loads_queued", "Loads waiting for a free slot.", func(s *aside.Stats) float64 { return float64(s.LoadsQueued) }},
		{gauge, "aside_flights", "Keys that are being read past L1.", func(s *aside.Stats) float64 { return float64(s.Flights) }},
		{gauge, "aside_flight_waiters", "Reads that wait for the lookups and loads of these keys.", func(s *aside.Stats) float64 { return float64(s.Waiting) }},
		{gauge, "aside_leases_waited_for", "Keys that wait for the loads of other nodes.", func(s *aside.Stats) float64 { return float64(s.LeasesNow) }},
		{counter, "aside_fills_total", "Loaded values stored in L2.", func(s *aside.Stats) float64 { return float64(s.Fills) }},
		{counter, "aside_fills_refused_total", "Loaded values not stored because a write came between.", func(s *aside.Stats) float64 { return float64(s.FillsRefused) }},
		{counter, "aside_older_loads_total", "Loaded values not stored because the cache had a newer version.", func(s *aside.Stats) float64 { return float64(s.OlderLoads) }},
		{counter, "aside_too_large_total", "Values not stored in L2 because they are larger than MaxEntrySize.", func(s *aside.Stats) float64 { return float64(s.TooLarge) }},
		{counter, "aside_unencodable_total", "Values not stored in L2 because the codec failed.", func(s *aside.Stats) float64 { return float64(s.Unencodable) }},
		{counter, "aside_panics_total", "Panics of the application's callbacks, without loaders.", func(s *aside.Stats) float64 { return float64(s.Panics) }},
		{counter, "aside_tag_invalidations_total", "Tags that InvalidateTag was called with.", func(s *aside.Stats) float64 { return float64(s.TagInvalidations) }},
		{counter, "aside_tag_misses_total", "L2 entries that were of no use because a tag was invalidated.", func(s *aside.Stats) float64 { return float64(s.TagMisses) }},
		{counter, "aside_undecodable_total", "L2 entries that could not be read and were replaced.", func(s *aside.Stats) float64 { return float64(s.Undecodable) }},
		{counter, "aside_writes_total", "Writes through the cache.", func(s *aside.Stats) float64 { return float64(s.Writes) }},
		{counter, "aside_writes_unknown_total", "Writes that ended with an unknown outcome.", func(s *aside.Stats) float64 { return float64(s.WritesUnknown) }},
		{counter, "aside_fences_total", "Keys fenced for a write.", func(s *aside.Stats) float64 { return float64(s.Fences) }},
		{counter, "aside_fences_lost_total", "Fences that were gone when their write ended.", func(s *aside.Stats) float64 { return float64(s.FencesLost) }},
		{counter, "aside_published_total", "Keys released with the new value.", func(s *aside.Stats) float64 { return float64(s.Published) }},
		{counter, "aside_invalidations_total", "Keys that L2 reported as changed or dropped. Own writes of keys that this node had read count too.", func(s *aside.Stats) float64 { return float64(s.Invalidations) }},
		{gauge, "aside_invalidation_lag_seconds", "How long a notice of another node's write takes from L2 to this node at most; 0: not known.", func(s *aside.Stats) float64 { return s.InvalidationLag.Seconds() }},
		{gauge, "aside_invalidations_pending", "Keys that wait to be invalidated in L2.", func(s *aside.Stats) float64 { return float64(s.Pending) }},
		{counter, "aside_invalidations_overflows_total", "Times that too many keys waited to be invalidated, so that the whole cache was cleared.", func(s *aside.Stats) float64 { return float64(s.PendingOverflows) }},
		{counter, "aside_untold_total", "Leases and fences that could not be queued for L2. They expire by themselves.", func(s *aside.Stats) float64 { return float64(s.Untold) }},
		{gauge, "aside_fences_pending", "Keys to be released in L2 once more when the fences of writes with an unknown outcome have ended.", func(s *aside.Stats) float64 { return float64(s.PendingFences) }},
		{gauge, "aside_leases_pending", "Leases that wait to be given back to L2.", func(s *aside.Stats) float64 { return float64(s.PendingLeases) }},
		{gauge, "aside_pending_overdue_seconds", "For how long the first invalidation, fence or lease has waited that L2 could be told of now.", func(s *aside.Stats) float64 { return s.Overdue.Seconds() }},
		{counter, "aside_l2_entries_read_total", "Entries found in L2.", func(s *aside.Stats) float64 { return float64(s.EntriesRead) }},
		{counter, "aside_l2_read_bytes_total", "Bytes of the entries found in L2.", func(s *aside.Stats) float64 { return float64(s.BytesRead) }},
		{counter, "aside_l2_entries_stored_total", "Entries stored in L2: fills and published values.", func(s *aside.Stats) float64 { return float64(s.EntriesStored) }},
		{counter, "aside_l2_stored_bytes_total", "Bytes of the entries stored in L2.", func(s *aside.Stats) float64 { return float64(s.BytesStored) }},
		{gauge, "aside_entries", "Entries in L1.", func(s *aside.Stats) float64 { return float64(s.L1Entries) }},
		{gauge, "aside_cost", "Sum of the costs of the entries in L1; their number if they have none.", func(s *aside.Stats) float64 { return float64(s.L1Cost) }},
		{counter, "aside_evictions_total", "Entries removed from L1 because it was full.", func(s *aside.Stats) float64 { return float64(s.L1Evictions) }},
		{counter, "aside_l1_flushes_total", "Times L1 was emptied because invalidations may have been missed.", func(s *aside.Stats) float64 { return float64(s.L1Flushes) }},
	} {
		one(m.kind, m.name, m.help, m.value)
	}
	c.degraded = prometheus.NewDesc("aside_degraded",
		"1 while L2 is configured but not, or not fully, in use. Stats.DegradedReason says why.", nil, constant)
	c.cause = prometheus.NewDesc("aside_degraded_cause",
		"1 for the cause of aside_degraded, 0 for the others.", []string{"cause"}, constant)
	c.breaker = prometheus.NewDesc("aside_breaker_state",
		"1 for the state of the circuit breaker of L2, 0 for the others.", []string{"state"}, constant)
	c.l2Errors = prometheus.NewDesc("aside_l2_errors_total",
		"Operations on L2 that failed, by operation.", []string{"op"}, constant)
	c.leaseWait = prometheus.NewDesc("aside_lease_wait_seconds",
		"How long reads waited for the loads of other nodes.", nil, constant)
	return c
}

var (
	causes   = []aside.DegradedCause{aside.DegradedReported, aside.DegradedFailing, aside.DegradedRefused, aside.DegradedPending, aside.DegradedOverflow}
	breakers = []aside.Breaker{aside.BreakerNone, aside.BreakerClosed, aside.BreakerHalfOpen, aside.BreakerOpen}
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	var last *prometheus.Desc
	for _, d := range c.descs {
		if d != last {
			ch <- d
		}
		last = d
	}
	for _, d := range []*prometheus.Desc{c.degraded, c.cause, c.breaker, c.l2Errors, c.leaseWait} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	for i, m := range c.build {
		ch <- prometheus.MustNewConstMetric(c.descs[i], m.kind, m.value(&s), m.labels...)
	}
	ch <- prometheus.MustNewConstMetric(c.degraded, prometheus.GaugeValue, bit(s.Degraded))
	for _, cause := range causes {
		ch <- prometheus.MustNewConstMetric(c.cause, prometheus.GaugeValue, bit(s.DegradedCause == cause), string(cause))
	}
	for _, b := range breakers {
		ch <- prometheus.MustNewConstMetric(c.breaker, prometheus.GaugeValue, bit(s.Breaker == b), b.String())
	}
	for op, n := range s.L2ErrorsBy {
		ch <- prometheus.MustNewConstMetric(c.l2Errors, prometheus.CounterValue, float64(n), op)
	}
	ch <- prometheus.MustNewConstSummary(c.leaseWait, s.LeasesWaited, s.LeaseTime.Seconds(), nil)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Times measures loads and operations on L2. Set its methods as the OnLoad and
// OnL2 of a cache's options, and register it. Make one with NewTimes.
type Times struct {
	load *prometheus.HistogramVec
	l2   *prometheus.HistogramVec

	loadOK, loadFailed prometheus.Observer
}

var _ prometheus.Collector = (*Times)(nil)

// NewTimes makes a Times of a cache; see NewCollector for the label.
func NewTimes(cache string) *Times {
	buckets := []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	constant := prometheus.Labels{"cache": cache}
	t := &Times{
		load: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aside_load_duration_seconds", Help: "Time of a call of a loader, by result.",
			Buckets: buckets, ConstLabels: constant,
		}, []string{"result"}),
		l2: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "aside_l2_duration_seconds", Help: "Time of an operation on L2, by operation and result.",
			Buckets: buckets, ConstLabels: constant,
		}, []string{"op", "result"}),
	}
	t.loadOK, t.loadFailed = t.load.WithLabelValues("ok"), t.load.WithLabelValues("error")
	return t
}

// OnLoad is for aside.Options.OnLoad.
func (t *Times) OnLoad(d time.Duration, err error) {
	if err == nil || errors.Is(err, aside.ErrNotFound) {
		t.loadOK.Observe(d.Seconds())
	} else {
		t.loadFailed.Observe(d.Seconds())
	}
}

// OnL2 is for aside.Options.OnL2.
func (t *Times) OnL2(op string, d time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	t.l2.WithLabelValues(op, result).Observe(d.Seconds())
}

// Describe implements prometheus.Collector.
func (t *Times) Describe(ch chan<- *prometheus.Desc) {
	t.load.Describe(ch)
	t.l2.Describe(ch)
}

// Collect implements prometheus.Collector.
func (t *Times) Collect(ch chan<- prometheus.Metric) {
	t.load.Collect(ch)
	t.l2.Collect(ch)
}
