package pgfeed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// Positions that were handled can be opened, by another process too, and give exactly the
// commits behind them. Seen to fail with one slot only: the server moves a start before what
// was confirmed forward, without a word.
func TestGoesBackToHandledPositions(t *testing.T) {
	pg := server(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	positions := []driver.Position{s.Position()}
	var all []string
	for i := range 6 {
		pg.Exec(fmt.Sprintf("INSERT INTO todos VALUES ('k%d', 'x', %d)", i, i+1))
		all = append(all, fmt.Sprintf("k%d=%d", i, i+1))
		s.want(all[i])
		positions = append(positions, s.handle())
	}
	s.wantQuiet() // the slot is confirmed further than the last change
	s.handle()
	for _, i := range []int{0, 3, 6, 1, 5} {
		other := newFeed(t, options(pg))
		back := open(t, other, positions[i])
		pg.Exec(fmt.Sprintf("INSERT INTO todos VALUES ('n%d', 'x', 1)", i))
		all = append(all, fmt.Sprintf("n%d=1", i))
		back.want(all[i:]...)
		back.handle()
		back.wantQuiet()
	}
}

// The second slot follows KeepFor behind, so the log is not kept for ever.
func TestOlderThanKeepForIsAGap(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.KeepFor = time.Second
	f := newFeed(t, opt)
	s := open(t, f, nil)
	old := s.Position()
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	s.handle()
	slot := func(name string) string {
		return "(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '" + name + "')"
	}
	handled := pg.Value("SELECT " + slot(opt.Slot))
	testserver.Eventually(t, limit, "the second slot is moved", func() bool {
		pg.Exec("UPDATE todos SET version = version + 1")
		s.change()
		s.handle()
		return pg.Value("SELECT "+slot(opt.Slot+"_back")+" >= '"+handled+"'") == "t"
	})
	wantGap(t, f, old)
}

// The second slot follows although no stream lives as long as KeepFor: the position tells the
// next one what had been handled when. Seen to fail without that: each new leader read the
// log from its beginning, and was late by more each time.
func TestSecondSlotFollowsThroughManyStreams(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.KeepFor = 3 * time.Second
	f := newFeed(t, opt)
	s := open(t, f, nil)
	handled := ""
	testserver.Eventually(t, limit, "the second slot is moved", func() bool {
		for end := time.Now().Add(opt.KeepFor / 2); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1) ON CONFLICT (id) DO UPDATE SET version = todos.version + 1")
			s.change()
			s.handle()
		}
		if handled == "" {
			handled = pg.Value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '" + opt.Slot + "'")
		}
		p := s.Position()
		_ = s.Close()
		s = open(t, f, p)
		return pg.Value("SELECT confirmed_flush_lsn >= '"+handled+"' FROM pg_replication_slots WHERE slot_name = '"+opt.Slot+"_back'") == "t"
	})
}

func TestPositionsOfOthers(t *testing.T) {
	pg, other := server(t), ownServer(t)
	f := newFeed(t, options(pg))
	s := open(t, newFeed(t, options(other)), nil)
	_ = open(t, f, nil).Close()
	wantGap(t, f, s.Position())
	wantGap(t, f, driver.Position("nonsense"))
	wantGap(t, f, driver.Position{})
	if err := s.Handled(t.Context(), driver.Position("nonsense")); err == nil {
		t.Error("Handled of a position of nobody: no error")
	}
	// Not one of the server's: it would be accepted, commits swallowed.
	p := slices.Clone(open(t, f, nil).Position())
	p[13+3]++
	wantGap(t, f, p)
}

