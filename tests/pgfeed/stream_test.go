package pgfeed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// A transaction comes when it commits, however long it ran.
func TestLongTransaction(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	tx := begin(t, pg)
	tx.exec("INSERT INTO todos VALUES ('long', 'x', 1)")
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	p := s.handle()
	pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
	s.want("b=1")
	s.wantQuiet()
	s.handle()
	tx.exec("COMMIT")
	s.want("long=1")
	s.handle()
	// Its rows are older in the log than the position, its commit is not.
	s = open(t, newFeed(t, options(pg)), p)
	s.want("b=1", "long=1")
}

func TestSavepointsAndRollback(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('no', 'x', 1); ROLLBACK")
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('a', 'x', 1); SAVEPOINT s; INSERT INTO todos VALUES ('no', 'x', 1); ROLLBACK TO s; " +
		"SAVEPOINT r; INSERT INTO todos VALUES ('b', 'x', 1); RELEASE r; COMMIT")
	s.want("a=1", "b=1")
	s.wantQuiet()
}

// Prepared transactions come at their second commit.
func TestTwoPhaseCommit(t *testing.T) {
	pg := ownServer(t, "max_prepared_transactions=2")
	s := open(t, newFeed(t, options(pg)), nil)
	pg.Exec("BEGIN; INSERT INTO todos VALUES ('a', 'x', 1); PREPARE TRANSACTION 'p'")
	s.wantQuiet()
	pg.Exec("COMMIT PREPARED 'p'")
	s.want("a=1")
}

// A transaction that changes more records than MaxChanges is "everything". Seen to fail
// with the first of them told.
func TestMaxChanges(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.MaxChanges = 10
	s := open(t, newFeed(t, opt), nil)
	pg.Exec("INSERT INTO todos SELECT 'k' || n, 'x', 1 FROM generate_series(1, 10) n")
	s.changes(10)
	pg.Exec("UPDATE todos SET version = 2; UPDATE todos SET version = 3") // the same ten again
	s.changes(10)
	pg.Exec("INSERT INTO todos SELECT 'n' || n, 'x', 1 FROM generate_series(1, 11) n")
	s.wantAll()
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	// The old key of a change is one too many, and the new one comes behind it.
	pg.Exec("UPDATE todos SET id = 'z' || id WHERE id IN (SELECT id FROM todos ORDER BY id LIMIT 6)")
	s.wantAll()
	pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
	s.want("b=1")
}

// A KeyOf that panics does not end the process, which would be that of each next leader too.
func TestKeyOfPanics(t *testing.T) {
	pg := server(t)
	var log bytes.Buffer
	opt := options(pg)
	opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
	opt.KeyOf = func(text string) string { return text[:3] }
	s := open(t, newFeed(t, opt), nil)
	for _, id := range []string{"a", "b"} {
		pg.Exec("INSERT INTO todos VALUES ('" + id + "', 'x', 1)")
		s.wantAll()
	}
	pg.Exec("INSERT INTO todos VALUES ('long', 'x', 1)")
	s.want("lon=1")
	_ = s.Close()
	if text := log.String(); strings.Count(text, "KeyOf panicked") != 1 || !strings.Contains(text, "TestKeyOfPanics") {
		t.Errorf("log: %s, want one line with the stack", text)
	}
}

// A migration of a million rows is told as "everything", in flat memory, and the stream goes
// on meanwhile. ASIDE_TEST_LONG=1 runs it in full.
func TestMillionRowsInOneTransaction(t *testing.T) {
	rows := 100_000
	if os.Getenv("ASIDE_TEST_LONG") == "1" {
		rows = 1_000_000
	}
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	var peak atomic.Uint64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	began := time.Now()
	pg.Exec(fmt.Sprintf("INSERT INTO todos SELECT 'key-' || n, 'x', 1 FROM generate_series(1, %d) n", rows))
	wrote := time.Since(began)
	s.wantAll()
	told := time.Since(began) - wrote
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	b := s.change()
	for b.All { // its rows may still come
		b = s.change()
	}
	if got := texts(b.Changes); len(got) != 1 || got[0] != "a=1" {
		t.Errorf("told %v", got)
	}
	close(stop)
	watch.Wait()
	t.Logf("%d rows written in %v, told %v later, the next transaction %v later; peak of the heap %d MB",
		rows, wrote, told, time.Since(began)-wrote, peak.Load()>>20)
	if peak.Load() > 200<<20 {
		t.Errorf("the heap grew to %d MB", peak.Load()>>20)
	}
}

