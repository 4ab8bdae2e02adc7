package pgfeed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/pgfeed"
)

type Order struct {
	ID   int64
	Paid bool
}

type Account struct {
	ID      int64
	Balance int64
}

var (
	ctx      = context.Background()
	conn     *pgx.Conn // or a *pgxpool.Pool
	db       *sql.DB   // with the driver of pgx, or another
	orders   *aside.Cache[int64, Order]
	accounts *aside.Cache[int64, Account]
)

// A violated constraint does not keep the key out of the cache.
func ExampleDefiniteError() {
	accounts, err := aside.New(aside.Options[int64, Account]{Name: "accounts", DefiniteError: pgfeed.DefiniteError})
	if err != nil {
		panic(err)
	}
	defer accounts.Close(ctx)
	err = accounts.Write(ctx, 7, func(context.Context, *aside.WriteTx[int64, Account]) error {
		return &pgconn.PgError{Severity: "ERROR", Code: "23514", Message: "balance would be negative"} // from the server
	})
	fmt.Println(err)
	fmt.Println("unknown outcomes:", accounts.Stats().WritesUnknown)
	// Output:
	// ERROR: balance would be negative (SQLSTATE 23514)
	// unknown outcomes: 0
}

// One statement of pgx that returns the record.
func ExampleDefiniteError_update() {
	deposit := func(ctx context.Context, id, amount int64) (Account, error) {
		return accounts.Update(ctx, id, func(ctx context.Context) (a Account, err error) {
			err = conn.QueryRow(ctx, "UPDATE accounts SET balance = balance + $2 WHERE id = $1 RETURNING id, balance", id, amount).
				Scan(&a.ID, &a.Balance)
			if errors.Is(err, pgx.ErrNoRows) {
				return a, aside.ErrNotFound
			}
			return a, err
		})
	}
	_ = deposit
}

// A transaction of database/sql.
func ExampleDefiniteError_databaseSQL() {
	deposit := func(ctx context.Context, id, amount int64) (Account, error) {
		return accounts.Update(ctx, id, func(ctx context.Context) (a Account, err error) {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return a, err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, "INSERT INTO deposits (account, amount) VALUES ($1, $2)", id, amount); err != nil {
				return a, err
			}
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
	_ = deposit
}

// A row whose serial ID is known only after the insert.
func ExampleDefiniteError_serialID() {
	add := func(ctx context.Context) (int64, Order, error) {
		return orders.Create(ctx, func(ctx context.Context, w *aside.WriteTx[int64, Order]) (id int64, o Order, err error) {
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if err := tx.QueryRow(ctx, "INSERT INTO orders DEFAULT VALUES RETURNING id, paid").Scan(&o.ID, &o.Paid); err != nil {
					return err
				}
				return w.Fence(o.ID) // before the commit
			})
			return o.ID, o, err
		})
	}
	_ = add
}

// Records of two caches in one transaction of pgx.
func ExampleDefiniteError_twoCaches() {
	pay := func(ctx context.Context, order, account, amount int64) error {
		o, a := orders.Part(order), accounts.Part(account)
		return aside.WriteTogether(ctx, []aside.WritePart{o, a}, func(ctx context.Context) error {
			var paid Order
			var charged Account
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				err := tx.QueryRow(ctx, "UPDATE orders SET paid = true WHERE id = $1 RETURNING id, paid", order).
					Scan(&paid.ID, &paid.Paid)
				if err != nil {
					return err
				}
				return tx.QueryRow(ctx, "UPDATE accounts SET balance = balance - $2 WHERE id = $1 RETURNING id, balance", account, amount).
					Scan(&charged.ID, &charged.Balance)
			})
			if err != nil {
				return err
			}
			o.Publish(order, paid)
			a.Publish(account, charged)
			return nil
		})
	}
	_ = pay
}
