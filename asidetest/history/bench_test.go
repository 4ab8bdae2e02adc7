package history

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// lifeOf is a key's life under so many clients that wait for nothing but their
// own operations, of which every tenth writes; a delete ends it.
func lifeOf(operations, clients int) *Key {
	r := rand.New(rand.NewPCG(1, 2))
	k := NewKey("k")
	free := make([]time.Duration, clients)
	var version int64
	for i := range operations {
		// All take about 1 ms; they take effect every 1/clients ms.
		now := time.Duration(i) * time.Millisecond / time.Duration(clients)
		client := i % clients
		call := max(now-time.Duration(r.Int64N(int64(time.Millisecond/2))), free[client])
		op := Op{Client: client, Node: client % 3, Call: call, Return: now + time.Duration(r.Int64N(int64(time.Millisecond/2)))}
		free[client] = op.Return + 1
		op.Call = min(op.Call, now)
		switch what := r.IntN(20); {
		case i == operations-1:
			op.Kind = Delete
		case what < 2:
			version++
			op.Kind, op.Version, op.Tag = Write, version, uint64(version)
			op.Unknown = r.IntN(100) == 0
			if op.Unknown {
				op.Version = 0
			}
		default:
			op.Kind, op.Version, op.Tag = ReadDefault-Kind(what%2), version, uint64(version)
		}
		k.Record(op)
	}
	return k
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{5_000, 50_000} {
		b.Run(fmt.Sprintf("operations=%d", n), func(b *testing.B) {
			k := lifeOf(n, 32)
			b.ReportAllocs()
			for b.Loop() {
				if r := Check(k, Options{}); r.Violated()+r.Undecided > 0 {
					b.Fatal(r.Violations)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/operation")
		})
	}
	// The evidence has to be found.
	b.Run("violation/operations=5000", func(b *testing.B) {
		k := lifeOf(5_000, 32)
		k.Record(Op{Client: 99, Kind: ReadStrong, Call: time.Hour, Return: time.Hour, Version: 200, Tag: 200})
		b.ReportAllocs()
		for b.Loop() {
			if r := Check(k, Options{}); r.Broken[Linearizable] != 1 {
				b.Fatal(r.Broken)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	op := Op{Kind: ReadDefault, Call: 1, Return: 2}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		k := NewKey("k")
		for b.Loop() {
			if k.Len() == 5000 {
				k = NewKey("k")
			}
			k.Record(op)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		k := NewKey("k")
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				k.Record(op)
			}
		})
	})
}
