package todoload

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/asidecache/aside/internal/todo"
)

// Source yields records in order. It is not safe for concurrent use.
type Source interface {
	// Next returns the next record; its BSON is valid until the following call.
	// The error is io.EOF at the end. After a *Fault (one record that cannot be
	// loaded) or a *Damage (the source is damaged, but its structure held) the
	// next call goes on. Any other error is final, and what was returned before
	// it stands.
	Next() (todo.Record, error)
	// Extent says how far the source is.
	Extent() Extent
	// Extra counts, by name, the fields met so far that a Todo does not have.
	Extra() map[string]int64
}

// Unit is what an Extent counts.
type Unit uint8

const (
	Records Unit = iota
	Bytes        // of the file as it is, compressed or not
)

// Extent is how far a source is. Total is 0 if it is not known.
type Extent struct {
	Done, Total int64
	Unit        Unit
}

// Fault is a record that cannot be loaded.
type Fault struct {
	// Unit and At are its place: "byte" and the offset in the decompressed
	// stream, or "line" and its number from 1.
	Unit   string
	At     int64
	ID     string // "" if it has none
	Fields []todo.FieldError
}

func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "record at %s %d", f.Unit, f.At)
	if f.ID != "" {
		id, more := f.ID, ""
		if len(id) > 40 {
			id, more = strings.ToValidUTF8(id[:40], ""), "..."
		}
		fmt.Fprintf(&b, " (id %q%s)", id, more)
	}
	for i, field := range f.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep)
		if field.Field != "" {
			b.WriteString(field.Field + " ")
		}
		b.WriteString(field.Message)
	}
	return b.String()
}

func (f *Fault) add(field, format string, args ...any) {
	f.Fields = append(f.Fields, todo.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// blames reports whether field has a fault already.
func (f *Fault) blames(field string) bool {
	return slices.ContainsFunc(f.Fields, func(e todo.FieldError) bool { return e.Field == field })
}

// Is reports whether target is todo.ErrInvalid.
func (f *Fault) Is(target error) bool { return target == todo.ErrInvalid }

// Damage is a fault of the source as a whole that does not end it.
type Damage struct{ Err error }

func (d *Damage) Error() string { return d.Err.Error() }
func (d *Damage) Unwrap() error { return d.Err }

// extra counts unknown fields. A file made to hurt could have a new name in
// every record, and a long one, so the names kept are few and short.
type extra map[string]int64

const maxExtra, maxExtraName = 20, 64

func (e extra) add(name string) {
	if len(name) > maxExtraName {
		name = strings.ToValidUTF8(name[:maxExtraName], "") + "..."
	}
	if _, ok := e[name]; !ok && len(e) >= maxExtra {
		name = "(other)"
	}
	e[name]++
}

// countingReader counts what is read from a file, for Extent.
type countingReader struct {
	in io.Reader
	n  int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}
