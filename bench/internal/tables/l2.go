package tables

import (
	"context"
	"fmt"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
	"github.com/asidecache/aside/bench/internal/report"
)

var l2Peers = []string{
	"rueidis-get", "rueidis", "rueidis-flush20", "aside-l2", "aside-binary", "aside-strong", "goredis-get", "goredis", "goredis-auto",
	"redis-cache", "rueidisaside-l2", "rockscache", "rockscache-strong", "jetcache", "gozero", "gocache",
}

// concurrencies are the numbers of goroutines that ask at one time.
var concurrencies = []int{1, 16, 100}

func makeL2(ctx context.Context, t *run) error {
	t.set("keys", "%d, all cached, asked for uniformly", t.Scale.L2Keys)
	t.set("rounds", "%d, each of %v for each figure", t.Scale.Rounds, t.Scale.L2Slot)
	stations, err := t.filled(ctx, t.Scale.L2Keys)
	defer func() {
		for _, s := range stations {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	err = t.each(ctx, t.Scale.Rounds, func(ctx context.Context, p peer.Peer, _ int) error {
		for _, n := range concurrencies {
			l, err := stations[p.ID].sample(ctx, "Hits", measure.HitArgs{Dist: record.Uniform, Goroutines: n, For: t.Scale.L2Slot, Timed: true})
			if err != nil {
				return err
			}
			t.noteHits(p, l)
			t.addLoad(p, n, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.appendLoads("hits", "rueidis GET")
	return nil
}

// addLoad adds a sample of operations against Redis at one concurrency.
func (t *run) addLoad(p peer.Peer, n int, l loaded) {
	for column, v := range map[string]float64{
		"ops": l.perSecond(), "p50": microseconds(l.P50), "p99": microseconds(l.P99),
		"cpu": l.each(microseconds(l.CPU)), "redis": l.each(microseconds(l.redis.CPU)),
	} {
		t.add(p.ID, fmt.Sprint(column, n), v)
	}
}

// appendLoads makes a section for each concurrency of what addLoad added.
func (t *run) appendLoads(what, reference string) {
	for _, n := range concurrencies {
		id := func(column string) string { return fmt.Sprint(column, n) }
		title := fmt.Sprintf("%d goroutines", n)
		if n == 1 {
			title = "1 goroutine"
		}
		t.ratio(id("x"), id("ops"), t.kind.reference)
		s := t.section(report.Section{
			Name: fmt.Sprint(n), Title: title, Chart: id("ops"),
			Columns: []report.Column{
				{ID: id("ops"), Title: what + "/s", Spread: true},
				{ID: id("p50"), Title: "p50 µs"}, {ID: id("p99"), Title: "p99 µs"},
				{ID: id("cpu"), Title: "client CPU µs/op", Decimals: 1}, {ID: id("redis"), Title: "Redis CPU µs/op", Decimals: 1},
				{ID: id("x"), Title: "x " + reference, Decimals: 2, Spread: true},
			},
		})
		s.Sort(id("ops"), true)
		t.append(s)
	}
}
