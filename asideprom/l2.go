package asideprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside/driver"
)

// L2Collector exports what an L2's servers remember of who has read which key. Make
// one with NewL2Collector.
//
// The figures are those of the servers, for all caches and nodes together. So an L2
// has a Collector of its own, and not one for each cache.
type L2Collector struct {
	l2                 driver.Tracking // nil: it does not track
	keys, items, limit *prometheus.Desc
}

var _ prometheus.Collector = (*L2Collector)(nil)

// NewL2Collector makes an L2Collector. l2 is what the caches have in Options.L2, for
// example a *redisl2.Store. name is the value of the label l2, which must differ
// between the L2s of a registry.
//
// It exports aside_l2_tracked_keys, aside_l2_tracked_items and
// aside_l2_tracked_keys_limit if l2 implements driver.Tracking, and as soon as that
// has figures. Otherwise it exports nothing.
func NewL2Collector(name string, l2 driver.Tier) *L2Collector {
	labels := prometheus.Labels{"l2": name}
	c := &L2Collector{
		keys: prometheus.NewDesc("aside_l2_tracked_keys",
			"Keys that L2's servers remember some client to have read.", nil, labels),
		items: prometheus.NewDesc("aside_l2_tracked_items",
			"Pairs of a key and a client that has read it, which L2's servers remember for invalidations.", nil, labels),
		limit: prometheus.NewDesc("aside_l2_tracked_keys_limit",
			"Keys that a server of L2 remembers at most; 0: no limit. Of several servers, the lowest.", nil, labels),
	}
	c.l2, _ = l2.(driver.Tracking)
	return c
}

// Describe implements prometheus.Collector.
func (c *L2Collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.keys
	ch <- c.items
	ch <- c.limit
}

// Collect implements prometheus.Collector.
func (c *L2Collector) Collect(ch chan<- prometheus.Metric) {
	if c.l2 == nil {
		return
	}
	t, ok := c.l2.Tracked()
	if !ok {
		return
	}
	ch <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(t.Keys))
	ch <- prometheus.MustNewConstMetric(c.items, prometheus.GaugeValue, float64(t.Items))
	ch <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(t.Limit))
}
