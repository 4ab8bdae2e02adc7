package measure

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/tests/testserver"

	"github.com/asidecache/aside/bench/internal/record"
)

// Some of the libraries that are linked here have goroutines from the start.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) }

const short = 50 * time.Millisecond

func open(t *testing.T, o Options) *Session {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A filled cache is read without a load, in every way of reading.
//
// Caught: Fill that read once only, so that L1 was not filled from L2.
func TestHits(t *testing.T) {
	server := testserver.Redis(t)
	ctx := context.Background()
	for _, id := range []string{"aside", "rueidis-cache-raw", "otter"} {
		s := open(t, Options{Peer: id, Redis: server.Addr(), Keys: 500})
		if missing, err := s.Fill(ctx); missing != 0 || err != nil {
			t.Fatalf("%s: %d keys missing, %v", id, missing, err)
		}
		for _, a := range []HitArgs{
			{Dist: record.Uniform, Goroutines: 1, For: short},
			{Dist: record.Zipf, Goroutines: 4, For: short},
			{Dist: record.Uniform, Goroutines: 4, For: short, Timed: true},
		} {
			before := commands(t, server)
			got, err := s.Hits(ctx, a)
			if err != nil {
				t.Fatal(err)
			}
			if got.Ops == 0 || got.Elapsed < short || got.Loads != 0 || got.Errors != 0 || got.Trouble != "" {
				t.Errorf("%s, %+v: %+v", id, a, got)
			}
			if a.Timed != (got.P99 > 0) || got.P50 > got.P99 {
				t.Errorf("%s, %+v: p50 %v, p99 %v", id, a, got.P50, got.P99)
			}
			if n := commands(t, server) - before; n > 100 { // some are not about a key
				t.Errorf("%s, %+v: %d commands for %d reads", id, a, n, got.Ops)
			}
		}
	}
	if _, err := open(t, Options{Peer: "otter", Keys: 1}).Hits(ctx, HitArgs{Dist: "none"}); err == nil {
		t.Error("read by a distribution that there is not")
	}
	if _, err := Open(ctx, Options{Peer: "none of them"}); err == nil {
		t.Error("opened a peer that there is not")
	}
}

func commands(t *testing.T, s *testserver.RedisServer) int {
	t.Helper()
	n, err := strconv.Atoi(s.Info("stats")["total_commands_processed"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What others have still to do is waited for.
//
// Caught: a settle that looked at nothing.
func TestSettle(t *testing.T) {
	server := testserver.Redis(t)
	ctx := context.Background()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 50_000 // few enough to be on their way at once
	answered := make(chan error, 1)
	go func() {
		_, err := io.CopyN(io.Discard, conn, n*int64(len("+PONG\r\n")))
		answered <- err
	}()
	before, begun := commands(t, server), time.Now()
	if _, err := io.WriteString(conn, strings.Repeat("PING\r\n", n)); err != nil {
		t.Fatal(err)
	}
	busy, err := settle(ctx, server.Addr())
	if done := commands(t, server) - before; err != nil || done < n || busy.Before(begun) {
		t.Errorf("settled at %v with %d of %d done, %v", busy.Sub(begun), done, n, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if busy, err := settle(ctx, server.Addr()); err != nil || !busy.IsZero() {
		t.Errorf("an idle server was busy at %v, %v", busy, err)
	}
}

// Every cold read is a load, and the time ends when the last fill has.
func TestCold(t *testing.T) {
	server := testserver.Redis(t)
	ctx := context.Background()
	s := open(t, Options{Peer: "aside-l2", Redis: server.Addr(), LoadDelay: time.Millisecond})
	got, err := s.Cold(ctx, ColdArgs{Prefix: "cold:", Goroutines: 8, For: short})
	if err != nil || got.Trouble != "" {
		t.Fatal(err, got.Trouble)
	}
	if got.Ops == 0 || got.Loads != got.Ops || got.P50 < time.Millisecond {
		t.Errorf("%+v", got)
	}
	// What it has read is stored now, without waiting.
	again, err := s.Cold(ctx, ColdArgs{Prefix: "cold:", Goroutines: 1, For: 0})
	if err != nil || again.Loads != 0 {
		t.Errorf("%d keys were not stored, %v", again.Loads, err)
	}
}

func TestWrites(t *testing.T) {
	s := open(t, Options{Peer: "aside", Redis: testserver.Redis(t).Addr(), Keys: 10})
	got, err := s.Writes(context.Background(), WriteArgs{Goroutines: 4, For: short})
	if err != nil || got.Trouble != "" || got.Ops == 0 || got.P99 == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	var written int64
	for _, k := range s.keys {
		written += s.primary.Version(k) - 1
	}
	if written != got.Ops {
		t.Errorf("%d writes reached the primary, %d were counted", written, got.Ops)
	}
}

// Errors are counted, and are no operations.
func TestErrorsAreNoFigure(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, Options{Peer: "rueidis", Redis: server.Addr(), Keys: 10})
	server.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	got, err := s.Hits(ctx, HitArgs{Dist: record.Uniform, Goroutines: 1, For: short, Timed: true})
	if err != nil || got.Ops != 0 || got.Errors == 0 || got.Trouble == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTrips(t *testing.T) {
	ctx := context.Background()
	for id, want := range map[string]Trips{
		"rueidis": {Miss: 2, FirstHit: 1, SecondHit: 1, Write: 1, MissCommands: "get 1, set 1", WriteCommands: "del 1"},
		"otter":   {},
	} {
		s := open(t, Options{Peer: id, Redis: testserver.Redis(t).Addr()})
		if got, err := s.Trips(ctx, 5); err != nil || got != want {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
	}
	// A miss of aside is two round trips, so is a write, and what it filled is a hit.
	got, err := open(t, Options{Peer: "aside", Redis: testserver.Redis(t).Addr()}).Trips(ctx, 5)
	if err != nil || got.Miss != 2 || got.FirstHit != 0 || got.Write != 2 {
		t.Errorf("aside: %+v, %v", got, err)
	}
}

// All callers call at one time, and one of them loads.
func TestStampede(t *testing.T) {
	server := testserver.Redis(t)
	s := open(t, Options{Peer: "aside", Redis: server.Addr(), LoadDelay: 20 * time.Millisecond})
	r := s.Stampede(context.Background(), StampedeArgs{Key: "k", Callers: 50, At: time.Now().Add(short)})
	if r.Loads != 1 || r.Slowest < 20*time.Millisecond || r.Trouble != "" {
		t.Errorf("%+v", r)
	}
	if r := s.Stampede(context.Background(), StampedeArgs{Key: "k", Callers: 1, At: time.Now().Add(-time.Second)}); !r.Late {
		t.Error("a call in the past was not late")
	}
}

// A cache holds more than its data. Measured in a process of its own, as the
// bench does: what other tests leave is freed at some time, and would be missing.
func TestMemory(t *testing.T) {
	if os.Getenv("ASIDE_TEST_ALONE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$")
		cmd.Env = append(os.Environ(), "ASIDE_TEST_ALONE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	const n = 20_000
	alone := DataAlone(n)
	if alone.Entries != n || alone.Heap < n*record148 || alone.GC <= 0 {
		t.Errorf("the data alone: %+v", alone)
	}
	s := open(t, Options{Peer: "otter", Keys: n})
	got, err := s.Memory(context.Background())
	if err != nil || got.Entries != n || got.Heap <= alone.Heap || got.Heap > 4*alone.Heap {
		t.Errorf("otter: %+v, %v, the data alone %+v", got, err, alone)
	}
}

// record148 is less than a record and its key take in memory.
const record148 = 148
