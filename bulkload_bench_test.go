package aside_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// BenchmarkColdKeys has 100 goroutines read distinct keys that no tier has, from a store
// that takes 1 ms for a query, of whatever size, and can do some queries at a time: as
// many as the program has connections to it. The figure is loads/s of "together"
// against that of "one by one", in one run.
func BenchmarkColdKeys(b *testing.B) {
	const readers = 100
	for _, l2 := range []bool{false, true} {
		for _, connections := range []int{4, 16, 64} {
			for _, together := range []bool{false, true} {
				name := "one by one"
				if together {
					name = "together"
				}
				b.Run(fmt.Sprintf("L2=%v/connections=%d/%s", l2, connections, name), func(b *testing.B) {
					pool := make(chan struct{}, connections)
					var queries atomic.Int64
					query := func() {
						pool <- struct{}{}
						time.Sleep(time.Millisecond)
						<-pool
						queries.Add(1)
					}
					o := aside.Options[string, rec]{Name: "cold", L1Size: 10 * readers, Logger: slog.New(slog.DiscardHandler), L2Timeout: time.Minute,
						Loader: aside.LoaderFunc[string, rec](func(_ context.Context, k string) (rec, error) { query(); return rec{k, 1}, nil })}
					if together {
						o.BulkLoader = aside.BulkLoaderFunc[string, rec](func(_ context.Context, keys []string) (map[string]rec, error) {
							query()
							out := make(map[string]rec, len(keys))
							for _, k := range keys {
								out[k] = rec{k, 1}
							}
							return out, nil
						})
					}
					if l2 {
						o.L2 = new(asidetest.Server).NewClient()
					}
					c, err := aside.New(o)
					if err != nil {
						b.Fatal(err)
					}
					defer c.Close(context.Background())
					var next atomic.Int64
					var wg sync.WaitGroup
					b.ResetTimer()
					for range readers {
						wg.Go(func() {
							for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
								if _, err := c.Get(context.Background(), strconv.FormatInt(n, 10)); err != nil {
									b.Error(err)
								}
							}
						})
					}
					wg.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "loads/s")
					b.ReportMetric(float64(b.N)/float64(queries.Load()), "keys/query")
				})
			}
		}
	}
}
