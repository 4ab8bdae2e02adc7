package loose

import (
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The names of a todo's fields, in BSON and in JSON.
const (
	FieldID          = "id"
	FieldName        = "name"
	FieldDescription = "description"
	FieldCompleted   = "completed"
	FieldCreated     = "created_at"
	FieldUpdated     = "updated_at"
	FieldVersion     = "version"
)

// Has reports whether a todo has a field of that name.
func Has(field string) bool {
	switch field {
	case FieldID, FieldName, FieldDescription, FieldCompleted, FieldCreated, FieldUpdated, FieldVersion:
		return true
	}
	return false
}

// seen has a bit for each field that was read.
type seen uint8

const (
	sawID seen = 1 << iota
	sawName
	sawDescription
	sawCompleted
	sawCreated
	sawUpdated
	sawVersion
)

// Builder builds a todo from its fields. The zero value works.
type Builder struct {
	// Odd, if set, is called for each field with an unusual value, with a text that
	// describes the value. There are few different texts.
	Odd func(field, what string)
	// TextDates: dates are text, as in JSON, so a text is not unusual.
	TextDates bool

	todo    todo.Todo
	seen    seen
	idFault string
}

// Set sets a field of the todo. If a field comes again, the first value counts. A second
// id is a fault.
func (b *Builder) Set(field string, v Value) {
	var bit seen
	switch field {
	case FieldID:
		bit = sawID
	case FieldName:
		bit = sawName
	case FieldDescription:
		bit = sawDescription
	case FieldCompleted:
		bit = sawCompleted
	case FieldCreated:
		bit = sawCreated
	case FieldUpdated:
		bit = sawUpdated
	case FieldVersion:
		bit = sawVersion
	default:
		return
	}
	if b.seen&bit != 0 {
		if bit == sawID {
			b.idFault = "is given twice"
		} else {
			b.odd(field, "given more than once, the first value is used")
		}
		return
	}
	b.seen |= bit
	t := &b.todo
	switch bit {
	case sawID:
		switch v.Kind {
		case Text:
			t.ID = v.Text
		default:
			b.idFault = "must be a string, is " + v.Kind.String()
		}
	case sawName:
		t.Name = b.text(field, v)
	case sawDescription:
		if v.Kind != Null && v.Kind != Unusable {
			s := b.text(field, v)
			t.Description = &s
		} else if v.Kind == Unusable {
			b.odd(field, v.Text)
		}
	case sawCompleted:
		ok := v.Kind == Null
		if !ok {
			t.Completed, ok = v.truth()
		}
		switch {
		case !ok:
			b.odd(field, "not a boolean, read as false")
		case v.Kind == Text:
			b.odd(field, "text, read as true or false")
		case v.Kind != Bool && v.Kind != Null:
			b.odd(field, "a number, read as true or false")
		}
	case sawCreated, sawUpdated:
		at, ok := v.time()
		switch {
		case v.Kind == Null:
		case !ok:
			b.odd(field, "not a date, ignored")
		case todo.CheckTime(at) != nil:
			b.odd(field, "a date outside of the years 1 to 9999, ignored")
		default:
			if v.Kind == Timestamp || v.Kind == Text && !b.TextDates {
				b.odd(field, "not a BSON date, read as a date")
			}
			if bit == sawCreated {
				t.CreatedAt = at
			} else {
				t.UpdatedAt = at
			}
		}
	case sawVersion:
		n, ok := v.integer()
		switch {
		case v.Kind == Null:
		case !ok || n < 0:
			b.odd(field, "not an integer from 0, ignored")
		default:
			if v.Kind == Text {
				b.odd(field, "text, read as a number")
			}
			t.Version = n
		}
	}
}

func (b *Builder) odd(field, what string) {
	if b.Odd != nil {
		b.Odd(field, what)
	}
}

func (b *Builder) text(field string, v Value) string {
	switch {
	case v.Kind == Unusable:
		b.odd(field, v.Text)
		return ""
	case v.Kind == Null:
		b.odd(field, "null, read as empty")
	case v.Kind != Text:
		b.odd(field, "not a text, read as text")
	}
	s := v.text()
	if !utf8.ValidString(s) {
		b.odd(field, "not valid UTF-8, invalid bytes are replaced")
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// Todo returns the todo, or, if its id is invalid, a *todo.ValidationError. The todo
// passes Todo.Check, but it may be larger than todo.MaxRecordBytes.
func (b *Builder) Todo() (todo.Todo, error) {
	fault := b.idFault
	switch {
	case fault != "":
	case b.seen&sawID == 0:
		fault = "is missing"
	default:
		if err := todo.CheckID(b.todo.ID); err != nil {
			fault = err.Error()
		}
	}
	if fault != "" {
		return b.todo, &todo.ValidationError{Fields: []todo.FieldError{{Field: FieldID, Message: fault}}}
	}
	if b.seen&sawName == 0 {
		b.odd(FieldName, "missing, read as empty")
	}
	return b.todo, nil
}

// Decode reads a document that passed Validate, and does not keep its memory. other, if
// set, is called with the name of each field that a todo does not have.
func Decode(raw bson.Raw, odd func(field, what string), other func(field string)) (todo.Todo, error) {
	b := Builder{Odd: odd}
	elements, err := raw.Elements()
	if err != nil {
		return todo.Todo{}, &todo.ValidationError{Fields: []todo.FieldError{{Message: "is not valid BSON: " + err.Error()}}}
	}
	for _, e := range elements {
		switch key := e.Key(); {
		case Has(key):
			b.Set(key, FromBSON(e.Value()))
		case other != nil:
			other(key)
		}
	}
	return b.Todo()
}

// String names the kind in messages.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Text:
		return "text"
	case Bool:
		return "a boolean"
	case Int, Double, Decimal:
		return "a number"
	case Date, Timestamp:
		return "a date"
	}
	return "not a text or a number"
}
