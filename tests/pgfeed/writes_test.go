package pgfeed_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/pgfeed"
	"github.com/asidecache/aside/tests/testserver"
)

// account is a record with a serial ID.
type account struct{ ID, Balance int64 }

// bank is a cache of the accounts in a database, on two nodes.
type bank struct {
	t     *testing.T
	pg    *testserver.PostgresServer
	nodes [2]*aside.Cache[int64, account]
	audit *aside.Cache[string, int64] // of another type, on the first node
	loads atomic.Int64
}

const bankTables = `
	CREATE TABLE accounts (id bigserial PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0));
	CREATE TABLE parents (id bigint PRIMARY KEY);
	CREATE TABLE children (parent bigint REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
	CREATE TABLE totals (name text PRIMARY KEY, n bigint NOT NULL);
	INSERT INTO totals VALUES ('all', 0);`

func newBank(t *testing.T) *bank {
	t.Helper()
	b := &bank{t: t, pg: testserver.Postgres(t)}
	b.pg.Exec(bankTables)
	server := &asidetest.Server{}
	quiet := slog.New(slog.DiscardHandler)
	for i := range b.nodes {
		l2 := server.NewClient()
		c, err := aside.New(aside.Options[int64, account]{
			Name: "accounts", L2: l2, L2Timeout: time.Minute, DefiniteError: pgfeed.DefiniteError, Logger: quiet,
			Loader: aside.LoaderFunc[int64, account](func(ctx context.Context, id int64) (account, error) {
				b.loads.Add(1)
				db := b.pg.Conn()
				a := account{ID: id}
				err := db.QueryRow(ctx, "SELECT balance FROM accounts WHERE id = $1", id).Scan(&a.Balance)
				if errors.Is(err, pgx.ErrNoRows) {
					err = aside.ErrNotFound
				}
				return a, err
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.nodes[i] = c
		t.Cleanup(func() { _ = c.Close(context.Background()) })
	}
	c, err := aside.New(aside.Options[string, int64]{Name: "totals", L2: server.NewClient(), L2Timeout: time.Minute, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	b.audit = c
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return b
}

// want reads strongly on both nodes.
func (b *bank) want(id, balance int64) {
	b.t.Helper()
	for i, c := range b.nodes {
		if r, err := c.Read(b.t.Context(), id, nil, aside.Strong); err != nil || r.Value.Balance != balance {
			b.t.Errorf("node %d has account %d with %d, %v; want %d", i, id, r.Value.Balance, err, balance)
		}
	}
}

// deposit is the recipe for a transaction of database/sql.
func (b *bank) deposit(db *sql.DB, id, amount int64) (account, error) {
	return b.nodes[0].Update(b.t.Context(), id, func(ctx context.Context) (a account, err error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return a, err
		}
		defer tx.Rollback()
		err = tx.QueryRowContext(ctx, "UPDATE accounts SET balance = balance + $2 WHERE id = $1 RETURNING id, balance", id, amount).
			Scan(&a.ID, &a.Balance)
		if errors.Is(err, sql.ErrNoRows) {
			return a, aside.ErrNotFound
		} else if err != nil {
			return a, err
		}
		return a, tx.Commit()
	})
}

// The recipes, run: a serial ID that was asked for before, updates by pgx and by
// database/sql, a refusal, two caches in one transaction.
// Caught: without WriteTx.Fence or an invalidation the second node did not find the account.
func TestWriteRecipes(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	ctx, conn := t.Context(), b.pg.Conn()
	for _, c := range b.nodes { // the ID that comes next
		if _, err := c.Get(ctx, 1); !errors.Is(err, aside.ErrNotFound) {
			t.Fatal(err)
		}
	}
	id, a, err := b.nodes[0].Create(ctx, func(ctx context.Context, w *aside.WriteTx[int64, account]) (int64, account, error) {
		var a account
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, "INSERT INTO accounts (balance) VALUES (100) RETURNING id, balance").Scan(&a.ID, &a.Balance); err != nil {
				return err
			}
			return w.Fence(a.ID)
		})
		return a.ID, a, err
	})
	if err != nil || id != 1 || a.Balance != 100 {
		t.Fatalf("%d, %v, %v", id, a, err)
	}
	loads := b.loads.Load()
	b.want(1, 100)
	if b.loads.Load() != loads {
		t.Errorf("%d loads of a record that was published", b.loads.Load()-loads)
	}

	db, err := sql.Open("pgx", b.pg.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if a, err := b.deposit(db, 1, 20); err != nil || a.Balance != 120 {
		t.Errorf("%v, %v", a, err)
	}
	b.want(1, 120)
	if _, err := b.deposit(db, 1, -200); err == nil || !pgfeed.DefiniteError(err) {
		t.Errorf("a violated constraint: %v", err)
	}
	if _, err := b.deposit(db, 99, 1); !errors.Is(err, aside.ErrNotFound) {
		t.Errorf("no such account: %v", err)
	}
	b.want(1, 120)

	one, all := b.nodes[0].Part(1), b.audit.Part("all")
	err = aside.WriteTogether(ctx, []aside.WritePart{one, all}, func(ctx context.Context) error {
		var n int64
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := tx.QueryRow(ctx, "UPDATE accounts SET balance = 7 WHERE id = 1 RETURNING id, balance").Scan(&a.ID, &a.Balance); err != nil {
				return err
			}
			return tx.QueryRow(ctx, "UPDATE totals SET n = n + 1 WHERE name = 'all' RETURNING n").Scan(&n)
		})
		if err != nil {
			return err
		}
		one.Publish(1, a)
		all.Publish("all", n)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	b.want(1, 7)
	none := aside.LoaderFunc[string, int64](func(context.Context, string) (int64, error) { return 0, errors.New("loaded") })
	if n, err := b.audit.Get(ctx, "all", none); err != nil || n != 1 {
		t.Errorf("the other cache has %d, %v", n, err)
	}
	if n := b.nodes[0].Stats().WritesUnknown; n != 0 {
		t.Errorf("%d writes of unknown outcome", n)
	}
}

// Two transactions that lock two rows in opposite order: PostgreSQL ends one of them.
// The caches do not block, and the error is definite, so nothing stays fenced.
func TestWriteTogetherAndADeadlockOfTheDatabase(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.pg.Exec("INSERT INTO accounts (balance) VALUES (1), (1)")
	g := testsync.NewGate(t)
	write := func(c *aside.Cache[int64, account], first, second int64) <-chan error {
		conn := b.pg.Conn()
		return testsync.Async(func() error {
			return aside.WriteTogether(context.Background(), []aside.WritePart{c.Part(first), c.Part(second)}, func(ctx context.Context) error {
				return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
					const add = "UPDATE accounts SET balance = balance + 1 WHERE id = $1"
					if _, err := tx.Exec(ctx, add, first); err != nil {
						return err
					}
					g.Pass("first row")
					_, err := tx.Exec(ctx, add, second)
					return err
				})
			})
		})
	}
	one, two := write(b.nodes[0], 1, 2), write(b.nodes[1], 2, 1)
	testsync.Await(t, "the first row of one", g.Arrived)
	testsync.Await(t, "the first row of both", g.Arrived)
	g.Open()
	failed := 0
	for _, w := range []<-chan error{one, two} {
		if err := testsync.Await(t, "a write", w); err != nil {
			failed++
			if !pgfeed.DefiniteError(err) {
				t.Errorf("not definite: %v", err)
			}
		}
	}
	if failed != 1 {
		t.Errorf("%d of two writes failed", failed)
	}
	b.want(1, 2)
	b.want(2, 2)
	for _, id := range []int64{1, 2} {
		if r, err := b.nodes[0].Read(t.Context(), id, nil, aside.Default); err != nil || r.Miss == aside.MissFenced {
			t.Errorf("account %d stays fenced: %v, %v", id, r.Miss, err)
		}
	}
}

// What PostgreSQL and the driver really answer.
func TestDefiniteErrorsOfPostgres(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	ctx := t.Context()
	b.pg.Exec("INSERT INTO accounts (balance) VALUES (1)")
	check := func(what string, err error, want bool) {
		t.Helper()
		if err == nil || pgfeed.DefiniteError(err) != want {
			t.Errorf("%s: definite is %v: %v", what, !want, err)
		}
	}
	exec := func(sql string) error { _, err := b.pg.Conn().Exec(ctx, sql); return err }
	check("unique", exec("INSERT INTO accounts VALUES (1, 1)"), true)
	check("statement timeout", exec("SET statement_timeout = 1; SELECT pg_sleep(60)"), true)
	check("read only", exec("SET default_transaction_read_only = on; COMMIT; UPDATE accounts SET balance = 2"), true)
	check("a constraint that is checked by the commit", pgx.BeginFunc(ctx, b.pg.Conn(), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO children VALUES (1)")
		return err
	}), true)
	check("the commit of a failed transaction", pgx.BeginFunc(ctx, b.pg.Conn(), func(tx pgx.Tx) error {
		_, _ = tx.Exec(ctx, "INSERT INTO accounts VALUES (1, 1)")
		return nil
	}), true)
	serial := func() error {
		other := b.pg.Conn()
		return pgx.BeginTxFunc(ctx, b.pg.Conn(), pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT FROM accounts"); err != nil {
				return err
			}
			if _, err := other.Exec(ctx, "UPDATE accounts SET balance = balance + 1"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE accounts SET balance = balance + 1")
			return err
		})
	}
	check("serialization", serial(), true)
	check("the connection was ended", exec("SELECT pg_terminate_backend(pg_backend_pid())"), false)
	short, cancel := context.WithCancel(ctx)
	conn := b.pg.Conn()
	cancel()
	_, err := conn.Exec(short, "UPDATE accounts SET balance = 3") // nothing was sent
	check("ended before", err, true)
	_, err = pgx.Connect(ctx, "postgres://nobody:x@"+b.pg.Addr()+"/nowhere")
	check("no connection", err, true)
}
