package aside

import (
	"fmt"
	"time"

	"github.com/asidecache/aside/internal/l1"
	"github.com/asidecache/aside/internal/ranking"
)

// Top is what stood out on this node lately: see Cache.Top. The first entries of each
// list have the highest figures.
type Top struct {
	// Since is when the figures begin: two to four minutes ago, or with the cache.
	Since time.Time
	// Hottest are the keys that were read most. Count is about the number of reads, as
	// far as that can be told from samples of them.
	Hottest []TopKey
	// Slowest are the keys whose loads took longest. Took is the longest load, its wait
	// for a slot included; At is when it ended.
	Slowest []TopKey
	// Biggest are the keys with the biggest entries that were read from L2 or stored
	// there. Bytes is the size of the entry in L2, compressed if it is so there. Without L2
	// it is the cost by Options.L1Cost, if that is set.
	Biggest []TopKey
	// Written are the keys that were written most through this node, each write with a
	// fence on its key in L2, if there is one. Count is the number of writes.
	Written []TopKey
}

// TopKey is a key and its figure. Figures of other lists are zero.
type TopKey struct {
	Key   string // as Options.Key returns it
	Count uint64
	Took  time.Duration
	Bytes uint64
	At    time.Time // when the figure rose last
}

// Top returns the n keys that stood out most on this node in each respect, of the last
// two to four minutes. At most 256 of each are known. It remembers keys for this, 1024
// at most.
func (c *Cache[K, V]) Top(n int) Top {
	n = max(0, n)
	c.l1.Sample()
	now := time.Now()
	hot, since := c.top.hot.Sums(n, now)
	slow, _ := c.top.slow.Highest(n, now)
	big, _ := c.top.big.Highest(n, now)
	written, _ := c.top.written.Sums(n, now)
	return Top{
		Since:   since,
		Hottest: topKeys(c, hot, func(k *TopKey, n int64) { k.Count = uint64(n) }),
		Slowest: topKeys(c, slow, func(k *TopKey, n int64) { k.Took = time.Duration(n) }),
		Biggest: topKeys(c, big, func(k *TopKey, n int64) { k.Bytes = uint64(n) }),
		Written: topKeys(c, written, func(k *TopKey, n int64) { k.Count = uint64(n) }),
	}
}

func topKeys[K comparable, V any](c *Cache[K, V], ranked []ranking.Ranked[K], figure func(*TopKey, int64)) []TopKey {
	out := make([]TopKey, len(ranked))
	for i, r := range ranked {
		out[i] = TopKey{Key: c.keyText(r.Key), At: r.At}
		figure(&out[i], r.Figure)
	}
	return out
}

// keyText is a key as an operator sees it.
func (c *Cache[K, V]) keyText(k K) string {
	if c.opts.Key != nil {
		if s, err := c.key(k); err == nil {
			return s
		}
	}
	return fmt.Sprint(k)
}

// tops are the rankings behind Top.
type tops[K comparable] struct {
	hot, slow, big, written ranking.Ranking[K]
}

// l1Config is the configuration of L1, with what it tells of hits and evictions.
func (c *Cache[K, V]) l1Config() l1.Config[K, V] {
	return l1.Config[K, V]{
		MaxEntries: c.opts.L1Size, MaxCost: c.opts.L1MaxCost, Cost: c.l1Cost,
		Keep: c.keepL1(), Revalidate: c.opts.StaleWhileRevalidate,
		Tags:    c.tags.Mirror,
		Hit:     c.sawHit,
		Evicted: func(k K) { c.saw(k, EventEvict, 0, 0, nil) },
		Sampled: func(k K, n uint64) { c.top.hot.Add(k, int64(n), time.Now()) },
		Reads:   func() uint64 { return c.n.hitsL2.Load() + c.n.misses.Load() + c.n.failures.Load() },
	}
}
