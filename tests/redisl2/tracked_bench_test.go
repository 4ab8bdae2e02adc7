package redisl2_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/tests/testserver"
)

// BenchmarkTracked measures what Redis takes to remember that one more client has
// read a key: for the first, and for further ones; and what remains when they go.
func BenchmarkTracked(b *testing.B) {
	const keys, nodes = 100_000, 8
	for b.Loop() {
		srv := testserver.Redis(b)
		name := func(i int) string { return fmt.Sprintf("aside:todos:0:%024x", i) }
		dial := func() rueidis.Client {
			c, err := rueidis.NewClient(rueidis.ClientOption{
				InitAddress: []string{srv.Addr()}, ForceSingleClient: true, ClientTrackingOptions: []string{},
			})
			if err != nil {
				b.Fatal(err)
			}
			return c
		}
		each := func(c rueidis.Client, cmd func(names []string) rueidis.Completed) {
			for at := 0; at < keys; at += 1000 {
				names := make([]string, 1000)
				for i := range names {
					names[i] = name(at + i)
				}
				if err := c.Do(b.Context(), cmd(names)).Error(); err != nil {
					b.Fatal(err)
				}
			}
		}
		used := func() float64 {
			n, err := strconv.ParseFloat(srv.Info("memory")["used_memory"], 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
		c := dial()
		each(c, func(names []string) rueidis.Completed {
			set := c.B().Mset().KeyValue()
			for _, n := range names {
				set = set.KeyValue(n, "v")
			}
			return set.Build()
		})
		c.Close()
		before := used()
		var first float64
		for n := range nodes {
			c := dial()
			each(c, func(names []string) rueidis.Completed { return c.B().Mget().Key(names...).Build() })
			if n == nodes-1 { // forgets nothing either
				if err := c.Do(b.Context(), c.B().ClientTracking().Off().Build()).Error(); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
			if n == 0 {
				first = used()
			}
		}
		items, _ := strconv.ParseFloat(srv.Info("stats")["tracking_total_items"], 64)
		b.ReportMetric((first-before)/keys, "bytes/key")
		b.ReportMetric((used()-first)/keys/(nodes-1), "bytes/item")
		b.ReportMetric(items, "items-left")
	}
}
