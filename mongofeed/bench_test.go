package mongofeed

import (
	"fmt"
	"runtime"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// BenchmarkEvent: parsing an event of an update and finding its key, for each way to a key
// but the read.
func BenchmarkEvent(b *testing.B) {
	for _, way := range []struct {
		name   string
		opts   Options
		images bool
	}{
		{"_id", Options{Version: "version"}, false},
		{"pre-images", Options{Key: "id", Version: "version"}, true},
		{"KeyOf", Options{Key: "id", Version: "version", KeyOf: bson.RawValue.StringValueOK}, false},
		{"remembered", Options{Key: "id", Version: "version"}, false},
	} {
		b.Run(way.name, func(b *testing.B) {
			way.opts.Remember = 100_000
			f := &Feed{opts: way.opts, format: format}
			if f.opts.Key == "" {
				f.opts.Key = idField
			}
			s := &stream{f: f, known: newKnown(f.opts.Remember)}
			const n = 1000
			raw := make([]bson.Raw, n)
			for i := range raw {
				id := fmt.Sprintf("%036d", i)
				raw[i] = updateOf(b, id, way.images)
				if way.name == "remembered" {
					s.known.set(idOf(raw[i].Lookup("documentKey", "_id")), fact{key: id, keyed: true, version: 1})
				}
			}
			for b.Loop() {
				events := make([]event, n)
				for i := range raw {
					var err error
					if events[i], err = f.parse(raw[i]); err != nil {
						b.Fatal(err)
					}
				}
				changes, all, err := s.resolve(b.Context(), events)
				if err != nil || all || len(changes) != n {
					b.Fatal(len(changes), all, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}

func updateOf(b *testing.B, id string, images bool) bson.Raw {
	b.Helper()
	d := bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: fmt.Sprintf("%0120d", 0)}}}, {Key: "operationType", Value: "update"},
		{Key: "clusterTime", Value: bson.Timestamp{T: 5}}, {Key: "wallTime", Value: bson.DateTime(5)},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
		{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D{{Key: "version", Value: int64(2)}}}, {Key: "removedFields", Value: bson.A{}}}},
	}
	if images {
		d = append(d, bson.E{Key: "fullDocumentBeforeChange", Value: bson.D{{Key: "id", Value: id}, {Key: "version", Value: int64(1)}}})
	}
	raw, err := bson.Marshal(d)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

// BenchmarkRemember: memory of one key, 36 bytes long, of a document with an ObjectID.
func BenchmarkRemember(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var k *known
	for b.Loop() {
		k = newKnown(n)
		for i := range n {
			k.set(fmt.Sprintf("%013d", i), fact{key: fmt.Sprintf("%036d", i), keyed: true})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "bytes/key")
	runtime.KeepAlive(k)
}