// A huge transaction is told before its last row has come, and again while its rows come:
// the stream is no dead one, and what is committed meanwhile is told by this too.
func TestHugeTransactionIsToldEarly(t *testing.T) {
	pg := server(t)
	proxy := testserver.Toxiproxy(t, pg.Addr())
	opt := options(pg)
	opt.URL, opt.MaxChanges, opt.Silence = pg.URLVia(proxy.Addr()), 10, 4*time.Second
	s := open(t, newFeed(t, opt), nil)
	proxy.Bandwidth(200) // so its two megabytes take ten seconds
	pg.Exec("INSERT INTO todos SELECT 'key-' || n, 'x', 1 FROM generate_series(1, 30000) n")
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	before := s.Position()
	all := 0
	for {
		b := s.change()
		if !b.All {
			if got := texts(b.Changes); len(got) != 1 || got[0] != "a=1" {
				t.Fatalf("told %v", got)
			}
			break
		}
		all++
		if last := s.Position()[21:29]; all <= 2 && !slices.Equal(last, before[21:29]) {
			t.Fatalf("the last transaction is %x by now, not %x", last, before[21:29])
		}
		s.handle()
	}
	if all < 3 {
		t.Errorf("told %d times", all)
	}
	// Only its end makes the position move.
	s = open(t, newFeed(t, options(pg)), before)
	s.change()
}

// The changes of a marked transaction have its writer, wherever in it the mark stands.
func TestMarks(t *testing.T) {
	pg := server(t)
	s := open(t, newFeed(t, options(pg)), nil)
	c := pg.Conn()
	ctx := t.Context()
	one, two := driver.Token{1, 2, 255, 0, 5}, driver.Token{9}
	in := func(steps ...func(pgx.Tx) error) {
		t.Helper()
		tx, err := c.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if err := step(tx); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(sql string) func(pgx.Tx) error {
		return func(tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err }
	}
	mark := func(token driver.Token) func(pgx.Tx) error {
		return func(tx pgx.Tx) error { return pgfeed.Mark(ctx, tx, token) }
	}
	want := func(writer driver.Token, keys ...string) {
		t.Helper()
		for i, c := range s.changes(len(keys)) {
			if c.Key != keys[i] || c.Writer != writer {
				t.Errorf("change %+v, want key %s, writer %v", c, keys[i], writer)
			}
		}
	}
	in(mark(one), exec("INSERT INTO todos VALUES ('a', 'x', 1)"), exec("INSERT INTO todos VALUES ('b', 'x', 1)"))
	want(one, "a", "b")
	in(exec("INSERT INTO todos VALUES ('c', 'x', 1)"), mark(two))
	want(two, "c")
	in(exec("INSERT INTO todos VALUES ('d', 'x', 1)"))
	want(driver.Token{}, "d")
	in(mark(one)) // nothing else
	in(exec("SAVEPOINT s"), mark(one), exec("ROLLBACK TO s"), exec("INSERT INTO todos VALUES ('e', 'x', 1)"))
	want(driver.Token{}, "e")
	in(mark(one), exec("INSERT INTO todos VALUES ('f', 'x', 1)"), mark(two))
	want(driver.Token{}, "f")
	in(exec("INSERT INTO todos VALUES ('g', 'x', 1)"), mark(one), mark(one))
	want(one, "g")
	// Not of a transaction, and of somebody else.
	pg.Exec(`BEGIN; SELECT pg_logical_emit_message(false, 'aside', '\x01000000000000000000000000000000'::bytea); INSERT INTO todos VALUES ('h', 'x', 1); COMMIT`)
	want(driver.Token{}, "h")
	pg.Exec(`BEGIN; SELECT pg_logical_emit_message(true, 'other', '\x01000000000000000000000000000000'::bytea); SELECT pg_logical_emit_message(true, 'aside', 'short'); ` +
		`INSERT INTO todos VALUES ('i', 'x', 1); COMMIT`)
	want(driver.Token{}, "i")
}

// A read that begins after Next has returned a change sees it. Seen to fail without the
// wait for it (busy: 21 of 600 reads got the row before).
func TestChangeIsVisible(t *testing.T) {
	pg := server(t)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 0); CREATE TABLE busy (id int PRIMARY KEY, n int); INSERT INTO busy SELECT g, 0 FROM generate_series(1, 1000) g")
	s := open(t, newFeed(t, options(pg)), nil)
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	for range 8 {
		c := pg.Conn()
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.Exec(context.Background(), fmt.Sprintf("UPDATE busy SET n = n + 1 WHERE id = %d", rand.IntN(1000)+1))
			}
		})
	}
	writer, reader := pg.Conn(), pg.Conn()
	old := 0
	const n = 600
	for i := 1; i <= n; i++ {
		done := make(chan error, 1)
		go func() {
			_, err := writer.Exec(context.Background(), fmt.Sprintf("UPDATE todos SET version = %d", i))
			done <- err
		}()
		s.want(fmt.Sprintf("a=%d", i))
		var version int
		if err := reader.QueryRow(t.Context(), "SELECT version FROM todos").Scan(&version); err != nil {
			t.Fatal(err)
		}
		if version < i {
			old++
		}
		s.handle()
		if err := <-done; err != nil { // it may be told before its writer knows
			t.Fatal(err)
		}
	}
	if old > 0 {
		t.Errorf("%d of %d reads after a change saw the row before it", old, n)
	}
}

