package aside_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// todo is the record of the reference system, about 150 bytes as JSON.
type todo struct {
	ID, Name, Description string
	Completed             bool
	Version               int64
}

const benchKeys = 200_000

func benchData() (keys []string, loader aside.Loader[string, *todo]) {
	keys = make([]string, benchKeys)
	m := make(map[string]*todo, benchKeys)
	for i := range keys {
		k := strconv.Itoa(i)
		keys[i] = k
		m[k] = &todo{ID: k, Name: "name of todo " + k, Description: "a description that is about as long as those in the data"}
	}
	return keys, aside.LoaderFunc[string, *todo](func(_ context.Context, k string) (*todo, error) { return m[k], nil })
}

// picker returns a fast source of indexes: uniform, or Zipf by a table.
func picker(zipf bool) func() func() int {
	table := make([]int, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.1, 1, benchKeys-1)
	for i := range table {
		if table[i] = r.IntN(benchKeys); zipf {
			table[i] = int(z.Uint64())
		}
	}
	var seed atomic.Int64
	return func() func() int {
		i := int(seed.Add(7919)) * 104729
		return func() int { i++; return table[i&(len(table)-1)] }
	}
}

// BenchmarkL1Hit compares a hit with the bare engine's, in one run: the ratio of
// the two is the figure.
func BenchmarkL1Hit(b *testing.B) {
	keys, loader := benchData()
	ctx := context.Background()
	cache, err := aside.New(aside.Options[string, *todo]{L1Size: 2 * benchKeys, TTL: time.Hour, Jitter: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close(ctx)
	withL2, err := aside.New(aside.Options[string, *todo]{Name: "bench", L2: new(asidetest.Server).NewClient(), L1Size: 2 * benchKeys, TTL: time.Hour, L1TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	defer withL2.Close(ctx)
	engine := otter.Must(&otter.Options[string, *todo]{MaximumSize: 2 * benchKeys, ExpiryCalculator: otter.ExpiryWriting[string, *todo](time.Hour)})
	defer engine.StopAllGoroutines()
	for _, k := range keys {
		v, _ := cache.Get(ctx, k, loader)
		_, _ = withL2.Get(ctx, k, loader)
		engine.Set(k, v)
	}
	for _, dist := range []string{"uniform", "zipf"} {
		pick := picker(dist == "zipf")
		for name, get := range map[string]func(k string) *todo{
			"otter":  func(k string) *todo { v, _ := engine.GetIfPresent(k); return v },
			"aside":  func(k string) *todo { v, _ := cache.Get(ctx, k, loader); return v },
			"withL2": func(k string) *todo { v, _ := withL2.Get(ctx, k, loader); return v },
		} {
			b.Run(fmt.Sprintf("%s/%s", dist, name), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					next := pick()
					for pb.Next() {
						if k := keys[next()]; get(k).ID != k {
							b.Error("wrong record")
						}
					}
				})
			})
		}
	}
}

// BenchmarkL1HitRatio: the time of a hit of the whole cache, divided by that of otter's
// GetIfPresent, in parallel and with Zipf. They take turns, a round has one of each, and
// the figures are medians over rounds: so other work of the machine falls on both.
func BenchmarkL1HitRatio(b *testing.B) {
	keys, loader := benchData()
	ctx := context.Background()
	open := func(o aside.Options[string, *todo]) func(string) *todo {
		o.L1Size, o.TTL, o.L1TTL = 2*benchKeys, time.Hour, time.Hour
		c, err := aside.New(o)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close(ctx) })
		return func(k string) *todo { v, _ := c.Get(ctx, k, loader); return v }
	}
	engine := func(clock otter.Clock) func(string) *todo {
		c := otter.Must(&otter.Options[string, *todo]{
			MaximumSize: 2 * benchKeys, Clock: clock, ExpiryCalculator: otter.ExpiryWriting[string, *todo](time.Hour),
		})
		b.Cleanup(func() { c.StopAllGoroutines() })
		return func(k string) *todo {
			v, ok := c.GetIfPresent(k)
			if !ok {
				v, _ = loader.Load(ctx, k)
				c.Set(k, v)
			}
			return v
		}
	}
	coarse := otter.NewCoarseClock(10 * time.Millisecond)
	b.Cleanup(coarse.Stop)
	gets := []func(string) *todo{
		engine(nil), engine(coarse),
		open(aside.Options[string, *todo]{}),
		open(aside.Options[string, *todo]{Name: "bench", L2: new(asidetest.Server).NewClient()}),
	}
	names := []string{"ns-otter", "otter-coarse", "aside", "with-L2"}
	pick := picker(true)
	turn := func(get func(string) *todo) time.Duration {
		var wg sync.WaitGroup
		start := time.Now()
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				next := pick()
				for range 50_000 {
					if k := keys[next()]; get(k).ID != k {
						b.Error("wrong record")
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	for _, k := range keys { // in turns too, so that their entries lie scattered alike
		for _, get := range gets {
			get(k)
		}
	}
	runtime.GC()
	rounds := make([][]float64, len(gets))
	for round := 0; b.Loop(); round++ {
		took := make([]time.Duration, len(gets))
		for i := range gets {
			i = (i + round) % len(gets)
			took[i] = turn(gets[i])
		}
		for i, d := range took {
			ratio := float64(d) / float64(took[0])
			if i == 0 {
				ratio = float64(d.Nanoseconds()) / 50_000 / float64(runtime.GOMAXPROCS(0))
			}
			rounds[i] = append(rounds[i], ratio)
		}
	}
	for i, r := range rounds {
		slices.Sort(r)
		b.ReportMetric(r[len(r)/2], names[i])
	}
}

// TestL1HitAllocatesNothing is the part of the benchmark that can fail.
func TestL1HitAllocatesNothing(t *testing.T) {
	p := newPrimary("k")
	var loader aside.Loader[string, rec] = p
	for _, n := range []*node{newNode(t, p, nil), newNode(t, p, &asidetest.Server{})} {
		n.read("k", aside.Default)
		n.settled("k")
		ctx := t.Context()
		if allocs := testing.AllocsPerRun(1000, func() {
			if _, err := n.Get(ctx, "k", loader); err != nil {
				t.Error(err)
			}
		}); allocs != 0 {
			t.Errorf("Get: %v allocations", allocs)
		}
		if allocs := testing.AllocsPerRun(1000, func() {
			if r, err := n.Read(ctx, "k", loader, aside.Default); err != nil || r.Source != aside.SourceL1 {
				t.Error(r, err)
			}
		}); allocs != 0 {
			t.Errorf("Read: %v allocations", allocs)
		}
	}
}

// BenchmarkMiss is a miss without any server: what the machinery itself costs.
func BenchmarkMiss(b *testing.B) {
	ctx := context.Background()
	loader := aside.LoaderFunc[int, int](func(_ context.Context, k int) (int, error) { return k, nil })
	for name, l2 := range map[string]driver.Tier{"L1": nil, "L1+L2 in memory": new(asidetest.Server).NewClient()} {
		b.Run(name, func(b *testing.B) {
			cache, err := aside.New(aside.Options[int, int]{Name: "miss", L2: l2})
			if err != nil {
				b.Fatal(err)
			}
			defer cache.Close(ctx)
			var k atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := cache.Get(ctx, int(k.Add(1)), loader); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
