package pgfeed

import (
	"context"
	"database/sql"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DefiniteError is for Options.DefiniteError of a cache of which PostgreSQL is the
// primary. It reports whether err says for certain that PostgreSQL has not applied the
// statement or the transaction and will not do so later: a violated constraint, a lost
// race (serialization failure, deadlock), a statement that was refused or cancelled by the
// server, no rows, a commit that became a rollback, a connection that could not be made.
//
// It is false for everything else: a timeout, a lost connection, a server that shuts
// down, an error of a pooler about its connection. It is also false if err has such an
// error beside one of the above, as errors.Join(err, tx.Rollback(ctx)) may have.
//
// It knows the errors of pgx, with and without database/sql, and, by their SQLSTATE,
// those of other drivers for database/sql such as lib/pq.
func DefiniteError(err error) bool {
	definite, doubtful := judge(err)
	return definite && !doubtful
}

func judge(err error) (definite, doubtful bool) {
	switch e := err.(type) {
	case nil:
		return false, false
	case *pgconn.PgError:
		definite = refused(e)
		return definite, !definite
	case *pgconn.ConnectError: // whatever it was, no statement was sent
		return true, false
	case interface{ SafeToRetry() bool }:
		return e.SafeToRetry(), !e.SafeToRetry()
	case interface{ SQLState() string }:
		definite = refusedCode(e.SQLState())
		return definite, !definite
	}
	switch err {
	case sql.ErrNoRows, pgx.ErrTxCommitRollback:
		return true, false
	case context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, sql.ErrConnDone, sql.ErrTxDone, pgx.ErrTxClosed, pgx.ErrTooManyRows:
		return false, true
	}
	if _, ok := err.(net.Error); ok {
		return false, true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return judge(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			yes, doubt := judge(one)
			definite, doubtful = definite || yes, doubtful || doubt
		}
	}
	return definite, doubtful
}

// refused reports whether a reply of the server means that it did not apply the
// statement. After FATAL the connection ends: the commit may be on the disk already.
func refused(reply *pgconn.PgError) bool {
	severity := reply.SeverityUnlocalized
	if severity == "" { // from a pooler, which does not translate it
		severity = reply.Severity
	}
	if severity != "ERROR" || reply.Code == codeUncertain {
		return false
	}
	// Of class 08, poolers have errors about their connection to the server. After
	// those of the other two the server does not know itself what it has done.
	return !inClass(reply.Code, "08", "58", "XX")
}

// refusedCode is refused for an error without a severity: of the codes for which it
// cannot be FATAL.
func refusedCode(code string) bool {
	return code != codeUncertain && inClass(code, "21", "22", "23", "27", "40", "42", "44")
}

const codeUncertain = "40003" // statement completion unknown

func inClass(code string, classes ...string) bool {
	for _, class := range classes {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}
