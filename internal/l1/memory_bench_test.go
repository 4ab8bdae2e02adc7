package l1

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
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

// appendKey appends a key as long as those of MongoDB.
func appendKey(b []byte, i int) []byte {
	for shift := 92; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[uint64(i)>>shift&15])
	}
	return b
}

func newPair(i int) pair {
	k := string(appendKey(nil, i))
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

// BenchmarkCollector: the collector's share of the processors that work while a tier of
// ASIDE_BENCH_ENTRIES is read by all, from one collection to the next. A part of the reads
// are misses, each of which makes a record, and evicts another.
func BenchmarkCollector(b *testing.B) {
	n, _ := strconv.Atoi(os.Getenv("ASIDE_BENCH_ENTRIES"))
	if n == 0 {
		b.Skip("set ASIDE_BENCH_ENTRIES, such as to 10000000: that takes 8 GB")
	}
	tier, err := New(Config[string, *record]{MaxEntries: n})
	if err != nil {
		b.Fatal(err)
	}
	defer tier.Close()
	var made atomic.Int64
	insert := func() {
		p := newPair(int(made.Add(1)))
		tier.Insert(p.key, tier.Generation(p.key), p.r, false, Life{TTL: time.Hour})
	}
	for range n {
		insert()
	}
	for _, misses := range []float64{0.02, 0.1, 1} {
		b.Run(fmt.Sprint("misses=", misses), func(b *testing.B) {
			for b.Loop() {
				runtime.GC()
				from := readProcessors()
				var wg sync.WaitGroup
				var reads atomic.Int64
				for range runtime.GOMAXPROCS(0) {
					wg.Go(func() {
						var key [24]byte
						for readProcessors().collections < from.collections+1 {
							for range 10_000 {
								if rand.Float64() < misses {
									insert()
								} else {
									tier.Get(string(appendKey(key[:0], int(made.Load())-rand.IntN(n/2))))
								}
							}
							reads.Add(10_000)
						}
					})
				}
				wg.Wait()
				to := readProcessors()
				b.ReportMetric(100*(to.collector-from.collector)/(to.used-from.used), "%collector")
				b.ReportMetric(to.collector-from.collector, "processor-s/collection")
				b.ReportMetric(float64(reads.Load()), "reads")
			}
		})
	}
}

// processors are seconds of processors, as the runtime adds them up when a collection ends.
type processors struct {
	collector, used float64
	collections     uint64
}

func readProcessors() processors {
	s := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(s)
	return processors{s[0].Value.Float64(), s[1].Value.Float64() - s[2].Value.Float64(), s[3].Value.Uint64()}
}
