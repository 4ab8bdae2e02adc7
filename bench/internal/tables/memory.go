package tables

import (
	"context"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/report"
	"github.com/asidecache/aside/bench/internal/worker"
)

var memoryPeers = []string{
	"floor", "map", "otter", "aside-l1", "aside", "ristretto", "theine", "lru", "sturdyc-get", "gozero-local", "gocache-local",
	"jetcache-tinylfu", "redis-cache-local", "rueidis-cache", "goredis-cache",
}

func makeMemory(ctx context.Context, t *run) error {
	t.set("entries", "%d; room for twice as many", t.Scale.Entries)
	t.set("rounds", "%d, each on a fresh process", t.Scale.MemoryRounds)
	err := t.each(ctx, t.Scale.MemoryRounds, func(ctx context.Context, p peer.Peer, _ int) error {
		s, err := newStation(ctx, p, 1)
		if err != nil {
			return err
		}
		defer s.stop()
		var m measure.Memory
		if p.ID == peer.Floor.ID {
			err = s.call(ctx, 0, "DataAlone", t.Scale.Entries, &m)
		} else if err = s.open(ctx, t.Scale.Entries, 0); err == nil {
			err = s.call(ctx, 0, "Memory", worker.None{}, &m)
		}
		if err != nil {
			return err
		}
		t.note(p.ID, m.Trouble)
		t.add(p.ID, "entries", float64(m.Entries))
		t.add(p.ID, "heap", float64(m.Heap)/float64(m.Entries))
		t.add(p.ID, "rss", float64(m.RSS)/float64(m.Entries))
		t.add(p.ID, "gc", milliseconds(m.GC))
		return nil
	})
	if err != nil {
		return err
	}
	s := report.Section{
		Name: "entry", Title: "Bytes for one entry", Chart: "heap",
		Columns: []report.Column{
			{ID: "entries", Title: "entries"}, {ID: "heap", Title: "heap, bytes an entry"}, {ID: "over", Title: "of which not key and record"},
			{ID: "rss", Title: "resident, bytes an entry"}, {ID: "gc", Title: "a collection, ms", Decimals: 1},
		},
	}
	s = t.section(s)
	alone, known := t.figures[peer.Floor.ID]["heap"].Median()
	for i, r := range s.Rows {
		if r.Peer == peer.Floor.ID {
			s.Rows[i].Name = "no cache: a slice of keys and records"
		}
		if heap, ok := r.Cells["heap"].Median(); ok && known {
			r.Cells["over"] = report.Figure(heap - alone)
		}
	}
	s.Sort("heap", false)
	t.append(s)
	return nil
}
