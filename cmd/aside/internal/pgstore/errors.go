package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// SQLSTATE codes. https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeNotSupported    = "0A000"
	codeUnique          = "23505"
	codeReadOnly        = "25006"
	codeUncertain       = "40003" // statement completion unknown
	codeNoStatement     = "26000"
	codeWrongPassword   = "28P01"
	codeNoDatabase      = "3D000"
	codeNoSchema        = "3F000"
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeNotPermitted    = "42501"
	codeNoTable         = "42P01"
	codeNoMoreClients   = "53300"
	codeTooComplex      = "54000"
	codeCancelled       = "57014"
	codeRaised          = "P0001"
	classConnection     = "08"
	classData           = "22"
	classConstraint     = "23"
	classAuthentication = "28"
	classIntervention   = "57P" // the server is shutting down or starting, or ended the connection
)

// hints tell what to do about an error of the server.
var hints = map[string]string{
	codeNoDatabase:    "create the database, or correct its name in the URL",
	codeNoMoreClients: "raise max_connections of the server, or give each node fewer connections with pool_max_conns in the URL",
	codeReadOnly:      "the database or the role is set to default_transaction_read_only",
	codeNoTable:       "restore the table, or restart aside to create it",
	codeNotPermitted:  "the role needs SELECT, INSERT, UPDATE and DELETE on the table",
}

// maxAttempts is how often a call is tried at most: enough for a broken connection
// followed by a server that is just starting.
const maxAttempts = 3

// call is a call of the store over a connection.
type call func(ctx context.Context, c *pgxpool.Conn) error

// read runs a call that changes nothing. It may run the call several times.
func (s *Store) read(ctx context.Context, do call) error {
	return s.run(ctx, maxAttempts, do)
}

// once is like read, but runs the call only once.
func (s *Store) once(ctx context.Context, do call) error {
	return s.run(ctx, 1, do)
}

func (s *Store) run(ctx context.Context, attempts int, do call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for n := 1; ; n++ {
		err := s.try(ctx, do)
		if err == nil || isDomain(err) {
			return err
		}
		if n >= attempts || ctx.Err() != nil || !mayPass(err) || !pause.BeforeRetry(ctx, n) {
			return unavailable(ctx, err)
		}
	}
}

// notSent is the error of a call that sent nothing.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// try runs a call over a connection of the pool, once the table is there.
func (s *Store) try(ctx context.Context, do call) error {
	if err := s.ready(ctx); err != nil {
		return notSent{err}
	}
	return s.over(ctx, do)
}

// over runs a call over a connection of the pool.
func (s *Store) over(ctx context.Context, do call) error {
	c, release, err := s.acquire(ctx)
	if err != nil {
		return notSent{err}
	}
	defer release()
	return do(ctx, c)
}

// fullTime is how long the pool goes without a connection that the server has refused.
const fullTime = time.Second

// acquire returns a connection of the pool. If the server accepts no more, it waits for
// one that the pool has: the pool would hand the refusal to the caller. Each refusal takes
// a slot away for a while, so that the callers share what there is, and do not besiege a
// server that is full.
func (s *Store) acquire(ctx context.Context) (c *pgxpool.Conn, release func(), err error) {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		free := func() { <-s.slots }
		if s.closed.Load() {
			free()
			return nil, nil, errClosed
		}
		c, err := s.pool.Acquire(ctx)
		if err == nil {
			return c, func() { c.Release(); free() }, nil
		}
		if !hasCode(err, codeNoMoreClients) {
			free()
			return nil, nil, err
		}
		time.AfterFunc(fullTime, free)
		if stat := s.pool.Stat(); stat.AcquiredConns()+stat.IdleConns() == 0 {
			return nil, nil, err
		}
	}
}

var errClosed = errors.New("the store is closed")

