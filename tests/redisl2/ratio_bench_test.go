package redisl2_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/tests/testserver"
)

// contender is one way to do what is compared.
type contender struct {
	name string
	do   func(i int64) error
	took []time.Duration // a round
	cpu  []time.Duration // of this process, likewise
	srv  []time.Duration // of the server
}

// interleave runs rounds of the same work for each contender in turn, b.N rounds, and
// reports the median time of an operation, and for the first contenders the median of
// their rounds' times by those of each later one, and likewise the processor time of this
// process and of the server. So what else the machine does counts for all, and can be read
// off the quartiles.
func interleave(b *testing.B, srv *testserver.RedisServer, goroutines, perRound int, of int, all ...*contender) {
	b.Helper()
	for _, c := range all {
		c.took, c.cpu, c.srv = nil, nil, nil
	}
	for round := range b.N + 1 { // the first one warms up
		for k := range all {
			c := all[(round+k)%len(all)]
			var next atomic.Int64
			var wg sync.WaitGroup
			ours, theirs := processorTime(b), serverTime(b, srv)
			began := time.Now()
			for range goroutines {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(perRound); i = next.Add(1) {
						if err := c.do(int64(round*perRound) + i); err != nil {
							b.Error(c.name, err)
							return
						}
					}
				})
			}
			wg.Wait()
			if round > 0 {
				c.took = append(c.took, time.Since(began))
				c.cpu = append(c.cpu, processorTime(b)-ours)
				c.srv = append(c.srv, serverTime(b, srv)-theirs)
			}
		}
	}
	for _, c := range all {
		b.ReportMetric(float64(quantile(c.took, 0.5).Nanoseconds())/float64(perRound)/1e3, "µs/"+c.name)
	}
	for _, c := range all[:of] {
		for _, other := range all[of:] {
			b.Logf("%d goroutines: %s by %s: time %s, processor %s, of the server %s", goroutines, c.name, other.name,
				ratios(c.took, other.took), ratios(c.cpu, other.cpu), ratios(c.srv, other.srv))
		}
	}
}

