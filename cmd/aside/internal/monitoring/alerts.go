package monitoring

import (
	"strconv"
	"strings"
	"time"
)

// Severity says what an alert asks for.
type Severity string

const (
	// Page wakes somebody up: users get errors, or will in a moment.
	Page Severity = "page"
	// Ticket can wait for the morning.
	Ticket Severity = "ticket"
)

// Alert is a rule. In Expr and in the series, short and long stand for ranges: see Scale.
type Alert struct {
	Name     string
	Severity Severity
	For      time.Duration
	Expr     string
	// Summary is one line; {{ $labels.x }} is the only template.
	Summary string
	// Means is what an operator has to know to go on.
	Means string
	// Runbook is a heading's anchor in docs/guide/operations.md.
	Runbook string
	// Explains has the names of alerts that need no notice of their own while this one
	// fires, for the same server, cache or job: it is their cause, or says more.
	Explains []string

	// Fires and Quiet are series, one sample a minute, with which the rule fires after
	// an hour, and with which it does not. The first of Fires' labels are in the alert.
	Fires, Quiet []string
	Labels       map[string]string
}

// Group is a group of rules.
type Group struct {
	Name, Comment string
	Alerts        []Alert
}

// Scale says how long ranges are. Tests have short ones.
type Scale struct {
	Short, Long time.Duration // of [short] and [long]
	For         func(time.Duration) time.Duration
}

// RealScale is that of the rules in the repository.
var RealScale = Scale{Short: 5 * time.Minute, Long: 15 * time.Minute, For: func(d time.Duration) time.Duration { return d }}

func (s Scale) expr(e string) string {
	return strings.NewReplacer("[short]", "["+promDuration(s.Short)+"]", "[long]", "["+promDuration(s.Long)+"]").Replace(e)
}

