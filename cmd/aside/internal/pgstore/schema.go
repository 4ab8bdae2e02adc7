package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Schema returns the statements that make the table, its trigger, and the table of the
// store's identity. Open runs them if the table is missing. They can be run again.
func Schema(table string) string {
	return tableOf(table) + "\n\n" + triggerOf(table) + "\n\n" + identitySchema + "\n"
}

func tableOf(table string) string {
	return `CREATE TABLE IF NOT EXISTS ` + pgx.Identifier{table}.Sanitize() + ` (
    id          text COLLATE "C" PRIMARY KEY,
    name        text NOT NULL DEFAULT '',
    description text,
    completed   boolean NOT NULL DEFAULT false,
    created_at  timestamptz DEFAULT date_trunc('milliseconds', now()),
    updated_at  timestamptz DEFAULT date_trunc('milliseconds', now()),
    version     bigint NOT NULL DEFAULT 1
);`
}

// triggerOf makes the trigger that raises the version. The largest version stays.
func triggerOf(table string) string {
	function := pgx.Identifier{functionOf(table)}.Sanitize()
	return `CREATE OR REPLACE FUNCTION ` + function + `() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := greatest(OLD.version, 0);
    IF NEW.version < 9223372036854775807 THEN
        NEW.version := NEW.version + 1;
    END IF;
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := date_trunc('milliseconds', clock_timestamp());
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER ` + triggerName + ` BEFORE UPDATE ON ` + pgx.Identifier{table}.Sanitize() + ` FOR EACH ROW
    WHEN (NEW IS DISTINCT FROM OLD AND (NEW.version > OLD.version) IS NOT TRUE)
    EXECUTE FUNCTION ` + function + `();`
}

const triggerName = "aside_raise_version"

func functionOf(table string) string { return table + "_raise_version" }

// schemaLock is the advisory lock of those who make tables: "aside" in ASCII.
const schemaLock = 0x6173696465

const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// verdictTime is how long a fault of the table stands until a call looks again.
	verdictTime = time.Second
)

// schema is what is known about the table.
type schema struct {
	made atomic.Bool   // the table can be used
	turn chan struct{} // holds a token while a call looks at the table

	existing bool // it is not made

	// The fault that was found last, and when. Whoever has the turn may use them.
	fault   error
	faultAt time.Time
}

// schemaError is a fault of the table, or of the role's rights, that somebody must repair.
type schemaError struct {
	text string
	err  error
}

func (e *schemaError) Error() string { return e.text }
func (e *schemaError) Unwrap() error { return e.err }

// makeSchema makes the table as soon as the server answers, and logs why it cannot.
func (s *Store) makeSchema(ctx context.Context) {
	said := ""
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		attempt, end := context.WithTimeout(ctx, s.timeout)
		err := s.ready(attempt)
		end()
		if err == nil || ctx.Err() != nil {
			return
		}
		var fault *schemaError
		if text := err.Error(); errors.As(err, &fault) && text != said {
			s.log.Error("the table cannot be used", "table", s.name, "error", text)
			said = text
		} else {
			// While PostgreSQL is down, other parts report it.
			s.log.Debug("looking at the table failed, retrying", "table", s.name, "error", told(err), "retry_in", delay)
		}
		if !pause.For(ctx, delay) {
			return
		}
	}
}

// ready returns nil if the table can be used. The first call that reaches the server makes
// it. Later ones do not look again: whoever drops the table while aside runs has a reason.
func (s *Store) ready(ctx context.Context) error {
	if s.schema.made.Load() {
		return nil
	}
	select {
	case s.schema.turn <- struct{}{}:
		defer func() { <-s.schema.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.schema.made.Load() {
		return nil
	}
	if s.schema.fault != nil && time.Since(s.schema.faultAt) < verdictTime {
		return s.schema.fault
	}
	err := s.over(ctx, s.ensure)
	var fault *schemaError
	if errors.As(err, &fault) {
		s.schema.fault, s.schema.faultAt = err, time.Now()
		return err
	}
	if err == nil {
		s.schema.made.Store(true)
	}
	return err
}

// ensure checks the table and makes it if it is missing.
func (s *Store) ensure(ctx context.Context, c *pgxpool.Conn) error {
	if encoding := c.Conn().PgConn().ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return &schemaError{text: fmt.Sprintf("the database has the encoding %s, and todos may contain all characters: create it with ENCODING 'UTF8'", encoding)}
	}
	found, err := s.look(ctx, c)
	if err != nil || found.complete() {
		return err
	}
	if s.schema.existing {
		if found.table {
			return nil
		}
		return &schemaError{fmt.Sprintf("there is no table %s (%s): correct its name, or the database", s.name, addressOf(c.Conn().Config())), todo.ErrNotFound}
	}
	err = s.create(ctx, c)
	switch {
	case err == nil:
		s.log.Info("the table was made", "table", s.name, "trigger", triggerName)
		return nil
	case found.table && hasCode(err, codeNotPermitted, codeReadOnly):
		s.log.Warn("the table has no trigger that raises the version, and this role may not create it: "+
			"an update by another program that does not raise the version itself may stay unseen until the TTL; run the statements of the documentation as the owner of the table",
			"table", s.name, "trigger", triggerName, "error", err)
		return nil
	case hasCode(err, codeNotPermitted, codeReadOnly, codeNoSchema):
		return &schemaError{fmt.Sprintf("there is no table %s (%s), and it cannot be created: %v; run the statements of the documentation as a role that may, or GRANT CREATE ON SCHEMA public",
			s.name, addressOf(c.Conn().Config()), err), err}
	}
	return err
}

// create runs the statements of the table. Nodes that start at the same time do it one
// after the other.
func (s *Store) create(ctx context.Context, c *pgxpool.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		// Another node may have made it meanwhile.
		found, err := s.look(ctx, tx)
		if err != nil {
			return err
		}
		var statements []string
		if !found.table {
			statements = append(statements, tableOf(s.name))
		}
		if !found.trigger {
			statements = append(statements, triggerOf(s.name))
		}
		for _, sql := range statements {
			if _, err := tx.Conn().PgConn().Exec(ctx, sql).ReadAll(); err != nil {
				return err
			}
		}
		return nil
	})
}

