package boltstore

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const benchRecords = 200_000

func benchRecord(i int) todo.Todo {
	d := "Remember to bring the blue folder, the keys and " + strconv.Itoa(i) + " stamps"
	now := time.UnixMilli(1_700_000_000_000 + int64(i)).UTC()
	return todo.Todo{ID: strconv.Itoa(i), Name: "Call the office about order", Description: &d, CreatedAt: now, UpdatedAt: now, Version: 1}
}

func fillStore(b *testing.B, s *Store, batch int) {
	b.Helper()
	var rs []todo.Record
	for i := 1; i <= benchRecords; i++ {
		rs = append(rs, todo.Record{Todo: benchRecord(i)})
		if len(rs) == batch || i == benchRecords {
			if _, err := s.InsertMany(b.Context(), rs); err != nil {
				b.Fatal(err)
			}
			rs = rs[:0]
		}
	}
}

func BenchmarkInsertMany(b *testing.B) {
	for _, batch := range []int{1000, 10_000, benchRecords} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			for b.Loop() {
				s := mustOpen(b, b.TempDir())
				fillStore(b, s, batch)
			}
			b.ReportMetric(float64(benchRecords*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, b.TempDir())
	fillStore(b, s, 10_000)
	ids := make([]string, benchRecords)
	for i := range ids {
		ids[i] = strconv.Itoa((i*7919)%benchRecords + 1)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Get(b.Context(), ids[i%benchRecords]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Get(b.Context(), ids[n.Add(1)%benchRecords]); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkInsert(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			var n atomic.Int64
			b.SetParallelism(writers) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Insert(b.Context(), benchRecord(int(n.Add(1)))); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// BenchmarkUpdate writes while nobody follows the feed, and while one stream does.
func BenchmarkUpdate(b *testing.B) {
	for _, followed := range []bool{false, true} {
		b.Run(fmt.Sprintf("followed=%v", followed), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			defer s.Close()
			if err := s.Insert(b.Context(), benchRecord(1)); err != nil {
				b.Fatal(err)
			}
			if followed {
				st := openFeed(b, s, nil)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for {
						if _, err := st.Next(b.Context()); err != nil {
							return
						}
					}
				}()
				defer func() { _ = st.Close(); <-done }()
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Update(b.Context(), "1", raise); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
