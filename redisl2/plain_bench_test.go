package redisl2

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// yesman is a server that stores nothing and says yes to everything, without an
// allocation: what is measured on it is the client's, and what goes over the wire.
type yesman struct {
	l       net.Listener
	in, out atomic.Int64 // bytes
	script  atomic.Value // what a script answers for a key, a string
}

func newYesman(tb testing.TB) *yesman {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	y := &yesman{l: l}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go y.serve(c)
		}
	}()
	return y
}

func (y *yesman) serve(c net.Conn) {
	defer c.Close()
	r, w := bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16)
	number := func() (n int) {
		for {
			b, err := r.ReadByte()
			if err != nil {
				return -1
			}
			y.in.Add(1)
			switch {
			case b >= '0' && b <= '9':
				n = 10*n + int(b-'0')
			case b == '\n':
				return n
			}
		}
	}
	say := func(s string) {
		n, _ := w.WriteString(s)
		y.out.Add(int64(n))
	}
	var first, third [8]byte
	queued := -1
	for {
		args := number()
		if args < 0 {
			return
		}
		for i := range args {
			n := number()
			to := &third
			if i == 0 {
				to = &first
			}
			if i == 0 || i == 2 {
				clear(to[:])
				peek, _ := r.Peek(min(n, 8))
				copy(to[:], peek)
			}
			if _, err := r.Discard(n + 2); err != nil {
				return
			}
			y.in.Add(int64(n) + 2)
		}
		is := func(name string) bool { return bytes.HasPrefix(first[:], []byte(name)) }
		switch {
		case is("HELLO"):
			say("%3\r\n+server\r\n+redis\r\n+version\r\n+7.0.0\r\n+proto\r\n:3\r\n")
		case is("CLUSTER"):
			say("-ERR This instance has cluster support disabled\r\n")
		case is("MULTI"):
			queued = 0
			say("+OK\r\n")
		case is("EXEC\x00"):
			say("*")
			say(strconv.Itoa(queued))
			for range queued - 1 {
				say("\r\n+OK")
			}
			say("\r\n:1\r\n")
			queued = -1
		case queued >= 0:
			queued++
			say("+QUEUED\r\n")
		case is("EVALSHA"):
			n, _ := strconv.Atoi(string(bytes.TrimRight(third[:], "\x00")))
			each, _ := y.script.Load().(string)
			say("*")
			say(strconv.Itoa(n))
			for range n {
				say("\r\n")
				say(each)
			}
			say("\r\n")
		case is("DELIFEQ"):
			say(":1\r\n")
		default:
			say("+OK\r\n")
		}
		if r.Buffered() == 0 {
			if w.Flush() != nil {
				return
			}
		}
	}
}

// BenchmarkPlain is what scripts and plain commands cost a client, and the bytes on the
// wire, with a server that costs nothing: keys of 20 bytes, entries of 252.
func BenchmarkPlain(b *testing.B) {
	y := newYesman(b)
	s, err := Open(Options{URL: "redis://" + y.l.Addr().String(), SilenceTimeout: time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	s.health.down.Store(nil)
	prefix := "aside:bench:0:"
	entry := envelope.Append(nil, envelope.Entry{Codec: 1, Payload: []byte(strings.Repeat("x", 200))}, -1)
	for _, n := range []int{1, 2, 4, 8, 16, 32} {
		fills, releases := make([]driver.FillRequest, n), make([]driver.ReleaseRequest, n)
		abandons := make([]driver.AbandonRequest, n)
		for i := range n {
			k := prefix + fmt.Sprintf("%06d", i)
			fills[i] = driver.FillRequest{Key: k, Lease: envelope.NewToken(), Entry: entry, TTL: time.Minute}
			abandons[i] = driver.AbandonRequest{Key: k, Lease: envelope.NewToken()}
			releases[i] = driver.ReleaseRequest{Key: k, Token: envelope.NewToken()}
		}
		for _, op := range []struct {
			name, answer string
			run          func() error
		}{
			{"fill", ":1", func() error { r := s.Fill(b.Context(), fills); return r[0].Err }},
			{"abandon", ":1", func() error { return s.Abandon(b.Context(), abandons)[0] }},
			{"release", "+D", func() error { return s.Release(b.Context(), releases)[0].Err }},
		} {
			for _, how := range []string{"script", "plain"} {
				b.Run(fmt.Sprintf("%s/keys=%d/%s", op.name, n, how), func(b *testing.B) {
					y.script.Store(op.answer)
					s.plain.can.Store(nil)
					gen := s.conns.gen.Load()
					s.own(prefix).verified.Store(gen)
					if how == "plain" {
						s.plain.can.Store(&abilities{gen: gen, multi: true, delIf: "DELIFEQ"})
						if n > plainKeys {
							b.Skip("a script")
						}
					}
					in, out := y.in.Load(), y.out.Load()
					b.ReportAllocs()
					for b.Loop() {
						if err := op.run(); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(y.in.Load()-in)/float64(b.N), "sentB/op")
					b.ReportMetric(float64(y.out.Load()-out)/float64(b.N), "gotB/op")
				})
			}
		}
	}
}
