package pgfeed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/asidecache/aside/driver"
)

func TestPositionRoundTrip(t *testing.T) {
	p := position{1 << 63, 7, 0x1_0000_0010, mark{0x1_0000_0000, 1 << 31, -5}, 42, trail{0: {-5, 1}, 7: {1, 1 << 63}}}
	got, err := decodePosition(p.encode())
	if err != nil || got != p {
		t.Errorf("%+v, %v; want %+v", got, err, p)
	}
	for n := range positionLen {
		if _, err := decodePosition(p.encode()[:n]); err == nil {
			t.Errorf("%d bytes: no error", n)
		}
	}
	other := p.encode()
	other[0]++
	if _, err := decodePosition(other); err == nil {
		t.Error("another format: no error")
	}
}

// What a stream begins with is what the one before it knew, in few steps. Caught: times of
// the future, that would have moved a slot at once; the newest instead of the oldest.
func TestTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keep = 2 * time.Minute
		var h handledTo
		for i := range 1000 {
			h.note(keep, pglogrepl.LSN(i+1))
			h.before(time.Now().Add(-keep))
			time.Sleep(time.Second)
		}
		given := h.trail(keep)
		time.Sleep(45 * time.Second)
		var next handledTo
		next.follow(given)
		if n := len(next.since); n < 5 {
			t.Errorf("%d", n)
		}
		if lsn := next.before(time.Now().Add(-keep)); lsn < 900 || lsn > 1000-120+45 {
			t.Errorf("KeepFor ago %d had been handled", lsn)
		}
		given[3].at = time.Now().Add(time.Hour).UnixMicro()
		next = handledTo{}
		next.follow(given)
		if len(next.since) != 3 {
			t.Errorf("%+v", next.since)
		}
	})
}

func FuzzDecodePosition(f *testing.F) {
	f.Add([]byte(position{system: 1}.encode()))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePosition(b)
		if err == nil && string(p.encode()) != string(b) {
			t.Errorf("%x became %x", b, p.encode())
		}
	})
}

