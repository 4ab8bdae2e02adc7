package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// write runs a call that changes something in one transaction. Its error tells whether the
// change may have been made. The call is repeated only after errors that say that it was
// not.
func (s *Store) write(ctx context.Context, do call) error {
	if err := ctx.Err(); err != nil {
		return unavailable(ctx, err)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for n := 1; ; n++ {
		err := s.try(ctx, confirmed(do))
		if err == nil || isDomain(err) {
			return err
		}
		err = s.outcome(ctx, err)
		if n == maxAttempts || ctx.Err() != nil || !errors.Is(err, todo.ErrUnavailable) || !mayPass(err) || !pause.BeforeRetry(ctx, n) {
			return err
		}
	}
}

// outcome tells what the error of a change says about it.
func (s *Store) outcome(ctx context.Context, err error) error {
	reply := replyOf(err)
	var unsent notSent
	switch {
	case errors.As(err, &unsent), isSafe(err):
		return unavailable(ctx, err)
	case errors.Is(err, errUnsynced) || !isRefusal(err):
		return fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, withContext(ctx, told(err)))
	case isInvalid(reply):
		return fmt.Errorf("%w: PostgreSQL refused the record: %w", todo.ErrInvalid, told(err))
	}
	return unavailable(ctx, err)
}

// writeOver runs one statement. use gets its result. The server ends the statement before
// the deadline of ctx: it must not wait for a lock, and change the record, long after the
// caller has given up.
func (s *Store) writeOver(sql string, args []any, use func(pgx.BatchResults) error) call {
	return func(ctx context.Context, c *pgxpool.Conn) (err error) {
		var batch pgx.Batch
		deadline, _ := ctx.Deadline()
		batch.Queue("SELECT set_config('statement_timeout', $1, true)", serverTime(time.Until(deadline)))
		batch.Queue(sql, args...)
		results := c.SendBatch(ctx, &batch)
		if _, err = results.Exec(); err == nil {
			err = use(results)
		}
		// The commit is the last thing that the server answers.
		if closeErr := results.Close(); closeErr != nil && (err == nil || errors.Is(err, pgx.ErrNoRows)) {
			err = closeErr
		}
		return err
	}
}

// confirmed runs a call, and fails if the server says that it did not wait until the
// synchronous standby had the commit.
func confirmed(do call) call {
	return func(ctx context.Context, c *pgxpool.Conn) error {
		data := c.Conn().PgConn().CustomData()
		delete(data, unsynced)
		if err := do(ctx, c); err != nil {
			return err
		}
		if data[unsynced] != nil {
			return errUnsynced
		}
		return nil
	}
}

// serverLead is how much earlier than the caller the server gives up, at most.
const serverLead = 250 * time.Millisecond

// serverTime is the statement_timeout for a caller who waits for d: a little less, so that
// the caller hears of it.
func serverTime(d time.Duration) string {
	d -= min(d/10, serverLead)
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10) // 0 would be no limit
}

// affected calls the statement and reports whether it changed a row.
func affected(changed *bool) func(pgx.BatchResults) error {
	return func(r pgx.BatchResults) error {
		tag, err := r.Exec()
		*changed = tag.RowsAffected() > 0
		return err
	}
}

// Insert adds a record, or returns todo.ErrExists.
func (s *Store) Insert(ctx context.Context, t todo.Todo) error {
	if err := t.Check(); err != nil {
		return err
	}
	var inserted bool
	err := s.write(ctx, s.writeOver(s.sql.insert, values(t), affected(&inserted)))
	if err == nil && !inserted {
		return todo.ErrExists
	}
	return err
}

// Update replaces the record by change(current). It reads the row, and writes if the row
// is still unchanged. Otherwise it starts again. change may run several times. If it does
// not raise the version, the trigger of the table does, and the result has that version.
func (s *Store) Update(ctx context.Context, id string, change func(current todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	for try := 0; ; try++ {
		x, err := s.find(ctx, s.sql.find, id, true)
		if err != nil {
			return todo.Todo{}, err
		}
		next, err := todo.Apply(id, x.todo, change)
		if err != nil {
			return todo.Todo{}, err
		}
		sql, args := s.updateOf(x, next)
		var stored bool
		err = s.write(ctx, s.writeOver(sql, args, func(r pgx.BatchResults) error {
			var updated pgtype.Timestamptz
			var version *int64
			err := r.QueryRow().Scan(&updated, &version)
			if stored = err == nil; stored {
				next.UpdatedAt = decodeTime(updated)
				if version != nil {
					next.Version = max(*version, 0)
				}
			}
			if errors.Is(err, pgx.ErrNoRows) {
				return nil
			}
			return err
		}))
		if err != nil {
			return todo.Todo{}, err
		}
		if stored {
			return next, nil
		}
		if !pause.BehindOthers(ctx, try) {
			return todo.Todo{}, unavailable(ctx, todo.ErrOvertaken)
		}
	}
}

// updateOf returns the statement that changes a row into next if nobody else has changed
// it. It does not touch columns whose shown value does not change: the stored value may be
// one that cannot be shown, and must not be lost when another one changes.
func (s *Store) updateOf(x row, next todo.Todo) (sql string, args []any) {
	var set strings.Builder
	set.WriteString(s.sql.update)
	args = []any{next.ID, x.xmin, next.Version}
	set.WriteString("version = $3")
	add := func(column string, value any) {
		args = append(args, value)
		fmt.Fprintf(&set, ", %s = $%d", column, len(args))
	}
	if next.Name != x.todo.Name {
		add("name", encodeText(next.Name))
	}
	if a, b := next.Description, x.todo.Description; (a == nil) != (b == nil) || a != nil && *a != *b {
		add("description", encodeDescription(a))
	}
	if next.Completed != x.todo.Completed {
		add("completed", next.Completed)
	}
	if !next.CreatedAt.Equal(x.todo.CreatedAt) {
		add("created_at", encodeTime(next.CreatedAt))
	}
	if !next.UpdatedAt.Equal(x.todo.UpdatedAt) {
		add("updated_at", encodeTime(next.UpdatedAt))
	}
	set.WriteString(" WHERE id = $1 AND xmin = $2 RETURNING updated_at, version")
	return set.String(), args
}

// Delete removes the record if check(current) returns nil. check may run several times.
func (s *Store) Delete(ctx context.Context, id string, check func(current todo.Todo) error) error {
	for try := 0; ; try++ {
		x, err := s.find(ctx, s.sql.find, id, true)
		if err != nil {
			return err
		}
		if err := check(x.todo); err != nil {
			return err
		}
		var deleted bool
		err = s.write(ctx, s.writeOver(s.sql.delete, []any{id, x.xmin}, affected(&deleted)))
		if err != nil || deleted {
			return err
		}
		if !pause.BehindOthers(ctx, try) {
			return unavailable(ctx, todo.ErrOvertaken)
		}
	}
}