// ratios is the median of a by b, and its quartiles.
func ratios(a, b []time.Duration) string {
	all := make([]float64, len(a))
	for i := range all {
		all[i] = float64(a[i]) / float64(b[i])
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", quantile(all, 0.5), quantile(all, 0.25), quantile(all, 0.75))
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func serverTime(b *testing.B, srv *testserver.RedisServer) (sum time.Duration) {
	info := srv.Info("cpu")
	for _, field := range []string{"used_cpu_user", "used_cpu_sys"} {
		s, err := strconv.ParseFloat(info[field], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(s * float64(time.Second))
	}
	return sum
}

func quantile[T int64 | float64 | time.Duration](of []T, q float64) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(q*float64(len(sorted)-1))]
}

// rawGetter returns a GET over a socket, by the goroutine that calls it.
func rawGetter(b *testing.B, srv *testserver.RedisServer) func(key string) error {
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReader(conn)
	var buf []byte
	return func(key string) error {
		buf = fmt.Appendf(buf[:0], "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		n := 0
		for _, c := range line[1 : len(line)-2] {
			n = 10*n + int(c-'0')
		}
		_, err = io.ReadFull(r, make([]byte, n+2))
		return err
	}
}

// A hit in L2, decoded, beside the same bytes read by a bare socket, by rueidis, and by
// rueidis on a connection that takes invalidations, none of them decoded:
//
//	go test ./tests/redisl2 -run '^$' -bench HitRatio -benchtime 100x
func BenchmarkHitRatio(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			srv := testserver.Redis(b)
			x := newBenchOn(b, srv)
			pipelined := pipelinedGetter(b, srv)
			for _, k := range x.keys {
				for _, err := range []error{x.get(k), x.binaryGet(k), x.rawSet(k)} {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			key := func(i int64) string { return x.keys[i%benchKeys] }
			all := []*contender{
				{name: "json", do: func(i int64) error { return x.get(key(i)) }},
				{name: "binary", do: func(i int64) error { return x.binaryGet(key(i)) }},
				{name: "rueidis", do: func(i int64) error { return x.rawGet(key(i)) }},
				{name: "rueidis-pipelined", do: func(i int64) error { return pipelined("raw:" + key(i)) }},
			}
			if n == 1 {
				get := rawGetter(b, srv)
				all = append(all, &contender{name: "socket", do: func(i int64) error { return get("raw:" + key(i)) }})
			}
			interleave(b, srv, n, 400*min(n, 16), 2, all...)
		})
	}
}

// pipelinedGetter returns a GET by rueidis on a connection that takes invalidations, not
// decoded.
func pipelinedGetter(b *testing.B, srv *testserver.RedisServer) func(key string) error {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{srv.Addr()}, ClientTrackingOptions: []string{}, OnInvalidations: func([]rueidis.RedisMessage) {}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return func(key string) error {
		_, err := c.Do(context.Background(), c.B().Get().Key(key).Build()).AsBytes()
		return err
	}
}

// The latency of a lone strong read, decoded, beside GETs of the same bytes that are not: by
// the same goroutine, each in turn, b.N times.
//
//	go test ./tests/redisl2 -run '^$' -bench StrongLatency -benchtime 20000x
func BenchmarkStrongLatency(b *testing.B) {
	srv := testserver.Redis(b)
	x := newBenchOn(b, srv)
	get, pipelined := rawGetter(b, srv), pipelinedGetter(b, srv)
	for _, k := range x.keys {
		if err := errors.Join(x.get(k), x.rawSet(k)); err != nil {
			b.Fatal(err)
		}
	}
	all := []*contender{
		{name: "strong", do: func(i int64) error {
			_, err := x.c.Read(x.ctx, x.keys[i%benchKeys], benchLoader{}, aside.Strong)
			return err
		}},
		{name: "rueidis", do: func(i int64) error { return x.rawGet(x.keys[i%benchKeys]) }},
		{name: "rueidis-pipelined", do: func(i int64) error { return pipelined("raw:" + x.keys[i%benchKeys]) }},
		{name: "socket", do: func(i int64) error { return get("raw:" + x.keys[i%benchKeys]) }},
	}
	for i := range b.N {
		for k := range all {
			c := all[(i+k)%len(all)]
			began := time.Now()
			if err := c.do(int64(i)); err != nil {
				b.Fatal(c.name, err)
			}
			c.took = append(c.took, time.Since(began))
		}
	}
	for _, c := range all {
		b.ReportMetric(float64(quantile(c.took, 0.5).Nanoseconds())/1e3, "p50-µs/"+c.name)
		b.ReportMetric(float64(quantile(c.took, 0.99).Nanoseconds())/1e3, "p99-µs/"+c.name)
	}
}

// A miss with its fill beside GET and SET, and a write beside DEL:
//
//	go test ./tests/redisl2 -run '^$' -bench WriteRatio -benchtime 100x
func BenchmarkWriteRatio(b *testing.B) {
	for _, n := range []int{1, 16, 100} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			srv := testserver.Redis(b)
			x := newBenchOn(b, srv)
			key := func(i int64) string { return x.keys[i%benchKeys] }
			interleave(b, srv, n, 400*min(n, 16), 1,
				&contender{name: "write", do: func(i int64) error {
					return x.c.Write(x.ctx, key(i), func(context.Context, *aside.WriteTx[string, rec]) error { return nil })
				}},
				&contender{name: "DEL", do: func(i int64) error {
					return x.raw.Do(x.ctx, x.raw.B().Del().Key("raw:"+key(i)).Build()).Error()
				}})
		})
		b.Run(fmt.Sprintf("miss/goroutines=%d", n), func(b *testing.B) {
			srv := testserver.Redis(b)
			x := newBenchOn(b, srv)
			var fresh atomic.Int64
			interleave(b, srv, n, 400*min(n, 16), 1,
				&contender{name: "miss", do: func(int64) error { return x.binaryGet(fmt.Sprint("m", fresh.Add(1))) }},
				&contender{name: "GET-SET", do: func(int64) error {
					k := fmt.Sprint("m", fresh.Add(1))
					if err := x.rawGet(k); !rueidis.IsRedisNil(err) {
						return err
					}
					return x.rawSet(k)
				}})
		})
	}
}
