// Package pgstore stores todos in PostgreSQL.
//
// A record is a row of the table todos, which Open makes, or which an operator makes with
// the statements of Schema. Other programs may write to it. A trigger raises the version
// with every update that changes a row and does not raise the version itself, and then
// moves updated_at too. So UPDATE todos SET name = 'x' WHERE id = '1' in psql is a change
// that versions tell. No update can lower a version.
//
// A row is a todo if todo.CheckID accepts its id. Other rows are never returned. NULL in a
// column is read as the zero value. A date that cannot be shown, such as infinity, is
// omitted, and stays in the table until it is changed.
//
// PostgreSQL's text cannot contain U+0000, which names and descriptions may contain. It is
// stored as U+FDD0 and "0", and U+FDD0 as itself twice.
package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Options of a Store. The zero value works. The URL takes precedence over the options
// (pool_max_conns, connect_timeout, application_name). Its target_session_attrs may be
// primary or read-write. Another value is ignored: all calls go to the primary.
type Options struct {
	Table   string // default "todos"; found by the search_path
	AppName string // shown in pg_stat_activity; default "aside"

	// MaxConns is the maximum number of connections. Default 30: PostgreSQL accepts 100
	// from all its clients by default.
	MaxConns int32

	// ConnectTimeout is the timeout for opening a connection to one host. Default 2 s.
	ConnectTimeout time.Duration
	// OperationTimeout is the timeout of a call whose context has no deadline. Default
	// 10 s.
	OperationTimeout time.Duration

	// Logger gets messages about the table; nil means slog.Default().
	Logger *slog.Logger

	// Existing leaves the schema as it is. Without the table, calls fail with
	// todo.ErrNotFound, and the error names the table.
	Existing bool

	noPing bool // for tests: take every idle connection for alive
}

const (
	// closeTimeout is how long Close waits for running calls before it aborts them.
	closeTimeout = 5 * time.Second
	// pingTimeout is how long an idle connection may take to show that it is alive.
	pingTimeout = time.Second
	// idleTime is how long an idle connection stays open.
	idleTime = 5 * time.Minute
)

// Store is a todo.Store in PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	slots   chan struct{} // one for each connection that the pool may have, see acquire
	log     *slog.Logger
	timeout time.Duration
	config  *pgconn.Config
	name    string // of the table
	table   string // quoted
	sql     statements
	schema  schema
	mixed   mixed

	closed  atomic.Bool
	aborted context.Context // ends the running calls
	abort   context.CancelFunc
	stop    context.CancelFunc // of the goroutine that makes the table
	wg      sync.WaitGroup
	close   func() // once
}

var _ todo.Store = (*Store)(nil)

// Open returns a Store for a postgres:// URL. It does not wait for the server: while the
// server is down, calls fail with todo.ErrUnavailable. Open fails only if the URL is
// invalid. The error never contains a password.
//
// The table is made when the server first answers, see Schema. Until then calls wait for
// it, and fail with todo.ErrUnavailable if it cannot be made. ctx is used only during the
// call.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	log := opts.Logger
	if log == nil {
		log = slog.Default()
	}
	config, err := configOf(url, opts, log)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	// The pool keeps the context for its background work.
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", explain(url, err))
	}
	s := &Store{
		pool:    pool,
		slots:   make(chan struct{}, config.MaxConns),
		log:     log,
		timeout: cmp.Or(opts.OperationTimeout, 10*time.Second),
		config:  &config.ConnConfig.Config,
		name:    cmp.Or(opts.Table, "todos"),
	}
	s.table = pgx.Identifier{s.name}.Sanitize()
	s.sql = statementsFor(s.table)
	s.schema.turn = make(chan struct{}, 1)
	s.schema.existing = opts.Existing
	s.aborted, s.abort = context.WithCancel(context.WithoutCancel(ctx))
	s.close = sync.OnceFunc(s.disconnect)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	if !opts.Existing {
		s.wg.Go(func() { s.makeSchema(background) })
	}
	return s, nil
}

// Ping reports whether the primary answers, and has the table.
func (s *Store) Ping(ctx context.Context) error {
	return s.once(ctx, func(ctx context.Context, c *pgxpool.Conn) error { return c.Ping(ctx) })
}

// countUpTo is the size of a table that Count counts row by row.
const countUpTo = 1_000_000

// Count returns the number of rows. If there are more than a million, it is the estimate
// of PostgreSQL's statistics.
func (s *Store) Count(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)", s.table).Scan(&n)
		if err == nil && n > countUpTo {
			return nil
		}
		return c.QueryRow(ctx, "SELECT count(*) FROM "+s.table).Scan(&n)
	})
	return n, err
}

// Close waits up to 5 s for running calls, then aborts them and closes the connections.
// Later calls fail with todo.ErrUnavailable. Close may be called again.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Store) disconnect() {
	s.closed.Store(true)
	s.stop()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.pool.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		// The connections end with their calls. What is left is a farewell to a server
		// that does not answer.
	}
	s.abort()
	s.wg.Wait()
}

// unsynced is the key of a flag in a connection's data: a commit was not confirmed by
// the synchronous standby.
const unsynced = "unsynced"

func noteUnsynced(c *pgconn.PgConn, n *pgconn.Notice) {
	// An administrator cancelled the wait. The text is in the server's language.
	if n.Routine == "SyncRepWaitForLSN" {
		c.CustomData()[unsynced] = true
	}
}

var errUnsynced = errors.New("the synchronous standby has not confirmed the commit")
