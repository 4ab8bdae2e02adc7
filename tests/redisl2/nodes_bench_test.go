package redisl2_test

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// BenchmarkManyNodes writes keys that some nodes hold, in a Redis that tracks others too:
// first what few hold among ever more nodes, then what ever more hold. It tells the
// processor time of Redis beside the time, since the nodes run on the same machine: they
// are connections of this process that track, and read what they are told.
func BenchmarkManyNodes(b *testing.B) {
	for _, t := range []struct{ holders, others int }{{2, 0}, {2, 100}, {2, 1000}, {10, 0}, {100, 0}, {1000, 0}} {
		b.Run(fmt.Sprintf("holders=%d/others=%d", t.holders, t.others), func(b *testing.B) {
			srv := testserver.Redis(b)
			x := newBenchOn(b, srv)
			names := make([]string, len(x.keys))
			for i, k := range x.keys {
				names[i] = "aside:bench:0:" + k
				if err := x.get(k); err != nil {
					b.Fatal(err)
				}
			}
			const each = 100 // keys that each of the others has read
			for i := range t.others {
				read(b, trackingNode(b, srv), numbered(fmt.Sprint("other:", i, ":"), each))
			}
			holders := make([]net.Conn, t.holders)
			for i := range holders {
				holders[i] = trackingNode(b, srv)
			}
			var busy float64
			for done := 0; done < b.N; done += benchKeys {
				b.StopTimer()
				for _, h := range holders {
					read(b, h, names)
				}
				testserver.Eventually(b, time.Minute, "Redis knows of all", func() bool {
					items, _ := strconv.Atoi(srv.Info("stats")["tracking_total_items"])
					return items >= each*t.others+benchKeys*t.holders
				})
				busy -= busySeconds(b, srv)
				b.StartTimer()
				spread(b, 100, min(benchKeys, b.N-done), func(i int64) error { return x.publish(x.keys[i-1]) })
				b.StopTimer()
				busy += busySeconds(b, srv)
				b.StartTimer()
			}
			b.ReportMetric(1e6*busy/float64(b.N), "redis-µs/write")
		})
	}
}

// trackingNode is a connection that Redis tells of what it has read.
func trackingNode(b *testing.B, srv *testserver.RedisServer) net.Conn {
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "HELLO 3\r\nCLIENT TRACKING ON\r\n"); err != nil {
		b.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	return conn
}

// read has Redis remember that the connection knows the keys, for which EXISTS suffices.
func read(b *testing.B, conn net.Conn, names []string) {
	if _, err := io.WriteString(conn, "EXISTS "+strings.Join(names, " ")+"\r\n"); err != nil {
		b.Fatal(err)
	}
}

// busySeconds is the processor time that Redis has taken.
func busySeconds(b *testing.B, srv *testserver.RedisServer) (sum float64) {
	info := srv.Info("cpu")
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		s, err := strconv.ParseFloat(info[name], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += s
	}
	return sum
}