// A server that is killed and started again tells confirmed changes once more; the feed does
// not, and it misses none.
func TestKillAndRestart(t *testing.T) {
	pg := ownServer(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	p := s.handle()
	pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
	pg.Kill()
	if err := s.wantEnd(); errors.Is(err, driver.ErrGap) {
		t.Errorf("the end of the connection: %v", err)
	}
	pg.Start()
	pg.Exec("INSERT INTO todos VALUES ('c', 'x', 1)")
	s = open(t, f, p)
	s.want("b=1", "c=1")
	s.handle()
	s.wantQuiet()
}

// After a promotion the slots are missing, and the timeline is another one.
func TestPromotion(t *testing.T) {
	pg := ownServer(t)
	standby := pg.Standby()
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	p := s.handle()
	opt := options(standby)
	promoted := newFeed(t, opt)
	if _, err := tryOpen(t, promoted, p); !errors.Is(err, pgfeed.ErrSettings) || !strings.Contains(err.Error(), "standby") {
		t.Errorf("Open on a standby: %v", err)
	}
	standby.InStep(pg)
	pg.Kill()
	standby.Promote()
	wantGap(t, promoted, p)
	_ = open(t, promoted, nil)
	wantGap(t, promoted, p) // slots are there now: it is the timeline
}

// The log of a server that was restored from a backup is behind the position. Later it is
// ahead again, with other transactions.
func TestRestoredServer(t *testing.T) {
	pg := ownServer(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
	s.handle()
	_ = s.Close()
	pg.Snapshot()

	s = open(t, f, nil)
	for i := range 50 {
		pg.Exec(fmt.Sprintf("INSERT INTO todos VALUES ('lost%d', 'x', 1)", i))
	}
	s.changes(50)
	p := s.handle()
	_ = s.Close()
	pg.RestartFromSnapshot()
	wantGap(t, f, p)

	// Its log has grown past the position. Whatever the server thinks of it, what was
	// written since is not what the position stands for.
	testserver.Eventually(t, limit, "the log is past the position", func() bool {
		pg.Exec("INSERT INTO todos SELECT 'new' || gen_random_uuid(), 'x', 1 FROM generate_series(1, 200)")
		got, err := tryOpen(t, f, p)
		if err == nil {
			defer got.Close()
			err = stream{got, t}.wantEnd()
			if !errors.Is(err, driver.ErrGap) {
				t.Fatalf("Next: %v, want ErrGap", err)
			}
			return true
		}
		if !errors.Is(err, driver.ErrGap) {
			t.Fatalf("Open: %v", err)
		}
		return false
	})
}

func TestSlotDropped(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	f := newFeed(t, opt)
	s := open(t, f, nil)
	p := s.Position()
	_ = s.Close()
	drop := func(slot string) {
		testserver.Eventually(t, limit, slot+" is dropped", func() bool {
			return pg.Value("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name = '"+slot+"'") == "0"
		})
		pg.Exec("SELECT pg_drop_replication_slot('" + slot + "')")
	}
	// The second slot has it all.
	drop(opt.Slot)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s = open(t, f, p)
	s.want("a=1")
	// The first one alone is enough for what it has not confirmed.
	p = s.Position()
	_ = s.Close()
	drop(opt.Slot + "_back")
	pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
	s = open(t, f, p)
	s.want("b=1")
	if n := pg.Value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '" + opt.Slot + "_back'"); n != "1" {
		t.Error("the second slot was not made again")
	}
	_ = s.Close()
	drop(opt.Slot)
	drop(opt.Slot + "_back")
	wantGap(t, f, p)
	s = open(t, f, nil)
	wantGap(t, f, p) // it is older than the new slots
	_ = s
}

// The server gives a slot up that keeps more than max_slot_wal_keep_size.
func TestSlotInvalidated(t *testing.T) {
	pg := ownServer(t, "max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB")
	opt := options(pg)
	f := newFeed(t, opt)
	s := open(t, f, nil)
	p := s.Position()
	_ = s.Close()
	testserver.Eventually(t, limit, "the slots are lost", func() bool {
		pg.Exec("SELECT pg_switch_wal(); INSERT INTO todos VALUES (gen_random_uuid(), 'x', 1)")
		pg.Exec("SELECT pg_switch_wal(); CHECKPOINT")
		return pg.Value("SELECT bool_and(wal_status = 'lost') FROM pg_replication_slots") == "t"
	})
	if st, err := f.Status(t.Context()); err != nil || st.WALStatus != "lost" {
		t.Errorf("Status %+v, %v", st, err)
	}
	wantGap(t, f, p)
	s = open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	s.want("a=1")
}

func TestPublicationDropped(t *testing.T) {
	t.Run("while it is followed", func(t *testing.T) {
		pg := server(t)
		f := newFeed(t, options(pg))
		s := open(t, f, nil)
		pg.Exec("DROP PUBLICATION " + pg.Database() + "; INSERT INTO todos VALUES ('a', 'x', 1)")
		if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
			t.Errorf("Next: %v, want ErrGap", err)
		}
		s = open(t, f, nil)
		pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
		s.want("b=1")
	})
	t.Run("and made again meanwhile", func(t *testing.T) {
		pg := server(t)
		f := newFeed(t, options(pg))
		s := open(t, f, nil)
		p := s.Position()
		_ = s.Close()
		pub := pg.Database()
		pg.Exec("DROP PUBLICATION " + pub)
		wantGap(t, f, p)
		pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
		pg.Exec("CREATE PUBLICATION " + pub + " FOR TABLE todos (id, version) WITH (publish_via_partition_root = true)")
		wantGap(t, f, p)
		// The slot is of no use any more. The server says so late.
		s = open(t, f, nil)
		pg.Exec("INSERT INTO todos VALUES ('b', 'x', 1)")
		if err := s.wantEnd(); !errors.Is(err, driver.ErrGap) {
			t.Errorf("Next: %v, want ErrGap", err)
		}
		s = open(t, f, nil)
		pg.Exec("INSERT INTO todos VALUES ('c', 'x', 1)")
		s.want("c=1")
	})
}

