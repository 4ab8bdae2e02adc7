package l1

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"
)

// record is of the size of the reference system's.
type record struct {
	ID, Name, Description string
	Completed             bool
	Version               int64
}

type pair struct {
	key string
	r   *record
}

func newPair(i int) pair {
	k := fmt.Sprintf("%024x", i)
	return pair{k, &record{ID: k, Name: "name of todo " + k, Description: "a description that is about as long as " + k}}
}

func heap() float64 {
	runtime.GC() // what finalizers and pools keep needs two
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMemory: what L1 takes for an entry beside its key and its record. Those are
// measured as a slice of them, 24 bytes an element. Room for more entries is not used;
// in a tier that is full, half of the entries were evicted before.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{200_000, 700_000, 1_000_000} {
		for name, c := range map[string]struct{ inserts, most int }{"half full": {n, 2 * n}, "full": {2 * n, n}} {
			b.Run(fmt.Sprint(name, "/", n), func(b *testing.B) {
				for b.Loop() {
					before := heap()
					pairs := make([]pair, n)
					for i := range pairs {
						pairs[i] = newPair(i)
					}
					alone := heap() - before
					runtime.KeepAlive(pairs)
					pairs = nil
					before = heap()
					tier, err := New(Config[string, *record]{MaxEntries: c.most})
					if err != nil {
						b.Fatal(err)
					}
					for i := range c.inserts {
						p := newPair(i)
						tier.Insert(p.key, tier.Generation(p.key), p.r, false, Life{TTL: time.Hour})
					}
					if tier.Len() != n {
						b.Fatal(tier.Len(), "entries")
					}
					b.ReportMetric((heap()-before-alone)/float64(n), "B/entry")
					tier.Close()
				}
			})
		}
	}
}

// BenchmarkCollector: the collector's share of the processor while a tier of 10,000,000
// entries (or ASIDE_BENCH_ENTRIES) is read, and a part of the reads are misses that insert a
// record and evict another. It needs about 6 GB for them.
func BenchmarkCollector(b *testing.B) {
	n, _ := strconv.Atoi(os.Getenv("ASIDE_BENCH_ENTRIES"))
	if n == 0 {
		b.Skip("set ASIDE_BENCH_ENTRIES, such as to 10000000; each takes some 600 bytes while it runs")
	}
	tier, err := New(Config[string, *record]{MaxEntries: n})
	if err != nil {
		b.Fatal(err)
	}
	defer tier.Close()
	next := 0
	insert := func() {
		p := newPair(next)
		next++
		tier.Insert(p.key, tier.Generation(p.key), p.r, false, Life{TTL: time.Hour})
	}
	for range n {
		insert()
	}
	for _, misses := range []int{1, 10} {
		b.Run(fmt.Sprintf("misses=%d%%", misses), func(b *testing.B) {
			// Begin with a collection and end with one, so that whole turns are counted.
			runtime.GC()
			gc, all := processor()
			var stats debug.GCStats
			debug.ReadGCStats(&stats)
			begun, first := time.Now(), stats.NumGC
			for b.Loop() {
				for ctx := context.Background(); ctx.Err() == nil; {
					for range 1000 {
						if rand.IntN(100) < misses {
							insert()
						} else {
							tier.Get(fmt.Sprintf("%024x", next-1-rand.IntN(n/2)))
						}
					}
					debug.ReadGCStats(&stats)
					if stats.NumGC >= first+2 {
						break
					}
				}
			}
			// The runtime adds up processor time when a collection ends.
			gcNow, allNow := processor()
			b.ReportMetric(100*(gcNow-gc)/(allNow-all), "%collector")
			b.ReportMetric(time.Since(begun).Seconds()/float64(stats.NumGC-first), "s/collection")
		})
	}
}

// processor returns the seconds of processors that the collector took, and all that the
// program did.
func processor() (gc, used float64) {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64(), s[1].Value.Float64() - s[2].Value.Float64()
}
