package redisl2_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// benchKeys are of about the size of a todo's.
const benchKeys = 1000

var benchValue = rec{Key: strings.Repeat("a todo's name and its description ", 6), Version: 1}

type benchLoader struct{}

func (benchLoader) Load(context.Context, string) (rec, error) { return benchValue, nil }

// bench runs on one server: the cache without L1, and rueidis alone with its
// default options, with the same payload as bytes.
type bench struct {
	c    *aside.Cache[string, rec]
	bin  *aside.Cache[string, rec] // with another codec
	raw  rueidis.Client
	url  string
	keys []string
	ctx  context.Context
}

func newBench(b *testing.B) *bench { return newBenchOn(b, testserver.Redis(b)) }

func newBenchOn(b *testing.B, srv *testserver.RedisServer) *bench {
	c, err := aside.New(options{Name: "bench", L2: open(b, redisl2.Options{URL: srv.URL()}), L1Size: -1, L2Timeout: minute})
	if err != nil {
		b.Fatal(err)
	}
	bin, err := aside.New(options{
		Name: "binary", L2: open(b, redisl2.Options{URL: srv.URL()}), L1Size: -1, L2Timeout: minute,
		Codec: aside.Binary[rec, *rec]{},
	})
	if err != nil {
		b.Fatal(err)
	}
	raw, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{srv.Addr()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { raw.Close(); _, _ = c.Close(context.Background()), bin.Close(context.Background()) })
	return &bench{c, bin, raw, srv.URL(), numbered("key", benchKeys), context.Background()}
}

func (b *bench) get(k string) error {
	_, err := b.c.Get(b.ctx, k, benchLoader{})
	return err
}

// publish writes what is there already.
func (b *bench) publish(k string) error {
	return b.c.Write(b.ctx, k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		w.Publish(k, benchValue)
		return nil
	})
}

func (b *bench) binaryGet(k string) error {
	_, err := b.bin.Get(b.ctx, k, benchLoader{})
	return err
}

func (r *rec) MarshalBinary() ([]byte, error) {
	return append(binary.AppendUvarint(nil, uint64(r.Version)), r.Key...), nil
}

func (r *rec) UnmarshalBinary(data []byte) error {
	version, n := binary.Uvarint(data)
	if n <= 0 {
		return errors.New("no version")
	}
	r.Version, r.Key = int(version), string(data[n:])
	return nil
}

func (b *bench) rawGet(k string) error {
	_, err := b.raw.Do(b.ctx, b.raw.B().Get().Key("raw:"+k).Build()).AsBytes()
	return err
}

func (b *bench) rawSet(k string) error {
	return b.raw.Do(b.ctx, b.raw.B().Set().Key("raw:"+k).Value(benchValue.Key).PxMilliseconds(300_000).Build()).Error()
}

// parallel runs f b.N times from n goroutines, and measures it.
func parallel(b *testing.B, n int, f func(i int64) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	spread(b, n, b.N, f)
}

