package load

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
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
	// Odd are the fields met so far that were read otherwise than they are
	// written, by kind, in the order of their first.
	Odd() []Odd
}

// Odd is a way in which fields of records differ from what the service writes.
// The records are loaded.
type Odd struct {
	What  string // which field, and what was made of it
	Count int64  // of such fields
	First string // the place of the first one
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
	// stream, or "line" or "element" and its number from 1.
	Unit   string
	At     int64
	ID     string // "" if it has none
	Fields []todo.FieldError
}

func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString("record at " + f.place())
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

func (f *Fault) place() string {
	s := fmt.Sprintf("%s %d", f.Unit, f.At)
	if f.ID == "" {
		return s
	}
	id, more := f.ID, ""
	if len(id) > 40 {
		id, more = strings.ToValidUTF8(id[:40], ""), "..."
	}
	return fmt.Sprintf("%s (id %q%s)", s, id, more)
}

func (f *Fault) add(field, format string, args ...any) {
	f.Fields = append(f.Fields, todo.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
}

// Is reports whether target is todo.ErrInvalid.
func (f *Fault) Is(target error) bool { return target == todo.ErrInvalid }

// reading is a record on its way from a source: what is odd in it counts if it is
// loaded.
type reading struct {
	Fault
	odd []string
}

// oddity is what loose.Builder and loose.Decode call.
func (r *reading) oddity(field, what string) { r.odd = append(r.odd, field+": "+what) }

// end takes what the decoder has made of the record, and applies the rules that
// do not depend on the encoding. It returns the Fault, if the record has one.
func (r *reading) end(t todo.Todo, err error, odd *odds) error {
	r.ID = t.ID
	if err == nil {
		err = t.Check()
	}
	var invalid *todo.ValidationError
	switch {
	case errors.As(err, &invalid):
		r.Fields = append(r.Fields, invalid.Fields...)
	case err != nil:
		r.add("", "%v", err)
	}
	if len(r.Fields) > 0 {
		return &r.Fault
	}
	if strings.ContainsFunc(t.ID, todo.Invisible) {
		r.oddity("id", "has characters that cannot be seen, or that turn the direction of writing")
	}
	for _, what := range r.odd {
		odd.add(what, r.place)
	}
	return nil
}

// odds counts oddities. Their kinds are few.
type odds []Odd

func (o *odds) add(what string, place func() string) {
	for i := range *o {
		if (*o)[i].What == what {
			(*o)[i].Count++
			return
		}
	}
	*o = append(*o, Odd{What: what, Count: 1, First: place()})
}

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
