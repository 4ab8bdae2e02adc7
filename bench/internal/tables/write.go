package tables

import (
	"context"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
)

var writePeers = []string{
	"rueidis", "aside", "aside-publish", "aside-l2", "goredis", "redis-cache", "rueidisaside", "rockscache", "jetcache",
	"jetcache-both", "gozero", "sturdyc-redis", "gocache",
}

func makeWrite(ctx context.Context, t *run) error {
	t.set("keys", "%d, written uniformly; the primary takes no time", t.Scale.L2Keys)
	t.set("rounds", "%d, each of %v for each figure", t.Scale.Rounds, t.Scale.L2Slot)
	stations := map[string]*station{}
	defer func() {
		for _, s := range stations {
			s.stop()
		}
	}()
	err := t.each(ctx, t.Scale.Rounds, func(ctx context.Context, p peer.Peer, _ int) (err error) {
		s := stations[p.ID]
		if s == nil {
			if s, err = newStation(ctx, p, 1); err != nil {
				return err
			}
			stations[p.ID] = s
			if err := t.trips(ctx, s); err != nil {
				return err
			}
			if err := s.open(ctx, t.Scale.L2Keys, 0); err != nil {
				return err
			}
		}
		for _, n := range concurrencies {
			l, err := s.sample(ctx, "Writes", measure.WriteArgs{Goroutines: n, For: t.Scale.L2Slot})
			if err != nil {
				return err
			}
			t.note(p.ID, l.Trouble)
			t.addLoad(p, n, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.appendLoads("writes", "rueidis DEL")
	t.append(t.section(report.Section{
		Name: "trips", Title: "Round trips to Redis",
		Columns: []report.Column{{ID: "write", Title: "a write"}, {ID: "writecommands", Title: "commands for a write"}},
	}))
	return nil
}