// bounded adds a deadline to a context without one, and ends it when Close aborts the
// running calls.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	var cancel context.CancelFunc
	if _, ok := ctx.Deadline(); ok {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
	}
	stop := context.AfterFunc(s.aborted, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// mayPass reports whether an error may be temporary, so that the call may be repeated if
// that does no harm.
func mayPass(err error) bool {
	if errors.Is(err, errClosed) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var fault *schemaError
	if errors.As(err, &fault) {
		return false
	}
	reply := replyOf(err)
	if reply == nil {
		return true // the connection
	}
	switch reply.Code {
	case codeNoMoreClients, codeSerialization, codeDeadlock:
		return true
	}
	return isStale(reply) || strings.HasPrefix(reply.Code, classConnection) || strings.HasPrefix(reply.Code, classIntervention)
}

// isStale reports whether the statement was prepared before somebody changed the table,
// or over another connection of a pooler. The driver prepares it again.
func isStale(reply *pgconn.PgError) bool {
	return reply.Code == codeNoStatement || reply.Code == codeNotSupported && reply.Routine == "RevalidateCachedQuery"
}

// replyOf returns the error that the server sent, or nil.
func replyOf(err error) *pgconn.PgError {
	var reply *pgconn.PgError
	if errors.As(err, &reply) {
		return reply
	}
	return nil
}

func hasCode(err error, codes ...string) bool {
	reply := replyOf(err)
	return reply != nil && slices.Contains(codes, reply.Code)
}

// isRefusal reports whether the server replied that it did not apply the statement. A
// FATAL error says that the connection ends: the commit may be on the disk already. So
// does an error about a connection, which is that of a pooler to its server.
func isRefusal(err error) bool {
	reply := replyOf(err)
	if reply == nil || strings.HasPrefix(reply.Code, classConnection) || reply.Code == codeUncertain {
		return false
	}
	severity := reply.SeverityUnlocalized
	if severity == "" { // a server or pooler older than PostgreSQL 9.6
		severity = reply.Severity
	}
	return severity == "ERROR"
}

// isSafe reports whether the driver knows that nothing reached the server.
func isSafe(err error) bool { return pgconn.SafeToRetry(err) }

// isInvalid reports whether the server refused the record for what it contains.
func isInvalid(reply *pgconn.PgError) bool {
	return strings.HasPrefix(reply.Code, classData) || strings.HasPrefix(reply.Code, classConstraint) ||
		reply.Code == codeTooComplex || reply.Code == codeRaised
}

func isDomain(err error) bool {
	return errors.Is(err, todo.ErrNotFound) || errors.Is(err, todo.ErrExists) || errors.Is(err, todo.ErrInvalid) || errors.Is(err, todo.ErrNoIdentity)
}

func unavailable(ctx context.Context, err error) error {
	return fmt.Errorf("%w: %w", todo.ErrUnavailable, withContext(ctx, told(err)))
}

// withContext adds the context's error if the driver's error does not contain it, for
// example because the server reached the deadline first.
func withContext(ctx context.Context, err error) error {
	cause := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && cause == nil && hasCode(err, codeCancelled) && time.Until(deadline) <= serverLead {
		cause = context.DeadlineExceeded // the server ends a write a little earlier, see writeOver
	}
	if cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// toldError is an error whose text is one line and tells what to do.
type toldError struct {
	error
	text string
}

func (e toldError) Error() string { return e.text }
func (e toldError) Unwrap() error { return e.error }

var lines = strings.NewReplacer("\n\t", " ", "\n", " ", "\t", " ")

func told(err error) error {
	text := lines.Replace(err.Error())
	hint := ""
	if reply := replyOf(err); reply != nil {
		hint = hints[reply.Code]
	}
	if errors.Is(err, pgconn.ErrStandbyConnection) {
		hint = "the cache must read from the primary: give its address, or those of all servers as in postgres://db1,db2/name"
	}
	if hint != "" {
		text += "; " + hint
	}
	return toldError{err, text}
}
