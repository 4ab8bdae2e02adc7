package monitoring

// Row is a question that an engineer on call asks, with the panels that answer it. The
// rows are in the order in which one asks.
type Row struct {
	Question string
	Panels   []Panel
}

// Panel is a chart.
type Panel struct {
	Title string
	Unit  string // of Grafana: reqps, ops, s, bytes, percentunit, short
	What  string // what is seen, and what is bad
	Lines []Line
}

// Line is an expression and its legend. $S stands for the selector of the series of a
// job and its servers, $C for that of a cache, and $__rate_interval is Grafana's.
type Line struct{ Expr, Legend string }

// Rows are the dashboard.
var Rows = []Row{
	{"Do users get answers?", []Panel{
		{"Requests by status", "reqps", "All requests. 5xx are errors of the service: look at the database and at Redis. 499: the client left before the answer.", []Line{
			{`sum by (code) (rate(aside_http_requests_total{$S}[$__rate_interval]))`, "{{code}}"},
		}},
		{"Share of errors", "percentunit", "Requests that got 5xx, and reads of the cache that failed. Above 1 % for 5 minutes it is a page.", []Line{
			{`sum(rate(aside_http_requests_total{$S,code=~"5.."}[$__rate_interval])) / sum(rate(aside_http_requests_total{$S}[$__rate_interval]))`, "requests"},
			{`sum(rate(aside_requests_total{$C,result="error"}[$__rate_interval])) / sum(rate(aside_requests_total{$C}[$__rate_interval]))`, "reads of the cache"},
		}},
		{"Time of a request", "s", "From the header to the end of the response.", []Line{
			{`histogram_quantile(0.5, sum by (le) (rate(aside_http_request_duration_seconds_bucket{$S}[$__rate_interval])))`, "half"},
			{`histogram_quantile(0.95, sum by (le) (rate(aside_http_request_duration_seconds_bucket{$S}[$__rate_interval])))`, "95 %"},
			{`histogram_quantile(0.99, sum by (le) (rate(aside_http_request_duration_seconds_bucket{$S}[$__rate_interval])))`, "99 %"},
		}},
		{"Requests in flight", "short", "Requests that run now. If it grows, something behind the service is slow.", []Line{
			{`sum by (instance) (aside_http_requests_in_flight{$S})`, "{{instance}}"},
		}},
	}},
	{"Does the cache help?", []Panel{
		{"Reads by the tier that answered", "ops", "l1: memory of the node. l2: Redis. load: the database. none: an error.", []Line{
			{`sum by (tier) (rate(aside_requests_total{$C}[$__rate_interval]))`, "{{tier}}"},
		}},
		{"Hit ratio", "percentunit", "Of all reads, those that a tier answered. It falls after a restart, a flush, or with a new kind of load.", []Line{
			{`sum(rate(aside_requests_total{$C,result="hit"}[$__rate_interval])) / sum(rate(aside_requests_total{$C}[$__rate_interval]))`, "both tiers"},
			{`sum(rate(aside_requests_total{$C,tier="l1"}[$__rate_interval])) / sum(rate(aside_requests_total{$C}[$__rate_interval]))`, "memory"},
		}},
		{"Kinds of answers", "ops", "Stale answers mean that the database fails now. Coalesced: reads that shared the load of another.", []Line{
			{`sum(rate(aside_coalesced_total{$C}[$__rate_interval]))`, "coalesced"},
			{`sum(rate(aside_negatives_total{$C}[$__rate_interval]))`, "no such record"},
			{`sum(rate(aside_stale_total{$C}[$__rate_interval]))`, "stale"},
		}},
		{"Entries in memory", "short", "Entries and their cost. Many evictions with a low hit ratio: the memory is too small.", []Line{
			{`sum by (instance) (aside_entries{$C})`, "entries {{instance}}"},
			{`sum by (instance) (aside_cost{$C})`, "cost {{instance}}"},
			{`sum by (instance) (rate(aside_evictions_total{$C}[$__rate_interval]))`, "evictions/s {{instance}}"},
		}},
	}},
	{"Is the database overloaded?", []Panel{
		{"Refreshes", "ops", "Loads of entries that nobody waits for. Failed ones: readers get old values, and do not see that the database fails.", []Line{
			{`sum(rate(aside_refreshes_total{$C}[$__rate_interval]))`, "refreshes"},
			{`sum(rate(aside_refresh_failures_total{$C}[$__rate_interval]))`, "failed"},
			{`sum(rate(aside_soft_timeouts_total{$C}[$__rate_interval]))`, "old value after SoftTimeout"},
		}},
		{"Loads put together, and hedges", "ops", "Bulk loads made of single reads. Hedges: loads beside a slow lookup in Redis.", []Line{
			{`sum(rate(aside_batched_loads_total{$C}[$__rate_interval]))`, "bulk loads"},
			{`sum(rate(aside_batched_keys_total{$C}[$__rate_interval]))`, "keys in them"},
			{`sum(rate(aside_hedges_total{$C}[$__rate_interval]))`, "hedges"},
			{`sum(rate(aside_hedges_won_total{$C}[$__rate_interval]))`, "hedges that answered"},
		}},
		{"Tags", "ops", "Tags invalidated, and entries found in Redis that were of no use for it.", []Line{
			{`sum(rate(aside_tag_invalidations_total{$C}[$__rate_interval]))`, "tags invalidated"},
			{`sum(rate(aside_tag_misses_total{$C}[$__rate_interval]))`, "entries of no use"},
		}},
		{"Loads", "ops", "Reads of the database by the cache. Refused: no slot in time, or the queue was full; readers got an error.", []Line{
			{`sum(rate(aside_loads_total{$C}[$__rate_interval]))`, "loads"},
			{`sum(rate(aside_load_failures_total{$C}[$__rate_interval]))`, "failed"},
			{`sum(rate(aside_loads_refused_total{$C}[$__rate_interval]))`, "refused"},
			{`sum(rate(aside_loads_dropped_total{$C}[$__rate_interval]))`, "all readers left"},
		}},
		{"Loads that run and wait", "short", "Running loads at the limit (MaxLoads) and a queue that grows: the database is slower than the demand.", []Line{
			{`sum by (instance) (aside_loads_running{$C})`, "running {{instance}}"},
			{`sum by (instance) (aside_loads_queued{$C})`, "queued {{instance}}"},
		}},
		{"Time of a load", "s", "Time of one call of the loader, without the time in the queue.", []Line{
			{`histogram_quantile(0.5, sum by (le) (rate(aside_load_duration_seconds_bucket{$C}[$__rate_interval])))`, "half"},
			{`histogram_quantile(0.99, sum by (le) (rate(aside_load_duration_seconds_bucket{$C}[$__rate_interval])))`, "99 %"},
		}},
		{"Time of a call to the database (99 %)", "s", "By operation. Writes wait for it too.", []Line{
			{`histogram_quantile(0.99, sum by (op, le) (rate(aside_store_duration_seconds_bucket{$S}[$__rate_interval])))`, "{{op}}"},
		}},
		{"Reads that wait now", "short", "Reads that wait for a lookup or a load, the keys that they wait for, and keys that another node loads.", []Line{
			{`sum(aside_flight_waiters{$C})`, "reads"},
			{`sum(aside_flights{$C})`, "keys"},
			{`sum(aside_leases_waited_for{$C})`, "keys that another node loads"},
		}},
		{"Loads beside another node's load", "ops", "Reads that waited for another node's load, and then loaded themselves: that node is slow or gone.", []Line{
			{`sum(rate(aside_lease_waits_total{$C}[$__rate_interval]))`, "waited in vain"},
			{`rate(aside_lease_wait_seconds_sum{$C}[$__rate_interval]) / rate(aside_lease_wait_seconds_count{$C}[$__rate_interval])`, "seconds waited {{instance}}"},
		}},
	}},
	{"Is Redis well?", []Panel{
		{"Not in use", "short", "1: this node does not use Redis, or not fully. /readyz and the log of the node say why.", []Line{
			{`max by (instance) (aside_degraded{$C})`, "{{instance}}"},
		}},
		{"Why not, and the breaker", "short", "The cause of a node's degraded state, and the state of its circuit breaker.", []Line{
			{`sum by (cause) (aside_degraded_cause{$C} == 1)`, "{{cause}}"},
			{`sum by (state) (aside_breaker_state{$C} == 1)`, "breaker {{state}}"},
		}},
		{"Time of an operation (99 %)", "s", "By operation. Above --redis-timeout the operation fails.", []Line{
			{`histogram_quantile(0.99, sum by (op, le) (rate(aside_l2_duration_seconds_bucket{$C}[$__rate_interval])))`, "{{op}}"},
		}},
		{"Operations that failed", "ops", "A few errors open the breaker, and Redis is not asked for a moment.", []Line{
			{`sum by (op) (rate(aside_l2_errors_total{$C}[$__rate_interval]))`, "{{op}}"},
		}},
		{"Memory emptied", "short", "Times that a node emptied its memory, since it may have missed invalidations: its connection was lost, or answers came too late.", []Line{
			{`sum by (instance) (increase(aside_l1_flushes_total{$C}[$__rate_interval]))`, "{{instance}}"},
		}},
		{"Traffic of entries", "Bps", "Bytes of entries to and from Redis.", []Line{
			{`sum(rate(aside_l2_read_bytes_total{$C}[$__rate_interval]))`, "read"},
			{`sum(rate(aside_l2_stored_bytes_total{$C}[$__rate_interval]))`, "stored"},
		}},
		{"Size of an entry", "bytes", "Bytes of an entry, as stored in Redis.", []Line{
			{`sum(rate(aside_l2_read_bytes_total{$C}[$__rate_interval])) / sum(rate(aside_l2_entries_read_total{$C}[$__rate_interval]))`, "read"},
			{`sum(rate(aside_l2_stored_bytes_total{$C}[$__rate_interval])) / sum(rate(aside_l2_entries_stored_total{$C}[$__rate_interval]))`, "stored"},
		}},
		{"What Redis remembers of readers", "short", "Near the limit Redis forgets keys, and the nodes drop them from memory.", []Line{
			{`max(aside_l2_tracked_keys{$S})`, "keys"},
			{`max(aside_l2_tracked_items{$S})`, "pairs of key and client"},
			{`min(aside_l2_tracked_keys_limit{$S})`, "limit of keys"},
		}},
	}},
	{"Do writes reach all nodes?", []Panel{
		{"Writes", "ops", "Lost fences and unknown outcomes should be rare: see the runbook.", []Line{
			{`sum(rate(aside_writes_total{$C}[$__rate_interval]))`, "writes"},
			{`sum(rate(aside_fences_total{$C}[$__rate_interval]))`, "keys fenced"},
			{`sum(rate(aside_published_total{$C}[$__rate_interval]))`, "keys published"},
			{`sum(rate(aside_writes_unknown_total{$C}[$__rate_interval]))`, "outcome unknown"},
			{`sum(rate(aside_fences_lost_total{$C}[$__rate_interval]))`, "fence lost"},
		}},
		{"Invalidations that wait", "short", "Keys that this node could not yet tell Redis about. Other nodes may show the older record.", []Line{
			{`sum by (instance) (aside_invalidations_pending{$C})`, "{{instance}}"},
			{`sum(aside_fences_pending{$C})`, "fences of unknown writes"},
			{`sum(aside_leases_pending{$C})`, "leases"},
			{`max(aside_pending_overdue_seconds{$C})`, "seconds overdue"},
		}},
		{"Invalidations received", "ops", "Keys that Redis reported as changed or dropped, after the node's own writes too.", []Line{
			{`sum by (instance) (rate(aside_invalidations_total{$C}[$__rate_interval]))`, "{{instance}}"},
		}},
		{"Time until an invalidation arrives", "s", "At most, from Redis to the node. Near --redis-silence the node empties its memory.", []Line{
			{`max by (instance) (aside_invalidation_lag_seconds{$C})`, "{{instance}}"},
		}},
		{"Stored, and not stored because of a write", "ops", "Refused fills are the protection at work. Older loads: does the loader read a replica that lags?", []Line{
			{`sum(rate(aside_fills_refused_total{$C}[$__rate_interval]))`, "fills refused"},
			{`sum(rate(aside_fills_total{$C}[$__rate_interval]))`, "fills"},
			{`sum(rate(aside_older_loads_total{$C}[$__rate_interval]))`, "older than the cache"},
		}},
		{"Too much to remember", "short", "Overflows: the cache was cleared. Untold: leases and fences that end by themselves.", []Line{
			{`sum(increase(aside_invalidations_overflows_total{$C}[$__rate_interval]))`, "overflows"},
			{`sum(increase(aside_untold_total{$C}[$__rate_interval]))`, "untold"},
		}},
	}},
	{"Are changes past the cache seen?", []Panel{
		{"The feed is followed", "short", "1: this node sees changes made past the cache. One node leads.", []Line{
			{`max by (instance) (aside_feed_fed{$C})`, "fed {{instance}}"},
			{`max by (instance) (aside_feed_leads{$C})`, "leads {{instance}}"},
		}},
		{"Lag", "s", "From the commit of the last change until it had been handled. It keeps its value while nothing changes.", []Line{
			{`max(aside_feed_lag_seconds{$C})`, "lag"},
			{`time() - max(aside_feed_last_change_timestamp_seconds{$C} > 0)`, "since the last change"},
		}},
		{"Changes", "ops", "Left: the entry was as new, mostly since the change was a write through the cache.", []Line{
			{`sum(rate(aside_feed_changes_total{$C}[$__rate_interval]))`, "changes"},
			{`sum(rate(aside_feed_changes_left_total{$C}[$__rate_interval]))`, "left"},
			{`sum(rate(aside_feed_batches_total{$C}[$__rate_interval]))`, "batches"},
		}},
		{"Changes missed or told again", "short", "A gap clears the whole cache: the database kept too little of its log.", []Line{
			{`sum(increase(aside_feed_gaps_total{$C}[$__rate_interval]))`, "gaps"},
			{`sum(increase(aside_feed_clears_total{$C}[$__rate_interval]))`, "clears"},
			{`sum(increase(aside_feed_went_back_total{$C}[$__rate_interval]))`, "went back"},
		}},
	}},
	{"Is a node in trouble?", []Panel{
		{"Memory", "bytes", "Resident memory of the process, and the heap in use.", []Line{
			{`process_resident_memory_bytes{$S}`, "process {{instance}}"},
			{`go_memstats_heap_inuse_bytes{$S}`, "heap {{instance}}"},
		}},
		{"Processor", "short", "Processors in use.", []Line{
			{`rate(process_cpu_seconds_total{$S}[$__rate_interval])`, "{{instance}}"},
		}},
		{"Goroutines", "short", "They grow with requests in flight. If they grow without them, it is a leak.", []Line{
			{`go_goroutines{$S}`, "{{instance}}"},
		}},
		{"Running since", "s", "A process that starts again and again crashes.", []Line{
			{`time() - process_start_time_seconds{$S}`, "{{instance}}"},
		}},
		{"Versions", "short", "Servers by version. Two versions for long: a rollout is stuck.", []Line{
			{`count by (version) (aside_build_info{$S})`, "{{version}}"},
		}},
		{"Records of no use", "ops", "Undecodable: another schema, or another program writes to Redis. Panics are faults of the application's callbacks.", []Line{
			{`sum(rate(aside_undecodable_total{$C}[$__rate_interval]))`, "undecodable"},
			{`sum(rate(aside_unencodable_total{$C}[$__rate_interval]))`, "unencodable"},
			{`sum(rate(aside_too_large_total{$C}[$__rate_interval]))`, "too large"},
			{`sum(rate(aside_panics_total{$C}[$__rate_interval]))`, "panics"},
		}},
	}},
}
