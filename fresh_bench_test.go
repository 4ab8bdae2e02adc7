package aside_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// BenchmarkFreshHit compares a hit in L1 with all options of freshness on with one with
// none. The two take turns, some milliseconds each; "on/off" is the ratio of their medians.
func BenchmarkFreshHit(b *testing.B) {
	keys, loader := benchData()
	ctx := context.Background()
	var caches [2]*aside.Cache[string, *todo]
	for i := range caches {
		o := aside.Options[string, *todo]{L1Size: 2 * benchKeys, TTL: time.Hour, Jitter: -1}
		if i == 1 {
			o.RefreshAhead, o.StaleWhileRevalidate, o.StaleFor, o.SoftTimeout, o.FailedFor = 0.2, time.Minute, time.Hour, time.Second, time.Second
		}
		var err error
		if caches[i], err = aside.New(o); err != nil {
			b.Fatal(err)
		}
		defer caches[i].Close(ctx)
		for _, k := range keys {
			_, _ = caches[i].Get(ctx, k, loader)
		}
	}
	get := func(c *aside.Cache[string, *todo]) func(k string) {
		return func(k string) {
			if _, err := c.Get(ctx, k, loader); err != nil {
				b.Fatal(err)
			}
		}
	}
	takeTurns(b, keys, [2]string{"off", "on"}, [2]func(string){get(caches[0]), get(caches[1])})
}

// takeTurns reads with each of two in turn, some milliseconds each, and reports their
// medians and the ratio of these.
func takeTurns(b *testing.B, keys []string, names [2]string, get [2]func(k string)) {
	b.Helper()
	const turn = 10_000
	next := picker(true)()
	var took [2][]time.Duration
	for b.Loop() {
		for i := range get {
			start := time.Now()
			for range turn {
				get[i](keys[next()])
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	first, second := float64(took[0][len(took[0])/2]), float64(took[1][len(took[1])/2])
	b.ReportMetric(first/turn, names[0]+"-ns")
	b.ReportMetric(second/turn, names[1]+"-ns")
	b.ReportMetric(second/first, names[1]+"/"+names[0])
}

// BenchmarkReadsAtExpiry reads keys with short lives, each some 200 times in its life, from a
// primary that takes a millisecond, and tells how long the slowest of a hundred reads takes:
// with nothing, with refresh ahead, with stale-while-revalidate, and without expiry.
func BenchmarkReadsAtExpiry(b *testing.B) {
	const keys, life = 20, 200 * time.Millisecond
	loader := aside.LoaderFunc[int, User](func(context.Context, int) (User, error) {
		time.Sleep(time.Millisecond)
		return User{Name: "1"}, nil
	})
	for _, tier := range []string{"L1", "L2"} {
		for _, v := range []struct {
			name   string
			change func(*aside.Options[int, User])
		}{
			{"hit", func(o *aside.Options[int, User]) { o.TTL = time.Hour }},
			{"nothing", func(*aside.Options[int, User]) {}},
			{"ahead", func(o *aside.Options[int, User]) { o.RefreshAhead = 0.3 }},
			{"revalidate", func(o *aside.Options[int, User]) { o.StaleWhileRevalidate = time.Second }},
		} {
			b.Run(tier+"/"+v.name, func(b *testing.B) {
				o := aside.Options[int, User]{TTL: life, Jitter: -1}
				if tier == "L2" { // without L1: each hit is one of L2
					client := new(asidetest.Server).NewClient()
					client.Intercept(func(context.Context, string, string) error { time.Sleep(100 * time.Microsecond); return nil })
					o.Name, o.L2, o.L1Size = "bench", client, -1
				}
				v.change(&o)
				cache, err := aside.New(o)
				if err != nil {
					b.Fatal(err)
				}
				defer cache.Close(context.Background())
				for k := range keys {
					_, _ = cache.Get(context.Background(), k, loader)
				}
				time.Sleep(10 * time.Millisecond)
				var took []time.Duration
				for b.Loop() {
					for k := range keys {
						start := time.Now()
						if _, err := cache.Get(context.Background(), k, loader); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					time.Sleep(life / 200)
				}
				slices.Sort(took)
				for _, q := range []float64{0.5, 0.99, 0.999} {
					b.ReportMetric(float64(took[int(q*float64(len(took)-1))].Nanoseconds()), fmt.Sprintf("p%g-ns", 100*q))
				}
				s := cache.Stats()
				b.ReportMetric(float64(s.Misses)/float64(len(took)), "misses/read")
			})
		}
	}
}
