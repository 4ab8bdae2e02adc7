package dashboard

import (
	"time"

	"github.com/asidecache/aside"
)

// Sample is one second of a node. Counts are those of that second, times are in
// milliseconds.
type Sample struct {
	T int64 `json:"t"` // end of the second, in milliseconds since 1970

	Requests uint64  `json:"requests"`
	Errors   uint64  `json:"errors"` // answers with a status of 500 or more
	P50      float64 `json:"p50"`
	P95      float64 `json:"p95"`
	P99      float64 `json:"p99"`

	L1        uint64 `json:"l1"`
	L2        uint64 `json:"l2"`
	Misses    uint64 `json:"misses"`
	Negatives uint64 `json:"negatives"`
	Stale     uint64 `json:"stale"`
	Coalesced uint64 `json:"coalesced"`
	Failures  uint64 `json:"failures"`

	Loads        uint64  `json:"loads"`
	LoadFailures uint64  `json:"load_failures"`
	Running      int     `json:"running"` // now, as queued, pending, and the size of L1
	Queued       int     `json:"queued"`
	LoadP50      float64 `json:"load_p50"`
	LoadP99      float64 `json:"load_p99"`

	Fences       uint64 `json:"fences"`
	Published    uint64 `json:"published"`
	FillsRefused uint64 `json:"fills_refused"`
	InvIn        uint64 `json:"inv_in"`
	InvOut       uint64 `json:"inv_out"`
	Pending      int    `json:"pending"`

	L1Entries int    `json:"l1_entries"`
	L1Cost    uint64 `json:"l1_cost"`
	Evictions uint64 `json:"evictions"`
	Flushes   uint64 `json:"flushes"`

	L2Ops    uint64  `json:"l2_ops"`
	L2Errors uint64  `json:"l2_errors"`
	L2P50    float64 `json:"l2_p50"`
	L2P99    float64 `json:"l2_p99"`

	DBOps    uint64  `json:"db_ops"`
	DBErrors uint64  `json:"db_errors"`
	DBP50    float64 `json:"db_p50"`
	DBP99    float64 `json:"db_p99"`

	FeedChanges uint64  `json:"feed_changes"`
	FeedLag     float64 `json:"feed_lag"`

	Degraded   string `json:"degraded"` // the reason; "" if it is not
	Feed       string `json:"feed"`     // off, fed or not fed
	FeedReason string `json:"feed_reason"`
	Breaker    string `json:"breaker"` // none without L2
}

// sampler makes samples of what has happened since the last one.
type sampler struct {
	meters *Meters
	stats  func() aside.Stats // nil without a cache

	before                               aside.Stats
	http, load, l2, db, diff             counted
	httpErrors, l2Failed, dbErrors, told uint64
}

func (s *sampler) take(now time.Time) Sample {
	m := s.meters
	// since returns how much a counter has grown. One that is smaller than before is of a
	// counter that began anew.
	since := func(now uint64, before *uint64) uint64 {
		grown := now - min(*before, now)
		*before = now
		return grown
	}
	out := Sample{T: now.UnixMilli(), Feed: "off", Breaker: "none"}
	m.http.since(&s.http, &s.diff)
	out.Requests, out.P50, out.P95, out.P99 = s.diff.total, s.diff.quantile(.5), s.diff.quantile(.95), s.diff.quantile(.99)
	m.load.since(&s.load, &s.diff)
	out.LoadP50, out.LoadP99 = s.diff.quantile(.5), s.diff.quantile(.99)
	m.l2.since(&s.l2, &s.diff)
	out.L2Ops, out.L2P50, out.L2P99 = s.diff.total, s.diff.quantile(.5), s.diff.quantile(.99)
	m.db.since(&s.db, &s.diff)
	out.DBOps, out.DBP50, out.DBP99 = s.diff.total, s.diff.quantile(.5), s.diff.quantile(.99)
	out.Errors = since(m.httpErrors.Load(), &s.httpErrors)
	out.DBErrors = since(m.dbErrors.Load(), &s.dbErrors)
	out.L2Errors = since(m.l2Failed.Load(), &s.l2Failed)
	out.InvOut = since(m.told.Load(), &s.told)
	if s.stats == nil {
		return out
	}

	n, b := s.stats(), &s.before
	out.L1, out.L2, out.Misses = since(n.HitsL1, &b.HitsL1), since(n.HitsL2, &b.HitsL2), since(n.Misses, &b.Misses)
	out.Negatives, out.Stale = since(n.Negatives, &b.Negatives), since(n.Stale, &b.Stale)
	out.Coalesced, out.Failures = since(n.Coalesced, &b.Coalesced), since(n.Failures, &b.Failures)
	out.Loads, out.LoadFailures = since(n.Loads, &b.Loads), since(n.LoadFailures, &b.LoadFailures)
	out.Running, out.Queued = n.LoadsRunning, n.LoadsQueued
	out.Fences, out.Published = since(n.Fences, &b.Fences), since(n.Published, &b.Published)
	out.FillsRefused, out.InvIn = since(n.FillsRefused, &b.FillsRefused), since(n.Invalidations, &b.Invalidations)
	out.Pending = n.Pending
	out.L1Entries, out.L1Cost = n.L1Entries, n.L1Cost
	out.Evictions, out.Flushes = since(n.L1Evictions, &b.L1Evictions), since(n.L1Flushes, &b.L1Flushes)
	out.Degraded, out.Breaker = n.DegradedReason, n.Breaker.String()
	if f := n.Feed; f.Attached {
		out.Feed, out.FeedReason = "fed", f.Reason
		if !f.Fed {
			out.Feed = "not fed"
		}
		out.FeedChanges, out.FeedLag = since(f.Changes, &b.Feed.Changes), Millis(f.Lag)
	}
	return out
}
