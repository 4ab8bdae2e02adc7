package monitoring

// Type is a metric's type, as Prometheus names it.
type Type string

const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
	Summary   Type = "summary"
)

// Metric is a metric as it is exported.
type Metric struct {
	Name   string
	Type   Type
	Labels string // its own ones, with commas
	Help   string // as exported
	Stats  string // the fields of aside.Stats with the same figure
}

// Section is a part of the reference.
type Section struct {
	Title   string
	Intro   string // Markdown
	Column  string // the title of the column with Metric.Stats; "" leaves the column out
	Metrics []Metric
	Outro   string
}

// Metrics returns all metrics.
func Metrics() (all []Metric) {
	for _, s := range Sections {
		all = append(all, s.Metrics...)
	}
	return all
}

// Sections are the parts of the reference, in its order.
var Sections = []Section{
	{
		Title: "Reads", Column: "`Stats`",
		Metrics: []Metric{
			{"aside_requests_total", Counter, "tier, result", "Reads by the tier that answered and the result: hits of l1 and l2, misses answered by a load, and errors.", "HitsL1, HitsL2, Misses, Failures"},
			{"aside_negatives_total", Counter, "", "Reads answered with a confirmed absence.", "Negatives"},
			{"aside_stale_total", Counter, "", "Reads answered with a value past its TTL, because the load failed or goes on in the background.", "Stale"},
			{"aside_soft_timeouts_total", Counter, "", "Flights answered with a value past its TTL, because the load took longer than SoftTimeout.", "SoftTimeouts"},
			{"aside_coalesced_total", Counter, "", "Reads that shared the lookup or load of another read.", "Coalesced"},
			{"aside_lease_waits_total", Counter, "", "Reads that waited LeaseWait for another node's load and then loaded the record themselves.", "LeaseWaits"},
			{"aside_flights", Gauge, "", "Keys that are being read past L1.", "Flights"},
			{"aside_flight_waiters", Gauge, "", "Reads that wait for the lookups and loads of these keys.", "Waiting"},
			{"aside_leases_waited_for", Gauge, "", "Keys that wait for the loads of other nodes.", "LeasesNow"},
			{"aside_lease_wait_seconds", Summary, "", "How long reads waited for the loads of other nodes.", "LeaseTime, LeasesWaited"},
		},
	},
	{
		Title: "Loads", Column: "`Stats`",
		Metrics: []Metric{
			{"aside_loads_total", Counter, "", "Calls of a loader.", "Loads"},
			{"aside_load_failures_total", Counter, "", "Calls of a loader that failed. A confirmed absence is not a failure.", "LoadFailures"},
			{"aside_refreshes_total", Counter, "", "Keys loaded in the background.", "Refreshes"},
			{"aside_refresh_failures_total", Counter, "", "Keys whose load in the background failed.", "RefreshFailures"},
			{"aside_load_duration_seconds", Histogram, "result", "Time of a call of a loader, by result.", ""},
			{"aside_batched_loads_total", Counter, "", "Calls of the bulk loader for single reads that came together.", "BatchedLoads"},
			{"aside_batched_keys_total", Counter, "", "Keys in these calls.", "BatchedKeys"},
			{"aside_hedges_total", Counter, "", "Keys loaded beside a lookup that took longer than L2SoftTimeout.", "Hedges"},
			{"aside_hedges_won_total", Counter, "", "Those of them whose load answered the read.", "HedgesWon"},
			{"aside_loads_running", Gauge, "", "Loads running now.", "LoadsRunning"},
			{"aside_loads_queued", Gauge, "", "Loads waiting for a free slot.", "LoadsQueued"},
			{"aside_loads_refused_total", Counter, "", "Loads that got no slot: the queue was full, or LoadTimeout passed in it.", "Overloads"},
			{"aside_loads_dropped_total", Counter, "", "Loads that left the queue because all their callers had left.", "LoadsDropped"},
		},
	},
	{
		Title: "What was stored, and what not", Column: "`Stats`",
		Metrics: []Metric{
			{"aside_fills_total", Counter, "", "Loaded values stored in L2.", "Fills"},
			{"aside_fills_refused_total", Counter, "", "Loaded values not stored because a write came between.", "FillsRefused"},
			{"aside_older_loads_total", Counter, "", "Loaded values not stored because the cache had a newer version.", "OlderLoads"},
			{"aside_too_large_total", Counter, "", "Values not stored in L2 because they are larger than MaxEntrySize.", "TooLarge"},
			{"aside_unencodable_total", Counter, "", "Values not stored in L2 because the codec failed.", "Unencodable"},
			{"aside_tag_misses_total", Counter, "", "L2 entries that were of no use because a tag was invalidated.", "TagMisses"},
			{"aside_tag_invalidations_total", Counter, "", "Tags that InvalidateTag was called with.", "TagInvalidations"},
			{"aside_undecodable_total", Counter, "", "L2 entries that could not be read and were replaced.", "Undecodable"},
			{"aside_panics_total", Counter, "", "Panics of the application's callbacks, without loaders.", "Panics"},
		},
	},
	{
		Title: "Writes and invalidations", Column: "`Stats`",
		Metrics: []Metric{
			{"aside_writes_total", Counter, "", "Writes through the cache.", "Writes"},
			{"aside_writes_unknown_total", Counter, "", "Writes that ended with an unknown outcome.", "WritesUnknown"},
			{"aside_fences_total", Counter, "", "Keys fenced for a write.", "Fences"},
			{"aside_fences_lost_total", Counter, "", "Fences that were gone when their write ended.", "FencesLost"},
			{"aside_published_total", Counter, "", "Keys released with the new value.", "Published"},
			{"aside_invalidations_total", Counter, "", "Keys that L2 reported as changed or dropped. Own writes of keys that this node had read count too.", "Invalidations"},
			{"aside_invalidation_lag_seconds", Gauge, "", "How long a notice of another node's write takes from L2 to this node at most; 0: not known.", "InvalidationLag"},
			{"aside_invalidations_pending", Gauge, "", "Keys that wait to be invalidated in L2.", "Pending"},
			{"aside_invalidations_overflows_total", Counter, "", "Times that too many keys waited to be invalidated, so that the whole cache was cleared.", "PendingOverflows"},
			{"aside_untold_total", Counter, "", "Leases and fences that could not be queued for L2. They expire by themselves.", "Untold"},
			{"aside_fences_pending", Gauge, "", "Keys to be released in L2 once more when the fences of writes with an unknown outcome have ended.", "PendingFences"},
			{"aside_leases_pending", Gauge, "", "Leases that wait to be given back to L2.", "PendingLeases"},
			{"aside_pending_overdue_seconds", Gauge, "", "For how long the first invalidation, fence or lease has waited that L2 could be told of now.", "Overdue"},
		},
	},
	{
		Title: "Tiers", Column: "`Stats`",
		Metrics: []Metric{
			{"aside_degraded", Gauge, "", "1 while L2 is configured but not, or not fully, in use. Stats.DegradedReason says why.", "Degraded, DegradedReason, DegradedSince"},
			{"aside_degraded_cause", Gauge, "cause", "1 for the cause of aside_degraded, 0 for the others.", "DegradedCause"},
			{"aside_breaker_state", Gauge, "state", "1 for the state of the circuit breaker of L2, 0 for the others.", "Breaker"},
			{"aside_l2_errors_total", Counter, "op", "Operations on L2 that failed, by operation.", "L2ErrorsBy, L2Errors"},
			{"aside_l2_entries_read_total", Counter, "", "Entries found in L2.", "EntriesRead"},
			{"aside_l2_read_bytes_total", Counter, "", "Bytes of the entries found in L2.", "BytesRead"},
			{"aside_l2_entries_stored_total", Counter, "", "Entries stored in L2: fills and published values.", "EntriesStored"},
			{"aside_l2_stored_bytes_total", Counter, "", "Bytes of the entries stored in L2.", "BytesStored"},
			{"aside_l2_duration_seconds", Histogram, "op, result", "Time of an operation on L2, by operation and result.", ""},
			{"aside_entries", Gauge, "", "Entries in L1.", "L1Entries"},
			{"aside_cost", Gauge, "", "Sum of the costs of the entries in L1; their number if they have none.", "L1Cost"},
			{"aside_evictions_total", Counter, "", "Entries removed from L1 because it was full.", "L1Evictions"},
			{"aside_l1_flushes_total", Counter, "", "Times L1 was emptied because invalidations may have been missed.", "L1Flushes"},
		},
		Outro: "The two histograms come from `asideprom.Times`. Its methods are the hooks `OnLoad` and `OnL2`.\n\n" +
			"The causes of `aside_degraded`, which `DegradedReason` says in full:\n\n" +
			"| `cause` | means |\n| --- | --- |\n" +
			"| `reported` | L2 says itself that it, or a part of it, cannot be used: no connection, no rights, a server that is not the master |\n" +
			"| `failing` | the last operation on L2 failed, or the breaker is open |\n" +
			"| `refused` | L2 answers, and has refused an operation lately: it is full, for example |\n" +
			"| `pending` | L2 works, and has yet to be told of writes that were made without it |\n" +
			"| `overflow` | there were more of these than `MaxPending`: the cache is not used until it has been cleared |\n\n" +
			"`aside_invalidation_lag_seconds` comes from an L2 that implements `driver.Noticing`, as `*redisl2.Store` does: it asks\n" +
			"each server for a sign of life eight times in `SilenceTimeout`, on the connection on which notices come.\n\n" +
			"No metric has a key as a label. What stands out on a node is in `Cache.Top`, what happens to one key in `Cache.Watch`.",
	},
	{
		Title: "The servers' tracking tables",
		Intro: "From `asideprom.NewL2Collector`, with the label `l2` instead of `cache`: the figures are those of the servers, for all\n" +
			"caches and nodes together. They need the right to `INFO`. [Why they matter](bounds.md#what-tracking-costs-in-redis).",
		Metrics: []Metric{
			{"aside_l2_tracked_keys", Gauge, "", "Keys that L2's servers remember some client to have read.", ""},
			{"aside_l2_tracked_items", Gauge, "", "Pairs of a key and a client that has read it, which L2's servers remember for invalidations.", ""},
			{"aside_l2_tracked_keys_limit", Gauge, "", "Keys that a server of L2 remembers at most; 0: no limit. Of several servers, the lowest.", ""},
		},
	},
	{
		Title: "The feed", Column: "`Stats.Feed`",
		Intro: "`asideprom.NewFeedCollector` exports these for a cache with `Options.Feed`. The counters of a node count only\n" +
			"while that node follows the feed, so sum them over the nodes.",
		Metrics: []Metric{
			{"aside_feed_fed", Gauge, "", "1 while changes made past the cache are seen. Stats.Feed.Reason says why not.", "Fed, Reason, Since"},
			{"aside_feed_leads", Gauge, "", "1 on the node that follows the feed.", "Leads"},
			{"aside_feed_lag_seconds", Gauge, "", "Time from the commit of the last change until it had been handled, by the clocks of both.", "Lag"},
			{"aside_feed_last_change_timestamp_seconds", Gauge, "", "When the last change had been handled; 0: none yet.", "LastChange"},
			{"aside_feed_changes_total", Counter, "", "Changes of the primary that were handled.", "Changes"},
			{"aside_feed_changes_left_total", Counter, "", "Changes whose entry was left, since it was as new: mostly writes through the cache.", "OwnLeft"},
			{"aside_feed_batches_total", Counter, "", "Batches of changes that were handled.", "Batches"},
			{"aside_feed_clears_total", Counter, "", "Times the cache was cleared, since everything may have changed or changes were missing.", "Clears"},
			{"aside_feed_gaps_total", Counter, "", "Times changes were missing.", "Gaps"},
			{"aside_feed_went_back_total", Counter, "", "Times changes were told again, since L2 may have lost its latest commands.", "WentBack"},
		},
	},
	{
		Title: "The service",
		Intro: "`aside serve` exports these besides those of the cache, and those of the Go runtime and of the process\n" +
			"(`go_memstats_heap_alloc_bytes`, `process_resident_memory_bytes` and others).",
		Metrics: []Metric{
			{"aside_http_requests_total", Counter, "route, method, code", "Finished requests by route, method and status. Code 499: the client closed the connection before the response.", ""},
			{"aside_http_request_duration_seconds", Histogram, "route, method", "Time from the request header to the end of the response, by route and method. Streams, such as those of the page, are not in it.", ""},
			{"aside_http_requests_in_flight", Gauge, "", "Requests in flight.", ""},
			{"aside_store_duration_seconds", Histogram, "op, answered", "Duration of calls to the primary store, by operation and result. A missing record and a failed precondition count as success.", ""},
			{"aside_build_info", Gauge, "version, commit, go", "Always 1. The labels tell the version of the server.", ""},
		},
	},
}
