package mongofeed_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/mongofeed"
)

// The ways to a key that is not the _id, and what they cost.
var ways = []struct {
	name   string
	images bool
	opts   mongofeed.Options
}{
	{"_id", false, mongofeed.Options{Version: "version"}},
	{"pre-images", true, mongofeed.Options{Key: "id", Version: "version"}},
	{"KeyOf", false, mongofeed.Options{Key: "id", Version: "version", KeyOf: bson.RawValue.StringValueOK}},
	{"remembered", false, mongofeed.Options{Key: "id", Version: "version"}},
	{"read", false, mongofeed.Options{Key: "id", Version: "version", Remember: -1}},
}

// BenchmarkFollow: events of updates, 1,000 at a time, that wait in the server's log.
func BenchmarkFollow(b *testing.B) {
	for _, way := range ways {
		if way.name == "remembered" {
			continue // A stream that is opened at an older position does not remember.
		}
		b.Run(way.name, func(b *testing.B) {
			const n = 1000
			coll := records(b, way.images, n)
			way.opts.MaxChanges = 1 << 20
			f := mustNew(b, coll, way.opts)
			start := mustOpen(b, f, nil).Position()
			touch(b, coll, n)
			read := func() {
				s := mustOpen(b, f, start)
				for got := 0; got < n; {
					batch, err := s.Next(b.Context())
					if err != nil || batch.All {
						b.Fatal(batch, err)
					}
					got += len(batch.Changes)
				}
				s.Close()
			}
			read()
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/n, "µs/event")
		})
	}
}

// BenchmarkWrite: what pre-images cost the writer.
func BenchmarkWrite(b *testing.B) {
	for _, images := range []bool{false, true} {
		b.Run(fmt.Sprintf("pre-images=%v", images), func(b *testing.B) {
			coll := records(b, images, 100)
			for i := 0; b.Loop(); i++ {
				if _, err := coll.UpdateByID(b.Context(), fmt.Sprint(i%100), bson.M{"$inc": bson.M{"version": 1}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLag: from the acknowledgement of a write to the return of Next.
func BenchmarkLag(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			coll := records(b, way.images, 100)
			s := mustOpen(b, mustNew(b, coll, way.opts), nil)
			told := make(chan time.Time, 1)
			go func() {
				for {
					batch, err := s.Next(context.Background())
					if err != nil {
						return
					}
					if len(batch.Changes) > 0 {
						told <- time.Now()
					}
				}
			}()
			var lags []time.Duration
			for i := 0; b.Loop(); i++ {
				if _, err := coll.UpdateByID(b.Context(), fmt.Sprint(i%100), bson.M{"$inc": bson.M{"version": 1}}); err != nil {
					b.Fatal(err)
				}
				acknowledged := time.Now()
				lags = append(lags, (<-told).Sub(acknowledged))
			}
			slices.Sort(lags)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(lags[(len(lags)-1)*p/100].Microseconds())/1000, fmt.Sprintf("ms-p%d", p))
			}
		})
	}
}

// BenchmarkBurst: many more changes than are told one by one.
func BenchmarkBurst(b *testing.B) {
	const n = 20_000
	coll := records(b, false, n)
	f := mustNew(b, coll, mongofeed.Options{})
	start := mustOpen(b, f, nil).Position()
	touch(b, coll, n)
	var most uint64
	alls := 0
	for b.Loop() {
		s := mustOpen(b, f, start)
		end := s.Position()
		for {
			batch, err := s.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if batch.All {
				alls++
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			if p := s.Position(); string(p) == string(end) || !batch.All && len(batch.Changes) == 0 {
				break
			}
		}
		s.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/burst")
	b.ReportMetric(float64(alls)/float64(b.N), "All/burst")
	b.ReportMetric(float64(most)/1e6, "MB-heap")
}

func records(b *testing.B, images bool, n int) *mongo.Collection {
	b.Helper()
	srv := anyServer(b)
	coll := srv.collection(b, images)
	for i := 0; i < n; i += 1000 {
		var docs []any
		for j := i; j < min(i+1000, n); j++ {
			docs = append(docs, bson.M{"_id": fmt.Sprint(j), "id": fmt.Sprint(j), "version": 1, "name": "a name of usual length", "description": "and a description that is a little longer than it"})
		}
		if _, err := coll.InsertMany(b.Context(), docs, options.InsertMany().SetOrdered(false)); err != nil {
			b.Fatal(err)
		}
	}
	return coll
}

// touch changes every record once.
func touch(b *testing.B, coll *mongo.Collection, n int) {
	b.Helper()
	res, err := coll.UpdateMany(b.Context(), bson.M{}, bson.M{"$inc": bson.M{"version": 1}})
	if err != nil || res.ModifiedCount != int64(n) {
		b.Fatal(res, err)
	}
}
