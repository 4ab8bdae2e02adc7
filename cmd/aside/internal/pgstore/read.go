package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Get returns the record with that ID, or todo.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (todo.Todo, error) {
	x, err := s.find(ctx, s.sql.get, id, false)
	if err == nil {
		err = x.checkSize()
	}
	if err != nil {
		return todo.Todo{}, err
	}
	return x.todo, nil
}

func (s *Store) find(ctx context.Context, sql, id string, withXmin bool) (x row, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		if todo.CheckID(id) != nil { // PostgreSQL refuses some such texts
			return todo.ErrNotFound
		}
		var ok bool
		x, ok, err = scan(c.QueryRow(ctx, sql, id), withXmin)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && (!ok || x.id != id) {
			return todo.ErrNotFound
		}
		return err
	})
	return x, err
}

// idsPerQuery is the maximum length of the list in one query.
const idsPerQuery = 1000

// GetMany returns the records that exist.
func (s *Store) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	found := make(map[string]todo.Todo, len(ids))
	var unreadable todo.UnreadableRecords
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return todo.CheckID(id) != nil })
	slices.Sort(ids)
	for part := range slices.Chunk(slices.Compact(ids), idsPerQuery) {
		var rows []row
		err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
			rows, err = query(ctx, c, s.sql.getMany, part)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, x := range rows {
			if err := x.checkSize(); err != nil {
				unreadable = append(unreadable, todo.Unreadable{ID: x.id, Err: err})
			} else {
				found[x.id] = x.todo
			}
		}
	}
	if len(unreadable) > 0 {
		return found, unreadable
	}
	return found, nil
}

// query returns the rows of a statement, also those that are not todos.
func query(ctx context.Context, c *pgxpool.Conn, sql string, args ...any) (found []row, err error) {
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		x, _, err := scan(rows, false)
		if err != nil {
			return nil, err
		}
		found = append(found, x)
	}
	return found, rows.Err()
}

// List returns up to limit records with IDs greater than after.
func (s *Store) List(ctx context.Context, after string, limit int) (todo.Page, error) {
	if limit < 1 {
		return todo.Page{}, fmt.Errorf("%w: limit %d, must be at least 1", todo.ErrInvalid, limit)
	}
	var page todo.Page
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		page = todo.Page{}
		from, last, n := startOf(after), "", 0
		for {
			want := limit + 1 - n // one more shows whether there is a next page
			rows, err := query(ctx, c, s.sql.list, from, want)
			if err != nil {
				return err
			}
			for _, x := range rows {
				from = x.id
				if todo.CheckID(x.id) != nil {
					continue
				}
				if n == limit {
					page.Next = last
					return nil
				}
				last = x.id
				n++
				if err := x.checkSize(); err != nil {
					page.Unreadable = append(page.Unreadable, todo.Unreadable{ID: x.id, Err: err})
				} else {
					page.Todos = append(page.Todos, x.todo)
				}
			}
			if len(rows) < want {
				return nil
			}
		}
	})
	if err != nil {
		return todo.Page{}, err
	}
	return page, nil
}

// lastID is greater than the rest of every id.
var lastID = strings.Repeat(string(utf8.MaxRune), todo.MaxIDBytes/utf8.UTFMax+1)

// startOf returns a text after which the same ids come as after the given bytes, and
// which PostgreSQL accepts: a client may send any bytes.
func startOf(after string) string {
	valid := 0
	for valid < len(after) {
		r, n := utf8.DecodeRuneInString(after[valid:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			break
		}
		valid += n
	}
	if valid == len(after) {
		return after
	}
	start, rest := after[:valid], []byte(after[valid:])
	// Ids that begin with start and go on with a character from the next one up are
	// greater. The others are not: a character cannot be the beginning of rest.
	const surrogates, first = 0x800, 0xD800
	character := func(i int) rune {
		if i >= first {
			i += surrogates
		}
		return rune(i)
	}
	const all = utf8.MaxRune + 1 - surrogates
	next := sort.Search(all, func(i int) bool {
		return i > 0 && bytes.Compare(utf8.AppendRune(nil, character(i)), rest) > 0
	})
	if next <= 1 {
		return start // which is no greater itself
	}
	return start + string(character(next-1)) + lastID
}