// A leader that is stopped has the slot for ever. The next one ends its connection.
func TestTakesOverFromAStoppedConsumer(t *testing.T) {
	pg := server(t)
	proxy := testserver.Toxiproxy(t, pg.Addr())
	opt := options(pg)
	opt.URL = pg.URLVia(proxy.Addr())
	stopped := open(t, newFeed(t, opt), nil)
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	stopped.want("a=1")
	p := stopped.handle()
	proxy.Silence() // it neither reads nor writes
	pg.Exec("INSERT INTO todos SELECT 'n' || n, repeat('x', 1000), 1 FROM generate_series(1, 20000) n")
	next := open(t, newFeed(t, options(pg)), p)
	if n := len(next.changes(20_000)); n != 20_000 {
		t.Errorf("%d changes", n)
	}
}

// Two processes that both take themselves for the leader do not block each other for good.
func TestOpenEndsTheOtherStream(t *testing.T) {
	pg := server(t)
	a, b := newFeed(t, options(pg)), newFeed(t, options(pg))
	first := open(t, a, nil)
	second := open(t, b, first.Position())
	if err := first.wantEnd(); errors.Is(err, driver.ErrGap) {
		t.Errorf("the first stream: %v", err)
	}
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	second.want("a=1")
}

func TestTemporary(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.Temporary = true
	f := newFeed(t, opt)
	one, two := open(t, f, nil), open(t, f, nil) // each process has its own
	pg.Exec("INSERT INTO todos VALUES ('a', 'x', 1)")
	one.want("a=1")
	two.want("a=1")
	p := one.handle()
	wantGap(t, f, p)
	_, _ = one.Close(), two.Close()
	testserver.Eventually(t, limit, "the slots are gone", func() bool {
		return pg.Value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == "0"
	})
}

// Nothing of the feed is left.
func TestDrop(t *testing.T) {
	pg := server(t)
	f := newFeed(t, options(pg))
	s := open(t, f, nil)
	if err := f.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.wantEnd()
	for _, left := range []string{
		"SELECT count(*) FROM pg_replication_slots WHERE database = current_database()",
		"SELECT count(*) FROM pg_publication",
	} {
		if n := pg.Value(left); n != "0" {
			t.Errorf("%s: %s", left, n)
		}
	}
	if err := f.Drop(t.Context()); err != nil {
		t.Errorf("a second Drop: %v", err)
	}
}

// An old transaction that still runs does not keep a stream from beginning "now" if the slot
// is there; it does if the slot must be made.
func TestOpenWhileATransactionRuns(t *testing.T) {
	pg := server(t)
	opt := options(pg)
	opt.CreateTimeout = 500 * time.Millisecond
	f := newFeed(t, opt)
	tx := begin(t, pg)
	tx.exec("INSERT INTO todos VALUES ('long', 'x', 1)")
	if _, err := tryOpen(t, f, nil); err == nil || !strings.Contains(err.Error(), "pg_stat_activity") {
		t.Errorf("Open while a transaction runs: %v", err)
	}
	tx.exec("COMMIT")
	_ = open(t, f, nil).Close()

	tx.exec("BEGIN; INSERT INTO todos VALUES ('longer', 'x', 1)")
	pg.Exec("INSERT INTO todos VALUES ('before', 'x', 1)")
	s := open(t, f, nil)
	pg.Exec("INSERT INTO todos VALUES ('after', 'x', 1)")
	tx.exec("COMMIT")
	s.want("after=1", "longer=1")
}

// session is a connection with a transaction.
type session struct {
	t *testing.T
	c *pgconn.PgConn
}

func begin(t *testing.T, pg *testserver.PostgresServer) session {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	s := session{t, c}
	s.exec("BEGIN")
	return s
}

func (s session) exec(sql string) {
	s.t.Helper()
	if _, err := s.c.Exec(s.t.Context(), sql).ReadAll(); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}
