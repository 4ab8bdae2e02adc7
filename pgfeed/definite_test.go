package pgfeed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/pgfeed"
)

// sqlState is an error of another driver.
type sqlState string

func (e sqlState) Error() string    { return "SQLSTATE " + string(e) }
func (e sqlState) SQLState() string { return string(e) }

type retry bool

func (e retry) Error() string     { return "connection" }
func (e retry) SafeToRetry() bool { return bool(e) }

func reply(severity, code string) error {
	return &pgconn.PgError{Severity: severity, SeverityUnlocalized: severity, Code: code}
}

// Caught: an error of a pooler about its lost connection, and a refusal joined with a
// lost connection, were definite.
func TestDefiniteError(t *testing.T) {
	unique := reply("ERROR", "23505")
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("something"), false},
		{unique, true},
		{fmt.Errorf("insert: %w", unique), true},
		{fmt.Errorf("%w: %w", errors.New("conflict"), unique), true},
		{reply("ERROR", "40001"), true}, // serialization failure
		{reply("ERROR", "40P01"), true}, // deadlock
		{reply("ERROR", "42P01"), true}, // no table
		{reply("ERROR", "25006"), true}, // read-only
		{reply("ERROR", "57014"), true}, // cancelled
		{reply("ERROR", "53100"), true}, // disk full
		{reply("ERROR", "P0001"), true}, // RAISE
		{reply("ERROR", "40003"), false},
		{reply("ERROR", "08007"), false},
		{reply("ERROR", "08P01"), false}, // PgBouncer: server conn crashed?
		{reply("ERROR", "XX000"), false},
		{reply("ERROR", "58030"), false},
		{reply("FATAL", "57P01"), false},
		{reply("FATAL", "23505"), false},
		{reply("PANIC", "53100"), false},
		{&pgconn.PgError{Severity: "ERROR", Code: "23505"}, true},
		{pgx.ErrNoRows, true},
		{sql.ErrNoRows, true},
		{fmt.Errorf("%w: %w", aside.ErrNotFound, pgx.ErrNoRows), true},
		{pgx.ErrTxCommitRollback, true},
		{retry(true), true},
		{retry(false), false},
		{context.DeadlineExceeded, false},
		{io.ErrUnexpectedEOF, false},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, false},
		{sql.ErrTxDone, false},
		{errors.Join(unique, nil), true},
		{errors.Join(unique, pgx.ErrTxClosed), false},
		{errors.Join(unique, context.Canceled), false},
		{errors.Join(context.DeadlineExceeded, retry(true)), false}, // the commit, and then the rollback
		{errors.Join(retry(true), fmt.Errorf("commit: %w", io.EOF)), false},
		{sqlState("23505"), true},
		{sqlState("40001"), true},
		{sqlState("40003"), false},
		{sqlState("57P01"), false},
		{sqlState("08006"), false},
		{sqlState("25P03"), false},
	} {
		if got := pgfeed.DefiniteError(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
