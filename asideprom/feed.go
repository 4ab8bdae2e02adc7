package asideprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
)

// FeedCollector reads what a cache knows of its feed, whenever Prometheus asks. Make
// one with NewFeedCollector, of a cache with Options.Feed.
type FeedCollector struct {
	stats   func() aside.Stats
	metrics []feedMetric
}

type feedMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*aside.FeedStats) float64
}

var _ prometheus.Collector = (*FeedCollector)(nil)

// NewFeedCollector makes a FeedCollector of a cache; see NewCollector for the
// arguments. Counters of a node count only while that node follows the feed: sum them
// over the nodes.
func NewFeedCollector(cache string, stats func() aside.Stats) *FeedCollector {
	c := &FeedCollector{stats: stats}
	add := func(kind prometheus.ValueType, name, help string, value func(*aside.FeedStats) float64) {
		c.metrics = append(c.metrics, feedMetric{prometheus.NewDesc(name, help, nil, prometheus.Labels{"cache": cache}), kind, value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(gauge, "aside_feed_fed", "1 while changes made past the cache are seen. Stats.Feed.Reason says why not.", func(s *aside.FeedStats) float64 { return bit(s.Fed) })
	add(gauge, "aside_feed_leads", "1 on the node that follows the feed.", func(s *aside.FeedStats) float64 { return bit(s.Leads) })
	add(gauge, "aside_feed_lag_seconds", "Time from the commit of the last change until it had been handled, by the clocks of both.", func(s *aside.FeedStats) float64 { return s.Lag.Seconds() })
	add(gauge, "aside_feed_last_change_timestamp_seconds", "When the last change had been handled; 0: none yet.", func(s *aside.FeedStats) float64 {
		if s.LastChange.IsZero() {
			return 0
		}
		return float64(s.LastChange.UnixMilli()) / 1000
	})
	add(counter, "aside_feed_changes_total", "Changes of the primary that were handled.", func(s *aside.FeedStats) float64 { return float64(s.Changes) })
	add(counter, "aside_feed_changes_left_total", "Changes whose entry was left, since it was as new: mostly writes through the cache.", func(s *aside.FeedStats) float64 { return float64(s.OwnLeft) })
	add(counter, "aside_feed_batches_total", "Batches of changes that were handled.", func(s *aside.FeedStats) float64 { return float64(s.Batches) })
	add(counter, "aside_feed_clears_total", "Times the cache was cleared, since everything may have changed or changes were missing.", func(s *aside.FeedStats) float64 { return float64(s.Clears) })
	add(counter, "aside_feed_gaps_total", "Times changes were missing.", func(s *aside.FeedStats) float64 { return float64(s.Gaps) })
	add(counter, "aside_feed_went_back_total", "Times changes were told again, since L2 may have lost its latest commands.", func(s *aside.FeedStats) float64 { return float64(s.WentBack) })
	return c
}

// Describe implements prometheus.Collector.
func (c *FeedCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *FeedCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats().Feed
	for _, m := range c.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s))
	}
}
