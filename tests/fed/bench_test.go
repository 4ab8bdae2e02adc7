package fed_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/tests/testserver"
)

// BenchmarkOutsideCommit measures the time from an acknowledged commit in PostgreSQL until
// the last of three nodes has dropped the record from L1: idle, and under 5,000 reads and
// 500 other outside writes a second. Run it with a fixed count:
//
//	go test -run '^$' -bench OutsideCommit -benchtime 2000x ./fed
func BenchmarkOutsideCommit(b *testing.B) {
	for _, busy := range []bool{false, true} {
		name := "idle"
		if busy {
			name = "busy"
		}
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, testserver.Postgres(b), testserver.Redis(b).URL())
			const records = 10_000
			w.outside("INSERT INTO todos SELECT i::text, 'some text' FROM generate_series(1, $1::int) i", records)
			nodes := w.nodes(3)
			if busy {
				defer w.load(nodes, records, 5000, 500)()
			}
			w.put("k", "0")
			var lags []time.Duration
			for i := range b.N {
				for _, n := range nodes {
					n.inL1("k")
				}
				w.put("k", fmt.Sprint(i))
				committed := time.Now()
				for _, n := range nodes {
					for {
						at := time.Now()
						r, err := n.Read(b.Context(), "k", w, aside.Default)
						if err != nil {
							b.Fatal(err)
						}
						if r.Source != aside.SourceL1 || r.Value.Name == fmt.Sprint(i) {
							lags = append(lags, max(0, at.Sub(committed)))
							break
						}
						time.Sleep(20 * time.Microsecond)
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
			b.StopTimer()
			// Of each commit, the last node's.
			var last []time.Duration
			for three := range slices.Chunk(lags, len(nodes)) {
				last = append(last, slices.Max(three))
			}
			slices.Sort(last)
			for _, q := range []struct {
				name string
				of   float64
			}{{"p50-ms", 0.5}, {"p99-ms", 0.99}, {"p99.9-ms", 0.999}, {"worst-ms", 1}} {
				i := min(int(q.of*float64(len(last))), len(last)-1)
				b.ReportMetric(float64(last[i].Microseconds())/1000, q.name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// load reads and writes other records at a pace until the function that it returns is
// called. That reports what pace was kept.
func (w *world) load(nodes []*node, records, reads, writes int) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	var counts [2]int
	at := func(which, perSecond int, do func(id string)) {
		running.Go(func() {
			const tick = 10 * time.Millisecond
			t := time.NewTicker(tick)
			defer t.Stop()
			due := 0.0
			for {
				select {
				case <-done:
					return
				case <-t.C:
				}
				for due += float64(perSecond) * tick.Seconds(); due >= 1; due-- {
					do(fmt.Sprint(rand.IntN(records) + 1))
					counts[which]++
				}
			}
		})
	}
	begun := time.Now()
	at(0, reads, func(id string) { nodes[rand.IntN(len(nodes))].name(id, aside.Default) })
	at(1, writes, func(id string) { w.put(id, "other text") })
	return func() {
		close(done)
		running.Wait()
		s := time.Since(begun).Seconds()
		w.Logf("%.0f reads/s, %.0f outside writes/s", float64(counts[0])/s, float64(counts[1])/s)
	}
}
