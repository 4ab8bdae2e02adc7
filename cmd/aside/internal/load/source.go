package load

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Source returns records in order. It is not safe for concurrent use.
type Source interface {
	// Next returns the next record. Its BSON is valid until the next call. The error
	// is io.EOF at the end. After a *Fault (one record cannot be loaded) or a *Damage
	// (the source is damaged, but can still be read) the next call continues. Any
	// other error is final. The records returned before an error are valid.
	Next() (todo.Record, error)
	// Extent returns how far the source was read.
	Extent() Extent
	// Extra counts, by name, the unknown fields so far.
	Extra() map[string]int64
	// Odd returns the unusual values so far by kind, in the order of the first of
	// each kind.
	Odd() []Odd
}

// Odd is a kind of unusual values: the service would not write them. Records with such
// values are loaded.
type Odd struct {
	What  string // which field, and how its value was converted
	Count int64  // of such fields
	First string // the place of the first one
}

// Unit is the unit of an Extent.
type Unit uint8

const (
	Records Unit = iota
	Bytes        // of the file, before it is decompressed
)

// Extent is how far a source was read. Total is 0 if it is unknown.
type Extent struct {
	Done, Total int64
	Unit        Unit
}

// Fault is a record that cannot be loaded.
type Fault struct {
	// Unit and At are the place: "byte" and the offset in the decompressed stream, or
	// "line" or "element" and its number from 1.
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

// reading is a record that is being read. Its unusual values count only if the record
// is loaded.
type reading struct {
	Fault
	odd []string
}

// oddity is the callback for loose.Builder and loose.Decode.
func (r *reading) oddity(field, what string) { r.odd = append(r.odd, field+": "+what) }

// end checks the decoded record by the rules that do not depend on the encoding. It
// returns the Fault, if the record has one.
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
		r.oddity("id", "has invisible characters, or characters that change the direction of text")
	}
	for _, what := range r.odd {
		odd.add(what, r.place)
	}
	return nil
}

// odds counts unusual values by kind. There are few kinds.
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

// Damage is a fault of the source after which it can still be read.
type Damage struct{ Err error }

func (d *Damage) Error() string { return d.Err.Error() }
func (d *Damage) Unwrap() error { return d.Err }

// extra counts unknown fields. A malicious file could have a new, long name in every
// record, so only a few short names are kept.
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

// countingReader counts the bytes that are read from a file, for Extent.
type countingReader struct {
	in io.Reader
	n  int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}
