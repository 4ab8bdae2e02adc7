package tables

import (
	"context"
	"fmt"
	"runtime"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/worker"
)

var (
	// l1Typed keep values as they are.
	l1Typed = []string{
		"floor", "otter", "otter-coarse", "otter-loader", "aside-l1", "aside", "map", "ristretto", "theine", "theine-loader",
		"lru", "sturdyc-get", "sturdyc", "gozero-local", "gocache-local",
	}
	// l1Encoded keep bytes, which each hit decodes.
	l1Encoded = []string{
		"json", "rueidis-cache-raw", "rueidis-cache", "rueidisaside", "goredis-cache", "jetcache-tinylfu", "jetcache-freecache", "redis-cache-local", "gocache-chain",
	}
)

// l1Modes are the ways in which a cache is read.
var l1Modes = []struct {
	id, title string
	args      measure.HitArgs
}{
	{"su", "uniform, 1 goroutine", measure.HitArgs{Dist: record.Uniform, Goroutines: 1}},
	{"sz", "Zipf, 1 goroutine", measure.HitArgs{Dist: record.Zipf, Goroutines: 1}},
	{"pu", "uniform, parallel", measure.HitArgs{Dist: record.Uniform, Goroutines: runtime.GOMAXPROCS(0)}},
	{"pz", "Zipf, parallel", measure.HitArgs{Dist: record.Zipf, Goroutines: runtime.GOMAXPROCS(0)}},
}

func makeL1(ctx context.Context, t *run) error {
	t.set("keys", "%d, all cached; room for twice as many", t.Scale.L1Keys)
	t.set("Zipf", "exponent 1.1")
	t.set("parallel", "%d goroutines; a figure is the time of the run divided by all operations", runtime.GOMAXPROCS(0))
	t.set("rounds", "%d, each of %v for each figure", t.Scale.Rounds, t.Scale.L1Slot)
	stations, err := t.filled(ctx, t.Scale.L1Keys)
	defer func() {
		for _, s := range stations {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	err = t.each(ctx, t.Scale.Rounds, func(ctx context.Context, p peer.Peer, _ int) error {
		for _, m := range l1Modes {
			m.args.For = t.Scale.L1Slot
			l, err := stations[p.ID].sample(ctx, "Hits", m.args)
			if err != nil {
				return err
			}
			t.noteHits(p, l)
			if l.redis.Commands > 100+l.Ops/1000 { // some are not about a key
				t.note(p.ID, fmt.Sprintf("%d reads asked Redis %d times", l.Ops, l.redis.Commands))
			}
			t.add(p.ID, m.id, l.each(float64(l.Elapsed)))
			if m.id == "sz" {
				t.add(p.ID, "bytes", l.each(float64(l.Bytes)))
				t.add(p.ID, "allocs", l.each(float64(l.Allocs)))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var columns []report.Column
	for _, m := range l1Modes {
		columns = append(columns, report.Column{ID: m.id, Title: m.title, Spread: true})
	}
	columns = append(columns, report.Column{ID: "bytes", Title: "B/op"}, report.Column{ID: "allocs", Title: "allocs/op"})
	for _, m := range []int{0, 3} {
		from := l1Modes[m]
		t.ratio("x"+from.id, from.id, t.kind.reference)
		columns = append(columns, report.Column{ID: "x" + from.id, Title: "x otter, " + from.title, Decimals: 2, Spread: true})
	}
	for _, s := range []report.Section{
		{Name: "typed", Title: "Nanoseconds for a hit, values kept as they are"},
		{Name: "encoded", Title: "Nanoseconds for a hit, values kept as bytes"},
	} {
		s.Chart, s.Columns = "pz", columns
		ids := l1Typed
		if s.Name == "encoded" {
			ids = l1Encoded
		}
		s = t.section(s, ids...)
		s.Sort(s.Chart, false)
		t.append(s)
	}
	return nil
}

// filled starts a station for every peer, one worker each, and fills its cache.
func (t *run) filled(ctx context.Context, keys int) (map[string]*station, error) {
	stations := map[string]*station{}
	for _, id := range t.ids() {
		err := t.attempt(ctx, id, "filling", func(p peer.Peer) error {
			s, err := newStation(ctx, p, 1)
			if err != nil {
				return err
			}
			stations[id] = s
			if err := s.open(ctx, keys, 0); err != nil {
				return err
			}
			var missing int64
			if err := s.call(ctx, 0, "Fill", worker.None{}, &missing); err != nil {
				return err
			}
			if missing > 0 && id != peer.Floor.ID {
				t.note(id, fmt.Sprintf("%d of %d keys would not stay in the cache", missing, keys))
			}
			return nil
		})
		if err != nil {
			return stations, err
		}
	}
	return stations, nil
}

// noteHits notes what makes reads other than hits.
func (t *run) noteHits(p peer.Peer, l loaded) {
	t.note(p.ID, l.Trouble)
	if l.Loads > l.Ops/1000 {
		t.note(p.ID, fmt.Sprintf("%d of %d reads were misses", l.Loads, l.Ops))
	}
}
