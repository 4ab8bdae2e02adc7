package redisl2_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// InvalidateTag of a tag that no entry has, and of one that a million have, in L1 and in
// L2, in turns. With -short they are a hundred thousand.
//
//	go test ./tests/redisl2 -run '^$' -bench InvalidateTag -benchtime 200x
func BenchmarkInvalidateTag(b *testing.B) {
	srv := testserver.Redis(b)
	n := 1_000_000
	if testing.Short() {
		n /= 10
	}
	load := aside.BulkEntryLoaderFunc[int, tagged](func(_ context.Context, keys []int, _ map[int]aside.Previous[tagged]) (map[int]aside.Loaded[tagged], error) {
		m := make(map[int]aside.Loaded[tagged], len(keys))
		for _, k := range keys {
			m[k] = aside.Loaded[tagged]{Value: tagged{int64(k)}, Tags: []string{"all"}}
		}
		return m, nil
	})
	names := [2]string{"none", "all"}
	var caches [2]*aside.Cache[int, tagged]
	for i, name := range names {
		caches[i] = newTagCache(b, &tagStore{}, open(b, redisl2.Options{URL: srv.URL()}), func(o *aside.Options[int, tagged]) {
			o.Name, o.L1Size, o.L1TTL, o.L2Timeout = name, 2*n, time.Hour, time.Minute
		})
	}
	const chunk = 5000
	for from := 0; from < n; from += chunk {
		keys := make([]int, chunk)
		for i := range keys {
			keys[i] = from + i
		}
		if got, err := caches[1].GetMany(context.Background(), keys, load); err != nil || len(got) != len(keys) {
			b.Fatal(len(got), err)
		}
	}
	testsync.Eventually(b, "all are stored", func() bool { return int(caches[1].Stats().Fills) == n })
	held := 0
	for range caches[1].All() {
		held++
	}
	if held < n*9/10 {
		b.Fatalf("%d entries in L1", held)
	}
	for _, c := range caches { // the first one has the node told of changes
		if err := c.InvalidateTag(context.Background(), "first"); err != nil {
			b.Fatal(err)
		}
	}
	var took [2][]time.Duration
	for b.Loop() {
		for i, c := range caches {
			start := time.Now()
			if err := c.InvalidateTag(context.Background(), "all"); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	for i, name := range names {
		for q, what := range map[float64]string{0.5: "p50", 0.99: "p99", 1: "max"} {
			b.ReportMetric(float64(quantile(took[i], q).Microseconds()), name+"-"+what+"-µs")
		}
		b.ReportMetric(float64(took[i][0].Microseconds()), name+"-first-µs")
	}
}

// A hit in L2 of an entry with two tags beside one of an entry without, and how many
// commands each is:
//
//	go test ./tests/redisl2 -run '^$' -bench TaggedHit -benchtime 100x
func BenchmarkTaggedHit(b *testing.B) {
	srv := testserver.Redis(b)
	var all []*contender
	var perHit []float64 // commands
	for _, name := range []string{"tagged", "untagged"} {
		c, err := aside.New(options{Name: name, L2: open(b, redisl2.Options{URL: srv.URL()}), L1Size: -1, L2Timeout: minute})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = c.Close(context.Background()) })
		loader := aside.EntryLoaderFunc[string, rec](func(context.Context, string, aside.Previous[rec]) (aside.Loaded[rec], error) {
			if name == "tagged" {
				return aside.Loaded[rec]{Value: benchValue, Tags: []string{"one", "two"}}, nil
			}
			return aside.Loaded[rec]{Value: benchValue}, nil
		})
		keys := numbered("k", benchKeys)
		do := func(i int64) error {
			_, err := c.Get(context.Background(), keys[i%benchKeys], loader)
			return err
		}
		for i := range int64(benchKeys) {
			if err := do(i); err != nil {
				b.Fatal(err)
			}
		}
		testsync.Eventually(b, "all are stored", func() bool { return int(c.Stats().Fills) == benchKeys })
		before := commands(b, srv)
		for i := range int64(benchKeys) {
			if err := do(i); err != nil {
				b.Fatal(err)
			}
		}
		perHit = append(perHit, float64(commands(b, srv)-before)/benchKeys)
		all = append(all, &contender{name: name, do: do})
	}
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			for i, c := range all {
				b.ReportMetric(perHit[i], "commands/"+c.name)
			}
			interleave(b, srv, n, 400*n, 1, all...)
		})
	}
}

// commands is how many commands the server has processed.
func commands(t testing.TB, srv *testserver.RedisServer) int {
	t.Helper()
	n, err := strconv.Atoi(srv.Info("stats")["total_commands_processed"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
