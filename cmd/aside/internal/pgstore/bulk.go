package pgstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	// copyRecords and copyBytes limit one COPY, which is one transaction.
	copyRecords = 10_000
	copyBytes   = 16 << 20
)

// mixed tells whether the last batch had records that exist already. Then COPY, which
// refuses a batch with one of them, is not tried.
type mixed struct{ atomic.Bool }

// InsertMany adds records with COPY, in transactions of up to 10,000 records. A
// transaction that meets an existing ID is repeated with INSERT ... ON CONFLICT DO
// NOTHING. Of several records with one ID the first is kept.
func (s *Store) InsertMany(ctx context.Context, records []todo.Record) (todo.InsertResult, error) {
	if err := todo.CheckRecords(records); err != nil {
		return todo.InsertResult{}, err
	}
	var total todo.InsertResult
	for len(records) > 0 {
		n := batchOf(records)
		inserted, err := s.insertBatch(ctx, distinct(records[:n]))
		if err != nil {
			return total, err
		}
		total.Inserted += inserted
		total.Existing += n - inserted
		records = records[n:]
	}
	return total, nil
}

func batchOf(records []todo.Record) int {
	size := 0
	for i, r := range records {
		size += len(r.Todo.ID) + len(r.Todo.Name)
		if r.Todo.Description != nil {
			size += len(*r.Todo.Description)
		}
		if i > 0 && (size > copyBytes || i == copyRecords) {
			return i
		}
	}
	return len(records)
}

// distinct returns the first record of each ID, sorted: two loads of the same records
// that lock them in different orders would wait for each other.
func distinct(records []todo.Record) []*todo.Todo {
	todos := make([]*todo.Todo, len(records))
	for i := range records {
		todos[i] = &records[i].Todo
	}
	slices.SortStableFunc(todos, func(a, b *todo.Todo) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(todos, func(a, b *todo.Todo) bool { return a.ID == b.ID })
}

func (s *Store) insertBatch(ctx context.Context, todos []*todo.Todo) (inserted int, err error) {
	if !s.mixed.Load() {
		data := encodeCopy(todos)
		err := s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			tag, err := c.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(data), s.sql.copy)
			inserted = int(tag.RowsAffected())
			// With row-level security, COPY is refused and INSERT is not.
			if hasCode(err, codeUnique, codeNotSupported) && isRefusal(err) {
				return errMixed
			}
			return err
		})
		if !errors.Is(err, errMixed) {
			return inserted, err
		}
	}
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var tag pgconn.CommandTag
		tag, err := c.Exec(ctx, s.sql.insertMany, columnsOf(todos)...)
		inserted = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, err
	}
	s.mixed.Store(inserted < len(todos))
	return inserted, nil
}

// errMixed: the batch contains records that exist already. It was not inserted.
var errMixed = fmt.Errorf("%w: in the batch", todo.ErrExists)

// columnsOf returns the arguments of insertMany.
func columnsOf(todos []*todo.Todo) []any {
	n := len(todos)
	ids, names, descriptions, completed := make([]string, n), make([]string, n), make([]*string, n), make([]bool, n)
	created, updated, versions := make([]*time.Time, n), make([]*time.Time, n), make([]int64, n)
	for i, t := range todos {
		ids[i], names[i], descriptions[i], completed[i] = t.ID, encodeText(t.Name), encodeDescription(t.Description), t.Completed
		created[i], updated[i], versions[i] = encodeTime(t.CreatedAt), encodeTime(t.UpdatedAt), t.Version
	}
	return []any{ids, names, descriptions, completed, created, updated, versions}
}

// copyHeader begins the binary format of COPY: a signature, flags, and an extension of no
// bytes.
const copyHeader = "PGCOPY\n\xff\r\n\x00" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"

// postgresEpoch is 2000-01-01 in microseconds of Unix time. PostgreSQL counts from there.
const postgresEpoch = 946_684_800_000_000

// encodeCopy returns records in the binary format of COPY.
// https://www.postgresql.org/docs/current/sql-copy.html
func encodeCopy(todos []*todo.Todo) []byte {
	size := len(copyHeader)
	for _, t := range todos {
		size += 80 + len(t.ID) + len(t.Name)
		if t.Description != nil {
			size += len(*t.Description)
		}
	}
	b := append(make([]byte, 0, size), copyHeader...)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	null := func() { b = append(b, 0xff, 0xff, 0xff, 0xff) }
	integer := func(n int64) {
		b = append(b, 0, 0, 0, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	date := func(at time.Time) {
		if at.IsZero() {
			null()
		} else {
			integer(at.UnixMicro() - postgresEpoch)
		}
	}
	for _, t := range todos {
		b = binary.BigEndian.AppendUint16(b, uint16(len(columns)))
		text(t.ID)
		text(encodeText(t.Name))
		if t.Description == nil {
			null()
		} else {
			text(encodeText(*t.Description))
		}
		if t.Completed {
			text("\x01")
		} else {
			text("\x00")
		}
		date(t.CreatedAt)
		date(t.UpdatedAt)
		integer(t.Version)
	}
	return append(b, 0xff, 0xff)
}