// What is on its way when the stream is opened at "now", and is not seen by who reads then,
// is told: with a new slot, and with one that is there.
func TestOpenNowMissesNothing(t *testing.T) {
	pg := server(t)
	f := newFeed(t, options(pg))
	var writers []*pgx.Conn
	for range 4 {
		writers = append(writers, pg.Conn())
	}
	reader := pg.Conn()
	keys := func() (keys []string) {
		rows, err := reader.Query(t.Context(), "SELECT id FROM todos")
		if err == nil {
			keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	for round := range 10 {
		if round%2 == 0 {
			if err := f.Drop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		for i, c := range writers {
			work.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					_, err := c.Exec(context.Background(), fmt.Sprintf("INSERT INTO todos VALUES ('%d-%d-%d', 'x', 1)", round, i, n))
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		s, err := tryOpen(t, f, nil)
		if err != nil {
			stop()
			work.Wait()
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, k := range keys() {
			known[k] = true
		}
		stop()
		work.Wait()
		last := fmt.Sprintf("last%d", round)
		pg.Exec("INSERT INTO todos VALUES ('" + last + "', 'x', 1)")
		for !known[last] {
			for _, c := range (stream{s, t}).change().Changes {
				known[c.Key] = true
			}
		}
		missing := 0
		for _, k := range keys() {
			if !known[k] {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("round %d: %d records came after Open and were not told", round, missing)
		}
		_ = s.Close()
	}
}

// An idle stream says so every second or so, and confirms the log that others write.
func TestIdleStream(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.KeepFor = time.Second
	f := newFeed(t, opt)
	s := open(t, f, nil)
	pg.Exec("CREATE TABLE other (id int)")
	testserver.Eventually(t, limit, "the slot follows the log of other tables, with nothing to handle", func() bool {
		pg.Exec("INSERT INTO other SELECT generate_series(1, 1000)")
		return pg.Value("SELECT confirmed_flush_lsn > '"+lsnOf(t, f)+"' FROM pg_replication_slots WHERE slot_name = '"+opt.Slot+"'") == "t"
	})
	testserver.Eventually(t, limit, "both slots follow the log of other tables", func() bool {
		pg.Exec("INSERT INTO other SELECT generate_series(1, 1000)")
		s.wantQuiet()
		s.handle()
		return pg.Value("SELECT bool_and(confirmed_flush_lsn > '"+lsnOf(t, f)+"') FROM pg_replication_slots WHERE database = current_database()") == "t"
	})
	st, err := f.Status(t.Context())
	if err != nil || !st.Active || st.WALStatus != "reserved" || st.Confirmed == "" || st.SafeBytes <= 0 || !st.LastCommit.IsZero() {
		t.Errorf("Status %+v, %v", st, err)
	}
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	b := s.change()
	st, err = f.Status(t.Context())
	if err != nil || !st.LastCommit.Equal(b.Committed) || time.Since(b.Committed).Abs() > time.Minute {
		t.Errorf("Status %+v, %v; the batch was committed %v", st, err, b.Committed)
	}
}

var firstLSN sync.Map // of a test

// lsnOf is where the slot was when it was asked first.
func lsnOf(t *testing.T, f *pgfeed.Feed) string {
	t.Helper()
	if lsn, ok := firstLSN.Load(t.Name()); ok {
		return lsn.(string)
	}
	st, err := f.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	firstLSN.Store(t.Name(), st.Confirmed)
	return st.Confirmed
}

// A fast shutdown of the server waits for its followers. It does not wait for one that has
// handled everything, nor for one that cannot handle what it has. Seen to fail (30 s) with
// a stream that answers, and does not notice the shutdown.
func TestFastShutdownIsNotHeldUp(t *testing.T) {
	for _, handled := range []bool{true, false} {
		t.Run(fmt.Sprintf("handled=%v", handled), func(t *testing.T) {
			pg := ownServer(t)
			s := open(t, newFeed(t, options(pg)), nil)
			pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
			s.want("a=1")
			if handled {
				s.handle()
			}
			pg.Exec("CREATE TABLE other (id int)")
			began := time.Now()
			pg.Stop()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the shutdown took %v", took)
			}
			_ = s.wantEnd()
		})
	}
}

// A server that says nothing is not a quiet one.
func TestSilence(t *testing.T) {
	pg := ownServer(t)
	opt := options(pg)
	opt.Silence = 2 * time.Second
	f := newFeed(t, opt)
	s := open(t, f, nil)
	pg.Pause()
	err := s.wantEnd()
	if errors.Is(err, driver.ErrGap) || !strings.Contains(err.Error(), "2s") {
		t.Errorf("Next: %v", err)
	}
	if _, err := tryOpen(t, f, nil); err == nil {
		t.Error("Open on a paused server: no error")
	}
	pg.Resume()
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	open(t, f, s.Position()).want("a=1")
}

func TestCloseEndsNext(t *testing.T) {
	pg := server(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := open(t, newFeed(t, options(pg)), nil)
	done := make(chan error)
	go func() {
		for {
			if _, err := s.batch(); err != nil {
				done <- err
				return
			}
		}
	}()
	s.wantQuietFrom(pg)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := s.Handled(t.Context(), s.Position()); err == nil {
		t.Error("Handled after Close: no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFeed(t, options(pg)).Open(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended: %v", err)
	}
}

func (s stream) wantQuietFrom(pg *testserver.PostgresServer) {
	testserver.Eventually(s.t, limit, "the slot is active", func() bool {
		return pg.Value("SELECT active FROM pg_replication_slots WHERE slot_name = '"+pg.Database()+"'") == "t"
	})
}

// A consumer that does not come back for long is kept alive, and keeps its place.
func TestSlowConsumer(t *testing.T) {
	pg := ownServer(t, "wal_sender_timeout=2s")
	s := open(t, newFeed(t, options(pg)), nil)
	const n = 60_000
	for i := range 6 {
		pg.Exec(fmt.Sprintf("INSERT INTO todos SELECT '%d-' || n, repeat('x', 100), 1 FROM generate_series(1, %d) n", i, n/6))
	}
	pg.Exec("SELECT pg_sleep(5)") // more than twice the timeout
	if got := len(s.changes(n)); got != n {
		t.Errorf("%d changes, want %d", got, n)
	}
}
