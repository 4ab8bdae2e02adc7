package tables

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
)

var missPeers = []string{
	"rueidis", "rueidis-cache", "aside", "aside-l2", "goredis", "goredis-cache", "redis-cache", "redis-cache-both", "rueidisaside", "rockscache",
	"rockscache-strong", "jetcache", "jetcache-both", "gozero", "sturdyc-redis", "gocache", "gocache-chain",
}

// coldModes are the ways in which cold keys are read.
var coldModes = []struct {
	id         string
	goroutines int
	delay      time.Duration // of a load
}{
	{"serial0", 1, 0},
	{"serial1", 1, time.Millisecond},
	{"cold100", 100, 0},
}

func makeMiss(ctx context.Context, t *run) error {
	t.set("round trips", "the median of %d operations, one after the other", t.Scale.Trips)
	t.set("cold keys", "each key is read once; %d rounds, each of %v for each figure; until the last fill has ended", t.Scale.ColdRounds, t.Scale.ColdSlot)
	err := t.each(ctx, t.Scale.ColdRounds, func(ctx context.Context, p peer.Peer, round int) error {
		s, err := newStation(ctx, p, 1)
		if err != nil {
			return err
		}
		defer s.stop()
		if round == 0 {
			if err := t.trips(ctx, s); err != nil {
				return err
			}
		}
		for _, m := range coldModes {
			if err := s.open(ctx, 0, m.delay); err != nil {
				return err
			}
			a := measure.ColdArgs{Prefix: fmt.Sprintf("%s:%d:", m.id, round), Goroutines: m.goroutines, For: t.Scale.ColdSlot}
			l, err := s.sample(ctx, "Cold", a)
			if err != nil {
				return err
			}
			t.note(p.ID, l.Trouble)
			t.add(p.ID, m.id+"p50", microseconds(l.P50))
			t.add(p.ID, m.id+"p99", microseconds(l.P99))
			t.add(p.ID, m.id+"ops", l.perSecond())
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.ratio("x", "cold100ops", t.kind.reference)
	cold := t.section(report.Section{
		Name: "cold", Title: "Cold keys", Chart: "cold100ops",
		Columns: []report.Column{
			{ID: "cold100ops", Title: "keys/s, 100 goroutines", Spread: true},
			{ID: "cold100p99", Title: "p99 µs"},
			{ID: "serial0p50", Title: "1 goroutine: p50 µs"}, {ID: "serial0p99", Title: "p99 µs"},
			{ID: "serial1p50", Title: "1 goroutine, a load of 1 ms: p50 µs"}, {ID: "serial1p99", Title: "p99 µs"},
			{ID: "x", Title: "x rueidis GET and SET", Decimals: 2, Spread: true},
		},
	})
	cold.Sort("cold100ops", true)
	t.append(cold)
	t.append(t.section(report.Section{
		Name: "trips", Title: "Round trips to Redis",
		Columns: []report.Column{
			{ID: "miss", Title: "a miss"}, {ID: "hit1", Title: "the first hit"}, {ID: "hit2", Title: "the second hit"},
			{ID: "write", Title: "a write"}, {ID: "commands", Title: "commands for a miss"},
		},
	}))
	return nil
}

// trips counts a peer's round trips.
func (t *run) trips(ctx context.Context, s *station) error {
	if err := s.open(ctx, 0, 0); err != nil {
		return err
	}
	var r measure.Trips
	if err := s.call(ctx, 0, "Trips", t.Scale.Trips, &r); err != nil {
		return err
	}
	id := s.peer.ID
	t.add(id, "miss", float64(r.Miss))
	t.add(id, "hit1", float64(r.FirstHit))
	t.add(id, "hit2", float64(r.SecondHit))
	t.add(id, "write", float64(r.Write))
	t.text(id, "commands", r.MissCommands)
	t.text(id, "writecommands", r.WriteCommands)
	return nil
}