// existing is what there is of the schema.
type existing struct{ table, trigger bool }

func (e existing) complete() bool { return e.table && e.trigger }

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// typesOf lists the types that a column may have.
var typesOf = map[string][]string{
	"id":          {"text", "character varying"},
	"name":        {"text", "character varying"},
	"description": {"text", "character varying"},
	"completed":   {"boolean"},
	"created_at":  {"timestamp with time zone"},
	"updated_at":  {"timestamp with time zone"},
	"version":     {"bigint"},
}

// look finds out what exists. A *schemaError says that the table cannot be used.
func (s *Store) look(ctx context.Context, q querier) (found existing, err error) {
	fault := func(format string, args ...any) (existing, error) {
		return existing{}, &schemaError{text: fmt.Sprintf("table %s: ", s.name) + fmt.Sprintf(format, args...)}
	}
	var table uint32
	var kind string
	err = q.QueryRow(ctx, "SELECT oid, relkind::text FROM pg_class WHERE oid = to_regclass($1)", s.table).Scan(&table, &kind)
	if errors.Is(err, pgx.ErrNoRows) {
		return existing{}, nil
	}
	if err != nil {
		return existing{}, err
	}
	if kind != "r" && kind != "p" {
		return fault("it is not a table but of another kind (relkind %q); name a table with --postgres-table", kind)
	}

	rows, err := q.Query(ctx, `SELECT attname, format_type(atttypid, NULL), coalesce(collname = 'C', true), coalesce(collisdeterministic, true)
		FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation
		WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped`, table)
	if err != nil {
		return existing{}, err
	}
	types := map[string]string{}
	sorted, exact := true, true
	var name, kindOf string
	var bytewise, deterministic bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kindOf, &bytewise, &deterministic}, func() error {
		types[name] = kindOf
		if name == "id" {
			sorted, exact = bytewise, deterministic
		}
		return nil
	})
	if err != nil {
		return existing{}, err
	}
	for _, column := range columns {
		switch is, ok := types[column]; {
		case !ok:
			return fault("it has no column %s: ALTER TABLE %s ADD COLUMN %s %s", column, s.table, column, shortType(column))
		case !slices.Contains(typesOf[column], is):
			return fault("column %s has the type %s, must be %s", column, is, strings.Join(typesOf[column], " or "))
		}
	}
	if !exact {
		return fault("column id has a collation for which different ids are equal: ALTER TABLE %s ALTER COLUMN id TYPE text COLLATE \"C\"", s.table)
	}
	var unique bool
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
		WHERE indrelid = $1 AND indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1 AND indpred IS NULL AND attname = 'id')`, table).Scan(&unique)
	if err != nil {
		return existing{}, err
	}
	if !unique {
		return fault("it has no primary key on id: ALTER TABLE %s ADD PRIMARY KEY (id)", s.table)
	}
	found.table = true
	err = q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = $1 AND tgname = $2)", table, triggerName).Scan(&found.trigger)
	if err == nil && !sorted {
		s.log.Warn("column id is not in the order of bytes, so each page of a listing sorts the whole table; "+
			`ALTER TABLE `+s.table+` ALTER COLUMN id TYPE text COLLATE "C" makes it fast`, "table", s.name)
	}
	return found, err
}

func shortType(column string) string {
	switch column {
	case "created_at", "updated_at":
		return "timestamptz"
	case "completed":
		return "boolean NOT NULL DEFAULT false"
	case "version":
		return "bigint NOT NULL DEFAULT 1"
	}
	return "text"
}