// spread runs f for 1 to count, from n goroutines.
func spread(b *testing.B, n, count int, f func(i int64) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(count); i = next.Add(1) {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A hit in L2, decoded, beside GET by rueidis alone, not decoded.
func BenchmarkL2Hit(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		x := newBench(b)
		for _, k := range x.keys {
			if err := x.get(k); err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(x.binaryGet(k), x.rawSet(k)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("goroutines=%d/aside", n), func(b *testing.B) {
			parallel(b, n, func(i int64) error { return x.get(x.keys[i%benchKeys]) })
		})
		b.Run(fmt.Sprintf("goroutines=%d/aside/binary", n), func(b *testing.B) {
			parallel(b, n, func(i int64) error { return x.binaryGet(x.keys[i%benchKeys]) })
		})
		b.Run(fmt.Sprintf("goroutines=%d/rueidis", n), func(b *testing.B) {
			parallel(b, n, func(i int64) error { return x.rawGet(x.keys[i%benchKeys]) })
		})
	}
}

// A miss, its fill included, beside GET and SET.
func BenchmarkMiss(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		x := newBench(b)
		var fresh atomic.Int64
		b.Run(fmt.Sprintf("goroutines=%d/aside", n), func(b *testing.B) {
			parallel(b, n, func(int64) error { return x.get(fmt.Sprint("m", fresh.Add(1))) })
		})
		b.Run(fmt.Sprintf("goroutines=%d/rueidis", n), func(b *testing.B) {
			parallel(b, n, func(int64) error {
				k := fmt.Sprint("m", fresh.Add(1))
				if err := x.rawGet(k); !rueidis.IsRedisNil(err) {
					return err
				}
				return x.rawSet(k)
			})
		})
	}
}

// A write, of nothing, beside the DEL that plain cache-aside sends after it.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		x := newBench(b)
		for _, publish := range []bool{false, true} {
			b.Run(fmt.Sprintf("goroutines=%d/aside/publish=%v", n, publish), func(b *testing.B) {
				parallel(b, n, func(i int64) error {
					k := x.keys[i%benchKeys]
					return x.c.Write(x.ctx, k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
						if publish {
							w.Publish(k, benchValue)
						}
						return nil
					})
				})
			})
		}
		b.Run(fmt.Sprintf("goroutines=%d/rueidis", n), func(b *testing.B) {
			parallel(b, n, func(i int64) error {
				return x.raw.Do(x.ctx, x.raw.B().Del().Key("raw:"+x.keys[i%benchKeys]).Build()).Error()
			})
		})
	}
}

// 100 callers ask for one cold key at once; one operation is all of them.
func BenchmarkStampede(b *testing.B) {
	x := newBench(b)
	var loads atomic.Int64
	loader := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { loads.Add(1); return benchValue, nil })
	run := func(b *testing.B, get func(k string) error) {
		loads.Store(0)
		for i := range b.N {
			k := fmt.Sprintf("%s-%d-%d", b.Name(), b.N, i)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if err := get(k); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(loads.Load())/float64(b.N), "loads/op")
	}
	b.Run("aside", func(b *testing.B) {
		run(b, func(k string) error { _, err := x.c.Get(x.ctx, k, loader); return err })
	})
	b.Run("rueidis", func(b *testing.B) {
		run(b, func(k string) error {
			if err := x.rawGet(k); !rueidis.IsRedisNil(err) {
				return err
			}
			_, _ = loader.Load(x.ctx, k)
			return x.rawSet(k)
		})
	})
}

// What a hit costs in a Redis that holds more, and that has more nodes to tell. The others
// are connections of this process that have read every key, as those of as many nodes would
// have. BenchmarkManyNodes has the writes.
func BenchmarkScale(b *testing.B) {
	for _, held := range []int{1_000, 1_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("held=%d/hit", held), func(b *testing.B) {
			srv := testserver.Redis(b, "--enable-debug-command", "yes")
			const atOnce = 500_000 // takes a second or so
			for done := 0; done < held; done += atOnce {
				srv.Do("DEBUG", "POPULATE", fmt.Sprint(min(atOnce, held-done)), fmt.Sprint("held", done), "100")
			}
			x := newBenchOn(b, srv)
			for _, k := range x.keys {
				if err := x.get(k); err != nil {
					b.Fatal(err)
				}
			}
			parallel(b, 100, func(i int64) error { return x.get(x.keys[i%benchKeys]) })
		})
	}
	for _, nodes := range []int{1, 10, 100} {
		x := newBench(b)
		reqs := make([]driver.LeaseRequest, benchKeys)
		for i, k := range x.keys {
			if err := x.get(k); err != nil {
				b.Fatal(err)
			}
			reqs[i] = driver.LeaseRequest{Key: "aside:bench:0:" + k, Lease: envelope.NewToken(), TTL: minute}
		}
		others := make([]*redisl2.Store, nodes)
		for i := range others {
			others[i] = open(b, redisl2.Options{URL: x.url})
		}
		for _, o := range others {
			for _, a := range o.Acquire(x.ctx, reqs) {
				if a.Err != nil {
					b.Fatal(a.Err)
				}
			}
		}
		b.Run(fmt.Sprintf("nodes=%d/hit", nodes), func(b *testing.B) {
			parallel(b, 100, func(i int64) error { return x.get(x.keys[i%benchKeys]) })
		})
	}
}
