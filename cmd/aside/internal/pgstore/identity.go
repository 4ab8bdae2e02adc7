package pgstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The identity of a table is random and kept in a row of aside_identity. What others see
// is a hash of it with the names of the database and the table: a copy of the database
// under another name has another identity.
const identitySchema = `CREATE TABLE IF NOT EXISTS aside_identity (
    table_name text PRIMARY KEY,
    identity   text NOT NULL
);`

// Identity returns a text that identifies this table. If there is none yet, it creates it.
// A role without the right to do that gets todo.ErrNoIdentity until another role has
// created it.
func (s *Store) Identity(ctx context.Context) (string, error) {
	kept, err := s.keptIdentity(ctx)
	if errors.Is(err, todo.ErrNotFound) {
		if err = s.makeIdentity(ctx); err == nil {
			kept, err = s.keptIdentity(ctx)
		}
	}
	if errors.Is(err, todo.ErrNotFound) {
		return "", fmt.Errorf("%w: the identity of the table %s was created but cannot be found", todo.ErrUnavailable, s.name)
	}
	if err != nil {
		return "", err
	}
	if !todo.IsIdentity(kept) {
		return "", fmt.Errorf("%w: in the table aside_identity, the identity of %s is not a text of letters and digits: delete this row, then a new one is created",
			todo.ErrNoIdentity, s.name)
	}
	sum := sha256.Sum256([]byte(kept + "\x00" + s.pool.Config().ConnConfig.Database + "\x00" + s.name))
	return hex.EncodeToString(sum[:16]), nil
}

func (s *Store) keptIdentity(ctx context.Context) (kept string, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, "SELECT identity FROM aside_identity WHERE table_name = $1", s.name).Scan(&kept)
		if errors.Is(err, pgx.ErrNoRows) || hasCode(err, codeNoTable) {
			return todo.ErrNotFound
		}
		return noIdentity(err, "read")
	})
	return kept, err
}

// makeIdentity creates the identity unless another process does so at the same time.
func (s *Store) makeIdentity(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { // to repeat it does no harm
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
				return err
			}
			var exists bool
			if err := tx.QueryRow(ctx, "SELECT to_regclass('aside_identity') IS NOT NULL").Scan(&exists); err != nil {
				return err
			}
			if !exists {
				if _, err := tx.Exec(ctx, identitySchema); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "INSERT INTO aside_identity (table_name, identity) VALUES ($1, $2) ON CONFLICT DO NOTHING", s.name, rand.Text())
			return err
		})
		return noIdentity(err, "create or write")
	})
}

// noIdentity returns ErrNoIdentity if a permission is missing, which a retry cannot
// fix. Other errors may be temporary.
func noIdentity(err error, what string) error {
	if !hasCode(err, codeNotPermitted) {
		return err
	}
	return fmt.Errorf("%w: the PostgreSQL role may not %s the table aside_identity; grant this, or open the store once as a role that may: %w",
		todo.ErrNoIdentity, what, err)
}
