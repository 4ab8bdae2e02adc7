package pgstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// columns are the columns of a todo, in the order of every statement.
var columns = [...]string{"id", "name", "description", "completed", "created_at", "updated_at", "version"}

const (
	// maxStored is the size in bytes of a row's text above which its text is not read. No
	// record is larger: its text is stored in at most four times its bytes.
	maxStored = 4 * todo.MaxRecordBytes

	storedBytes = "octet_length(id) + coalesce(octet_length(name), 0) + coalesce(octet_length(description), 0)"
)

// statements are the statements on the records of one table.
type statements struct {
	get, getMany, list, find string
	insert, update, delete   string
	copy, insertMany         string
}

func statementsFor(table string) statements {
	all := strings.Join(columns[:], ", ")
	// Reads do not need the text of a row that is too large to be shown: it may have 1 GB.
	shown := fmt.Sprintf("SELECT id, CASE WHEN %[1]s <= %[2]d THEN name END, CASE WHEN %[1]s <= %[2]d THEN description END, "+
		"completed, created_at, updated_at, version, %[1]s FROM %[3]s ", storedBytes, maxStored, table)
	return statements{
		get:     shown + "WHERE id = $1",
		getMany: shown + "WHERE id = ANY($1)",
		// The bytes of UTF-8 text are in the order of collation C.
		list:   shown + `WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2`,
		find:   "SELECT " + all + ", 0::bigint, xmin FROM " + table + " WHERE id = $1",
		insert: "INSERT INTO " + table + " (" + all + ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
		update: "UPDATE " + table + " SET ",
		delete: "DELETE FROM " + table + " WHERE id = $1 AND xmin = $2",
		copy:   "COPY " + table + " (" + all + ") FROM STDIN (FORMAT binary)",
		insertMany: "INSERT INTO " + table + " (" + all + ") SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], " +
			"$5::timestamptz[], $6::timestamptz[], $7::bigint[]) ON CONFLICT (id) DO NOTHING",
	}
}

// row is a row as it was read.
type row struct {
	todo   todo.Todo
	stored int64  // bytes of text, 0 if the text was read in any case
	xmin   uint32 // the transaction that wrote it, if it was asked for
	id     string // also if the row is not a todo
}

// scan reads a row. ok is false if it is not a todo.
func scan(r pgx.Row, withXmin bool) (row, bool, error) {
	var x row
	var name, description *string
	var completed *bool
	var created, updated pgtype.Timestamptz
	var version *int64
	dest := []any{&x.id, &name, &description, &completed, &created, &updated, &version, &x.stored}
	if withXmin {
		dest = append(dest, &x.xmin)
	}
	if err := r.Scan(dest...); err != nil {
		return row{}, false, err
	}
	t := &x.todo
	t.ID = x.id
	if name != nil {
		t.Name = decodeText(*name)
	}
	if description != nil {
		d := decodeText(*description)
		t.Description = &d
	}
	t.Completed = completed != nil && *completed
	t.CreatedAt, t.UpdatedAt = decodeTime(created), decodeTime(updated)
	if version != nil {
		t.Version = max(*version, 0)
	}
	return x, todo.CheckID(x.id) == nil, nil
}

// checkSize returns an error that matches todo.ErrUnreadable if the record is too large.
func (x row) checkSize() error {
	if x.stored > maxStored {
		return fmt.Errorf("%w: it is too large: id, name and description have %d bytes together, the maximum is %d",
			todo.ErrUnreadable, x.stored, todo.MaxRecordBytes)
	}
	return x.todo.CheckSize()
}

// escape begins the stored form of a character that text cannot contain. It is a
// character that Unicode keeps free for such uses.
const escape = "\uFDD0"

var (
	toStored   = strings.NewReplacer("\x00", escape+"0", escape, escape+escape)
	fromStored = strings.NewReplacer(escape+"0", "\x00", escape+escape, escape)
)

func encodeText(s string) string {
	if strings.IndexByte(s, 0) < 0 && !strings.Contains(s, escape) {
		return s
	}
	return toStored.Replace(s)
}

func decodeText(s string) string {
	if !strings.Contains(s, escape) {
		return s
	}
	return fromStored.Replace(s)
}

// decodeTime returns the zero time for NULL, and for what cannot be shown.
func decodeTime(at pgtype.Timestamptz) time.Time {
	if !at.Valid || at.InfinityModifier != pgtype.Finite || todo.CheckTime(at.Time) != nil {
		return time.Time{}
	}
	return at.Time.UTC()
}

// encodeTime returns nil, for NULL, for the zero time.
func encodeTime(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

func encodeDescription(d *string) *string {
	if d == nil {
		return nil
	}
	s := encodeText(*d)
	return &s
}

// values are the values of the columns of a record.
func values(t todo.Todo) []any {
	return []any{t.ID, encodeText(t.Name), encodeDescription(t.Description), t.Completed, encodeTime(t.CreatedAt), encodeTime(t.UpdatedAt), t.Version}
}
