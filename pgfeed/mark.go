package pgfeed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/asidecache/aside/driver"
)

const markPrefix = "aside"

// MarkStatement is the statement that Mark executes. Its parameter is the token as bytes
// (bytea). Put it into a pgx.Batch to spare a round trip, or execute it with
// database/sql.
const MarkStatement = "SELECT pg_logical_emit_message(true, '" + markPrefix + "', $1::bytea)"

// Execer is a transaction of pgx, or what else can execute a statement in one.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Mark marks the transaction tx as the work of one write through a cache, of which token
// is aside.WriteTx.Token. The feed then knows the transaction's changes as own ones, and
// does not drop what the write has just published.
//
// Call it anywhere between the begin and the commit of the transaction, but not within a
// savepoint: a mark that is rolled back is none. A transaction with two different tokens
// counts as not marked.
func Mark(ctx context.Context, tx Execer, token driver.Token) error {
	if _, err := tx.Exec(ctx, MarkStatement, token[:]); err != nil {
		return fmt.Errorf("pgfeed: mark a transaction: %w", err)
	}
	return nil
}
