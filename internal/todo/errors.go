package todo

import (
	"errors"
	"strings"
)

// Sentinels that a Store or the Service returns, alone or wrapped.
var (
	ErrNotFound     = errors.New("todo: not found")
	ErrExists       = errors.New("todo: id already exists")
	ErrPrecondition = errors.New("todo: version does not match")
	ErrInvalid      = errors.New("todo: invalid")
	// ErrUnavailable: the store cannot be reached or refuses to work; nothing
	// was written.
	ErrUnavailable = errors.New("todo: store unavailable")
	// ErrUnknownOutcome: a write was sent and no answer came; it may have been
	// applied, or be applied yet.
	ErrUnknownOutcome = errors.New("todo: outcome of the write is unknown")
)

// FieldError is one fault in one field.
type FieldError struct {
	Field   string // path in the JSON body, e.g. "name"
	Message string
}

// ValidationError lists every fault of a record at once. It matches ErrInvalid.
type ValidationError struct{ Fields []FieldError }

func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString(ErrInvalid.Error())
	for i, f := range e.Fields {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(" " + f.Field + ": " + f.Message)
	}
	return b.String()
}

func (e *ValidationError) Is(target error) bool { return target == ErrInvalid }