// promDuration formats a duration as Prometheus reads it.
func promDuration(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d > 0 && d%unit.d == 0 {
			return strconv.FormatInt(int64(d/unit.d), 10) + unit.name
		}
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// Alerts returns all alerts.
func Alerts() (all []Alert) {
	for _, g := range Groups {
		all = append(all, g.Alerts...)
	}
	return all
}

var (
	ofCache    = map[string]string{"job": "aside", "cache": "todos"}
	ofInstance = map[string]string{"job": "aside", "cache": "todos", "instance": "a:80"}
)

// Groups are the groups of rules. Pages are few: what wakes somebody up must be worth it.
var Groups = []Group{
	{
		Name:    "aside-cache",
		Comment: "For every program that exports the metrics of a cache with asideprom.",
		Alerts: []Alert{
			{
				Name: "AsideReadsFail", Severity: Page, For: 5 * time.Minute,
				Expr: `sum by (job, cache) (rate(aside_requests_total{result="error"}[short]))
  / sum by (job, cache) (rate(aside_requests_total[short])) > 0.01`,
				Summary: "More than 1 % of the reads of {{ $labels.cache }} fail",
				Means:   "The cache has no answer and the database gives none. Look at the database first.",
				Runbook: "reads-fail", Labels: ofCache,
				Explains: []string{"AsideServerErrors", "AsideLoadsFail"},
				Fires:    []string{`aside_requests_total{job="aside",cache="todos",tier="none",result="error"} 0+60x80`, `aside_requests_total{job="aside",cache="todos",tier="l1",result="hit"} 0+600x80`},
				Quiet:    []string{`aside_requests_total{job="aside",cache="todos",tier="none",result="error"} 0+1x80`, `aside_requests_total{job="aside",cache="todos",tier="l1",result="hit"} 0+600x80`},
			},
			{
				Name: "AsideLoadsRefused", Severity: Page, For: 2 * time.Minute,
				Expr:    `sum by (job, cache) (rate(aside_loads_refused_total[short])) > 0`,
				Summary: "The database is too slow for the loads of {{ $labels.cache }}: some are refused",
				Means:   "MaxLoads loads run, and those behind them get no slot within LoadTimeout, or no place in the queue. Reads fail with ErrOverloaded.",
				Runbook: "the-database-is-overloaded", Labels: ofCache,
				Explains: []string{"AsideReadsFail", "AsideServerErrors", "AsideLoadsFail", "AsideDatabaseSlow"},
				Fires:    []string{`aside_loads_refused_total{job="aside",cache="todos",instance="a:80"} 0+1x80`},
				Quiet:    []string{`aside_loads_refused_total{job="aside",cache="todos",instance="a:80"} 7x80`},
			},
			{
				Name: "AsideRedisNotUsed", Severity: Page, For: 5 * time.Minute,
				Expr:    `avg by (job, cache) (aside_degraded) > 0.5`,
				Summary: "Most nodes of {{ $labels.cache }} do not use Redis",
				Means:   "Nothing is lost, but the database has the load of all nodes. With FailClosed, writes are refused.",
				Runbook: "redis-is-not-used", Labels: ofCache,
				// No page: those say that users get errors, which this does not.
				Explains: []string{"AsideNodeWithoutRedis", "AsideInvalidationsWait", "AsideRedisSlow", "AsideL1FlushedOften", "AsideFeedNotFollowed", "AsideFeedLags", "AsideDatabaseSlow"},
				Fires:    []string{`aside_degraded{job="aside",cache="todos",instance="a:80"} 1x80`, `aside_degraded{job="aside",cache="todos",instance="b:80"} 1x80`, `aside_degraded{job="aside",cache="todos",instance="c:80"} 0x80`},
				Quiet:    []string{`aside_degraded{job="aside",cache="todos",instance="a:80"} 1x80`, `aside_degraded{job="aside",cache="todos",instance="b:80"} 0x80`},
			},
			{
				Name: "AsideNodeWithoutRedis", Severity: Ticket, For: 15 * time.Minute,
				Expr:    `aside_degraded == 1`,
				Summary: "{{ $labels.instance }} does not use Redis for {{ $labels.cache }}, or not fully",
				Means:   "Other nodes may answer with records that this node has changed, until their TTL.",
				Runbook: "redis-is-not-used", Labels: ofInstance,
				Explains: []string{"AsideInvalidationsWait", "AsideL1FlushedOften"},
				Fires:    []string{`aside_degraded{job="aside",cache="todos",instance="a:80"} 1x80`},
				Quiet:    []string{`aside_degraded{job="aside",cache="todos",instance="a:80"} 0x47 1x30`},
			},
			{
				Name: "AsideInvalidationsWait", Severity: Ticket, For: 5 * time.Minute,
				Expr:    `aside_invalidations_pending > 0`,
				Summary: "{{ $labels.instance }} cannot tell Redis what it has written to {{ $labels.cache }}",
				Means:   "Nodes that reach Redis may answer with the older records until their TTL.",
				Runbook: "a-record-is-stale", Labels: ofInstance,
				Fires: []string{`aside_invalidations_pending{job="aside",cache="todos",instance="a:80"} 3x80`},
				Quiet: []string{`aside_invalidations_pending{job="aside",cache="todos",instance="a:80"} 0 3x2 0x80`},
			},
			{
				Name: "AsideLoadsFail", Severity: Ticket, For: 10 * time.Minute,
				Expr: `sum by (job, cache) (rate(aside_load_failures_total[short]))
  / sum by (job, cache) (rate(aside_loads_total[short])) > 0.05`,
				Summary: "More than 5 % of the loads of {{ $labels.cache }} fail",
				Means:   "The database returns errors or is too slow. Reads go on from the cache while they can.",
				Runbook: "reads-fail", Labels: ofCache,
				Fires: []string{`aside_load_failures_total{job="aside",cache="todos"} 0+6x80`, `aside_loads_total{job="aside",cache="todos"} 0+60x80`},
				Quiet: []string{`aside_load_failures_total{job="aside",cache="todos"} 0+1x80`, `aside_loads_total{job="aside",cache="todos"} 0+60x80`},
			},
			{
				Name: "AsideWritesUnknown", Severity: Ticket,
				Expr:    `sum by (job, cache) (increase(aside_writes_unknown_total[long])) > 5`,
				Summary: "Writes to {{ $labels.cache }} end with an unknown outcome",
				Means:   "Their keys stay uncached until their fences end. Timeouts of the database, or errors that are not marked as Aborted.",
				Runbook: "writes-are-refused-or-their-outcome-is-unknown", Labels: ofCache,
				Fires: []string{`aside_writes_unknown_total{job="aside",cache="todos"} 0+1x80`},
				Quiet: []string{`aside_writes_unknown_total{job="aside",cache="todos"} 0x55 1x30`},
			},
			{
				Name: "AsideFencesLost", Severity: Ticket,
				Expr:    `sum by (job, cache) (increase(aside_fences_lost_total[long])) > 0`,
				Summary: "Fences of writes to {{ $labels.cache }} were gone before the writes ended",
				Means:   "A reader may have stored the record from before the write. Redis evicts or has lost keys, or writes outlive FenceTTL.",
				Runbook: "a-record-is-stale", Labels: ofCache,
				Fires: []string{`aside_fences_lost_total{job="aside",cache="todos"} 0x55 1x30`},
				Quiet: []string{`aside_fences_lost_total{job="aside",cache="todos"} 5x80`},
			},
			{
				Name: "AsideRedisSlow", Severity: Ticket, For: 10 * time.Minute,
				Expr:    `histogram_quantile(0.99, sum by (job, cache, le) (rate(aside_l2_duration_seconds_bucket[short]))) > 0.05`,
				Summary: "1 % of the operations of {{ $labels.cache }} on Redis take more than 50 ms",
				Means:   "Every miss waits for Redis. Above L2Timeout the operation fails and the breaker opens.",
				Runbook: "redis-is-slow", Labels: ofCache,
				Explains: []string{"AsideL1FlushedOften"},
				Fires:    []string{`aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="0.05"} 0+50x80`, `aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="0.1"} 0+60x80`, `aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="+Inf"} 0+60x80`},
				Quiet:    []string{`aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="0.05"} 0+60x80`, `aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="0.1"} 0+60x80`, `aside_l2_duration_seconds_bucket{job="aside",cache="todos",le="+Inf"} 0+60x80`},
			},
			{
				Name: "AsideL1FlushedOften", Severity: Ticket,
				Expr:    `increase(aside_l1_flushes_total[long]) > 5`,
				Summary: "{{ $labels.instance }} empties its memory for {{ $labels.cache }} again and again",
				Means:   "Its connection to Redis breaks, or answers come too late. Each time, the next reads ask Redis.",
				Runbook: "redis-is-slow", Labels: ofInstance,
				Fires: []string{`aside_l1_flushes_total{job="aside",cache="todos",instance="a:80"} 0+1x80`},
				Quiet: []string{`aside_l1_flushes_total{job="aside",cache="todos",instance="a:80"} 0x55 1x30`},
			},
			{
				Name: "AsideUnusableEntries", Severity: Ticket,
				Expr:    `sum by (job, cache) (increase(aside_undecodable_total[long])) > 0`,
				Summary: "Entries of {{ $labels.cache }} in Redis are of no use, and are replaced",
				Means:   "Releases with different schemas run, or another program writes to these keys.",
				Runbook: "entries-are-of-no-use", Labels: ofCache,
				Fires: []string{`aside_undecodable_total{job="aside",cache="todos"} 0+1x80`},
				Quiet: []string{`aside_undecodable_total{job="aside",cache="todos"} 9x80`},
			},
			{
				Name: "AsideTrackingTableFull", Severity: Ticket, For: 15 * time.Minute,
				Expr:    `aside_l2_tracked_keys > 0.9 * (aside_l2_tracked_keys_limit > 0)`,
				Summary: "Redis will soon forget which keys the nodes have read ({{ $labels.l2 }})",
				Means:   "Beyond tracking-table-max-keys it forgets keys, and the nodes drop them from memory, again and again.",
				Runbook: "redis-runs-out-of-memory", Labels: map[string]string{"job": "aside", "l2": "todos", "instance": "a:80"},
				Fires: []string{`aside_l2_tracked_keys{job="aside",l2="todos",instance="a:80"} 950000x80`, `aside_l2_tracked_keys_limit{job="aside",l2="todos",instance="a:80"} 1000000x80`},
				Quiet: []string{`aside_l2_tracked_keys{job="aside",l2="todos",instance="a:80"} 950000x80`, `aside_l2_tracked_keys_limit{job="aside",l2="todos",instance="a:80"} 0x80`},
			},
			{
				Name: "AsideFeedNotFollowed", Severity: Ticket, For: 5 * time.Minute,
				Expr:    `max by (job, cache) (aside_feed_fed) == 0`,
				Summary: "Nobody follows the feed of {{ $labels.cache }}",
				Means:   "Changes made past the cache are not seen until the TTL of the record. /readyz and the log say why.",
				Runbook: "the-feed-lags-or-is-not-followed", Labels: ofCache,
				Explains: []string{"AsideFeedLags"},
				Fires:    []string{`aside_feed_fed{job="aside",cache="todos",instance="a:80"} 0x80`, `aside_feed_fed{job="aside",cache="todos",instance="b:80"} 0x80`},
				Quiet:    []string{`aside_feed_fed{job="aside",cache="todos",instance="a:80"} 0x80`, `aside_feed_fed{job="aside",cache="todos",instance="b:80"} 1x80`},
			},
			{
				Name: "AsideFeedLags", Severity: Ticket, For: 5 * time.Minute,
				Expr: `max by (job, cache) (aside_feed_lag_seconds) > 2
  and sum by (job, cache) (rate(aside_feed_changes_total[short])) > 0`,
				Summary: "The feed of {{ $labels.cache }} is more than 2 s behind the database",
				Means:   "Changes made past the cache are seen that much later.",
				Runbook: "the-feed-lags-or-is-not-followed", Labels: ofCache,
				Fires: []string{`aside_feed_lag_seconds{job="aside",cache="todos",instance="a:80"} 20x80`, `aside_feed_changes_total{job="aside",cache="todos",instance="a:80"} 0+9x80`},
				Quiet: []string{`aside_feed_lag_seconds{job="aside",cache="todos",instance="a:80"} 20x80`, `aside_feed_changes_total{job="aside",cache="todos",instance="a:80"} 9x80`}, // of long ago
			},
		},
	},
	{
		Name:    "aside-service",
		Comment: "For aside serve only. The job that scrapes it has a name that begins with aside.",
		Alerts: []Alert{
			{
				Name: "AsideDown", Severity: Page, For: time.Minute,
				Expr:    `sum by (job) (up{job=~"aside.*"}) == 0`,
				Summary: "No server of {{ $labels.job }} answers",
				Means:   "Prometheus reaches none of them.",
				Runbook: "no-server-answers", Labels: map[string]string{"job": "aside"},
				Explains: []string{"AsideNodeDown", "AsideReadsFail", "AsideLoadsRefused", "AsideServerErrors", "AsideLoadsFail"},
				Fires:    []string{`up{job="aside",instance="a:80"} 0x80`, `up{job="aside",instance="b:80"} 0x80`},
				Quiet:    []string{`up{job="aside",instance="a:80"} 0x80`, `up{job="aside",instance="b:80"} 1x80`},
			},
			{
				Name: "AsideServerErrors", Severity: Page, For: 5 * time.Minute,
				Expr: `sum by (job) (rate(aside_http_requests_total{code=~"5.."}[short]))
  / sum by (job) (rate(aside_http_requests_total[short])) > 0.01`,
				Summary: "More than 1 % of the requests to {{ $labels.job }} get an error of the server",
				Means:   "Reads or writes fail. The log has a line for each, with its cause.",
				Runbook: "reads-fail", Labels: map[string]string{"job": "aside"},
				Fires: []string{`aside_http_requests_total{job="aside",code="503"} 0+60x80`, `aside_http_requests_total{job="aside",code="200"} 0+600x80`},
				Quiet: []string{`aside_http_requests_total{job="aside",code="404"} 0+60x80`, `aside_http_requests_total{job="aside",code="503"} 0+1x80`, `aside_http_requests_total{job="aside",code="200"} 0+600x80`},
			},
			{
				Name: "AsideNodeDown", Severity: Ticket, For: 5 * time.Minute,
				Expr:    `up{job=~"aside.*"} == 0`,
				Summary: "{{ $labels.instance }} does not answer",
				Means:   "The process is gone, hangs, or cannot be reached. The others go on.",
				Runbook: "no-server-answers", Labels: map[string]string{"job": "aside", "instance": "a:80"},
				Fires: []string{`up{job="aside",instance="a:80"} 0x80`},
				Quiet: []string{`up{job="aside",instance="a:80"} 1x80`},
			},
			{
				Name: "AsideDatabaseSlow", Severity: Ticket, For: 10 * time.Minute,
				Expr:    `histogram_quantile(0.99, sum by (job, le) (rate(aside_store_duration_seconds_bucket[short]))) > 0.5`,
				Summary: "1 % of the calls to the database of {{ $labels.job }} take more than 0.5 s",
				Means:   "Misses and writes wait that long. Loads queue, and are refused when the queue is full.",
				Runbook: "the-database-is-overloaded", Labels: map[string]string{"job": "aside"},
				Explains: []string{"AsideLoadsFail"},
				Fires:    []string{`aside_store_duration_seconds_bucket{job="aside",le="0.5"} 0+50x80`, `aside_store_duration_seconds_bucket{job="aside",le="1"} 0+60x80`, `aside_store_duration_seconds_bucket{job="aside",le="+Inf"} 0+60x80`},
				Quiet:    []string{`aside_store_duration_seconds_bucket{job="aside",le="0.5"} 0+60x80`, `aside_store_duration_seconds_bucket{job="aside",le="1"} 0+60x80`, `aside_store_duration_seconds_bucket{job="aside",le="+Inf"} 0+60x80`},
			},
			{
				Name: "AsideMemoryNearLimit", Severity: Ticket, For: 15 * time.Minute,
				Expr:    `process_resident_memory_bytes{job=~"aside.*"} > 0.9 * go_gc_gomemlimit_bytes{job=~"aside.*"}`,
				Summary: "{{ $labels.instance }} uses more than 90 % of GOMEMLIMIT",
				Means:   "The garbage collector takes more and more of the processor, and the system may end the process.",
				Runbook: "memory-grows", Labels: map[string]string{"job": "aside", "instance": "a:80"},
				Fires: []string{`process_resident_memory_bytes{job="aside",instance="a:80"} 950x80`, `go_gc_gomemlimit_bytes{job="aside",instance="a:80"} 1000x80`},
				Quiet: []string{`process_resident_memory_bytes{job="aside",instance="a:80"} 850x80`, `go_gc_gomemlimit_bytes{job="aside",instance="a:80"} 1000x80`},
			},
		},
	},
}