// Numbers of transactions in the log have 32 bits and begin again; those of a snapshot do not.
func TestSnapshotSees(t *testing.T) {
	const wrap = 1 << 32
	for _, c := range []struct {
		snapshot string
		xid      uint32
		sees     bool
	}{
		{"100:100:", 99, true},
		{"100:100:", 100, false}, // ended after the snapshot, or not yet
		{"100:110:100,105", 100, false},
		{"100:110:100,105", 101, true},
		{"100:110:100,105", 105, false},
		{"100:110:100,105", 109, true},
		{"100:110:100,105", 110, false},
		{fmt.Sprintf("%d:%d:", wrap+5, wrap+5), 4, true},
		{fmt.Sprintf("%d:%d:", wrap+5, wrap+5), 5, false},
		{fmt.Sprintf("%d:%d:", wrap+5, wrap+5), 0xfffffff0, true},                        // before it began again
		{fmt.Sprintf("%d:%d:", wrap-5, wrap-5), 3, false},                                // has begun again
		{fmt.Sprintf("%d:%d:%d", wrap-5, wrap+5, wrap-5), uint32(0xfffffffb), false},     // still runs
		{fmt.Sprintf("%d:%d:%d", wrap-5, wrap+5, wrap-5), uint32(0xfffffffc), true},      // beside it
		{fmt.Sprintf("%d:%d:%d", 3*wrap-5, 3*wrap+5, 3*wrap+2), 2, false},                // still runs
		{fmt.Sprintf("%d:%d:%d", 3*wrap-5, 3*wrap+5, 3*wrap+2), uint32(1<<31 + 9), true}, // long ago
	} {
		s, err := parseSnapshot(c.snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.sees(c.xid); got != c.sees {
			t.Errorf("snapshot %s sees %d: %v, want %v", c.snapshot, c.xid, got, c.sees)
		}
	}
	for _, text := range []string{"", "1:2", "a:2:", "1:2:x", "1:2:3:4"} {
		if _, err := parseSnapshot(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

// What was handled KeepFor ago is known, with few entries.
func TestHandledTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keep = 2 * time.Minute
		var h handledTo
		began := time.Now()
		for i := range 3000 { // 100 ms each: five minutes
			h.note(keep, pglogrepl.LSN(i))
			if i%100 == 0 {
				lsn := h.before(time.Now().Add(-keep))
				ago := time.Since(began.Add(time.Duration(lsn) * 100 * time.Millisecond))
				if lsn != 0 && ago < keep {
					t.Fatalf("what was handled %v ago would be given up", ago)
				}
				if ago > keep+2*keep/steps+100*time.Millisecond {
					t.Fatalf("what was handled %v ago is kept", ago)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(h.since); n > steps+8 { // some are forgotten only at the next look
			t.Errorf("%d entries", n)
		}
	})
}

// Errors of the server that end a slot for good are gaps.
func TestErrorsThatAreGaps(t *testing.T) {
	f, err := New(Options{URL: "postgres://u:s3cret@h/db", Table: "t", Key: "id"})
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range map[string]bool{"42704": true, "55000": true, "58P01": true, "57P01": false, "55006": false} {
		if got := errors.Is(f.lost(&pgconn.PgError{Code: c}), driver.ErrGap); got != want {
			t.Errorf("%s is a gap: %v, want %v", c, got, want)
		}
	}
	if text := f.clean(errors.New("the password s3cret")).Error(); text != "pgfeed: PostgreSQL at h:5432: the password xxxxx" {
		t.Error(text)
	}
}

// The server gives a sign of life after half of wal_sender_timeout while it reads a large
// transaction of other tables: in Silence there must be several of them.
func TestWALSenderTimeout(t *testing.T) {
	for _, c := range []struct{ params, want string }{{"", "5000"}, {"&wal_sender_timeout=7s", "7s"}} {
		f, err := New(Options{URL: "postgres://u@127.0.0.1/db?sslmode=disable" + c.params, Table: "t", Key: "id", Silence: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, replication := range []bool{false, true} {
			ours, theirs := net.Pipe()
			f.config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
			started := make(chan map[string]string, 1)
			go func() {
				defer theirs.Close()
				params := map[string]string{}
				msg, _ := pgproto3.NewBackend(theirs, theirs).ReceiveStartupMessage()
				if m, ok := msg.(*pgproto3.StartupMessage); ok {
					params = m.Parameters
				}
				started <- params
			}()
			if _, err := f.connect(t.Context(), replication); err == nil {
				t.Fatal("connected to a server that hangs up")
			}
			if got := (<-started)["wal_sender_timeout"]; replication && got != c.want {
				t.Errorf("wal_sender_timeout is %q, want %q", got, c.want)
			}
		}
	}
}

// A transaction that waits for room is not behind the stream yet: an empty batch that is
// returned then would have its position skip it.
func TestTransactionThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stream{Feed: &Feed{}, wake: make(chan struct{}, 1)}
		s.room.L = &s.mu
		s.reader = reader{stream: s, proven: true, tx: &txn{changes: make([]driver.Change, 1)}}
		s.queue, s.queued = []*txn{{changes: make([]driver.Change, queueLimit)}}, queueLimit
		go func() { _ = s.reader.commit(&pglogrepl.CommitMessage{TransactionEndLSN: 100}) }()
		synctest.Wait()
		s.mu.Lock()
		if s.waiting && s.walEnd != 0 {
			t.Errorf("nothing is told up to %v, while the transaction waits", s.walEnd)
		}
		s.takeLocked()
		s.mu.Unlock()
		synctest.Wait()
		if len(s.queue) != 1 || s.walEnd != 100 {
			t.Errorf("%d transactions in the queue, at %v", len(s.queue), s.walEnd)
		}
	})
}

// A transaction that changes everything is told once, also if its commit comes while Next
// waits until it is visible.
func TestHugeIsToldOnce(t *testing.T) {
	s := &stream{Feed: &Feed{}, wake: make(chan struct{}, 1)}
	s.room.L = &s.mu
	s.reader = reader{stream: s, proven: true, tx: &txn{}}
	s.reader.everything()
	early := &taken{batch: driver.Batch{All: true}, huge: s.huge}
	if err := s.reader.commit(&pglogrepl.CommitMessage{TransactionEndLSN: 100}); err != nil {
		t.Fatal(err)
	}
	s.give(early)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takeLocked(); s.taken.batch.All {
		t.Error("told twice")
	}
}
