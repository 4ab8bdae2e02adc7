package tables

import (
	"context"
	"fmt"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/worker"
)

var stalePeers = []string{
	"aside", "aside-strong", "aside-l2", "rockscache-strong", "rockscache", "rockscache-request", "rueidisaside", "redis-cache",
	"redis-cache-both", "gozero", "jetcache", "jetcache-both", "goredis", "goredis-cache", "rueidis-cache", "gocache", "gocache-chain", "sturdyc-redis",
	"aside-l1", "otter-loader", "sturdyc",
}

// The workload.
const (
	staleClients = 4
	staleKeys    = 64
	staleReaders = 8
	staleWriters = 4
)

func makeStale(ctx context.Context, t *run) error {
	t.set("clients", "%d, instances of their own in one process, one Redis; 1 where nothing joins them", staleClients)
	t.set("workload", "%d keys, Zipf 1.1; %d readers a client that pause for up to 1 ms; %d writers that pause for up to 10 ms and write by way of any client", staleKeys, staleReaders, staleWriters)
	t.set("load", "up to 2.5 ms, the read of the primary, up to 2.5 ms")
	t.set("time to live", "60s")
	t.set("rounds", "%d, each of %v", t.Scale.StaleRounds, t.Scale.StaleSlot)
	t.set("replays", "%d of each interleaving", t.Scale.Replays)
	err := t.each(ctx, t.Scale.StaleRounds, func(ctx context.Context, p peer.Peer, round int) error {
		s, err := newStation(ctx, p, 1)
		if err != nil {
			return err
		}
		defer s.stop()
		if round == 0 {
			if err := t.replay(ctx, s); err != nil {
				return err
			}
		}
		var r measure.Stale
		a := measure.StaleArgs{
			Peer: p.ID, Redis: s.addr(), Clients: staleClients, Keys: staleKeys, Readers: staleReaders, Writers: staleWriters,
			For: t.Scale.StaleSlot, Seed: uint64(round),
		}
		if err := s.call(ctx, 0, "Stale", a, &r); err != nil {
			return err
		}
		t.addStale(p.ID, r)
		return nil
	})
	if err != nil {
		return err
	}
	s := t.section(report.Section{
		Name: "workload", Title: "Stale reads in 100,000", Chart: "stale",
		Columns: []report.Column{
			{ID: "stale", Title: "stale in 100,000", Spread: true},
			{ID: "p50", Title: "by p50 ms", Decimals: 2}, {ID: "p99", Title: "p99 ms", Decimals: 2}, {ID: "max", Title: "most ms", Decimals: 2},
			{ID: "late", Title: "stale pairs of key and client 0.5 s after the last write"}, {ID: "later", Title: "1 s after"},
			{ID: "clients", Title: "clients"}, {ID: "reads", Title: "reads/s"}, {ID: "writes", Title: "writes/s"}, {ID: "loads", Title: "loads/s"},
			{ID: "readp50", Title: "a read: p50 ms", Decimals: 2}, {ID: "readp99", Title: "p99 ms", Decimals: 2},
		},
	})
	s.Sort("stale", false)
	t.append(s)
	t.append(t.section(report.Section{
		Name: "replays", Title: "Three interleavings, replayed: how often the read was stale",
		Columns: []report.Column{
			{ID: "join", Title: "a read joins a load that began before the write"},
			{ID: "latefill", Title: "a load from before the write fills after it"},
			{ID: "twoloads", Title: "the same, beside a second load"},
		},
	}))
	return nil
}

func (t *run) addStale(id string, r measure.Stale) {
	t.note(id, r.Trouble)
	if r.Errors > 0 {
		t.note(id, fmt.Sprintf("%d reads and writes failed: %s", r.Errors, r.Trouble))
	}
	seconds := t.Scale.StaleSlot.Seconds()
	for column, v := range map[string]float64{
		"stale": 100_000 * float64(r.Stale) / float64(max(r.Reads, 1)),
		"p50":   milliseconds(r.P50), "p99": milliseconds(r.P99), "max": milliseconds(r.Max),
		"late": float64(r.After500ms), "later": float64(r.After1s), "clients": float64(r.Clients),
		"reads": float64(r.Reads) / seconds, "writes": float64(r.Writes) / seconds, "loads": float64(r.Loads) / seconds,
		"readp50": milliseconds(r.ReadP50), "readp99": milliseconds(r.ReadP99),
	} {
		t.add(id, column, v)
	}
}

func (t *run) replay(ctx context.Context, s *station) error {
	var r measure.Replayed
	if err := s.call(ctx, 0, "Replay", worker.ReplayArgs{Peer: s.peer.ID, Redis: s.addr(), Times: t.Scale.Replays}, &r); err != nil {
		return err
	}
	t.note(s.peer.ID, r.Trouble)
	for column, n := range map[string]int{"join": r.Join, "latefill": r.LateFill, "twoloads": r.TwoLoads} {
		t.text(s.peer.ID, column, fmt.Sprintf("%d of %d", n, r.Times))
	}
	return nil
}
