package todo

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels that a Store or the Service returns, alone or wrapped.
var (
	ErrNotFound     = errors.New("todo: not found")
	ErrExists       = errors.New("todo: id already exists")
	ErrPrecondition = errors.New("todo: version does not match")
	ErrInvalid      = errors.New("todo: invalid")
	// ErrUnreadable: the record exists but cannot be shown, because another program
	// wrote it in an unsupported form. It can be deleted or replaced.
	ErrUnreadable = errors.New("todo: record cannot be shown")
	// ErrNoIdentity: the store has no identity yet, and this process cannot create one.
	// Otherwise the store works.
	ErrNoIdentity = errors.New("todo: the store has no identity")
	// ErrUnavailable: the store is unreachable or refuses to work. Nothing was written.
	ErrUnavailable = errors.New("todo: store unavailable")
	// ErrUnknownOutcome: a write was sent and no response came. It may have been
	// applied, or may still be applied.
	ErrUnknownOutcome = errors.New("todo: outcome of the write is unknown")
	// ErrOvertaken is why a store gave up: the last attempt wrote nothing, and there is no
	// time for another one.
	ErrOvertaken = errors.New("other writes changed the record during every attempt")
)

// FieldError is one fault in one field.
type FieldError struct {
	Field   string // path in the JSON body, e.g. "name"; "" is the record as a whole
	Message string
}

// ValidationError lists all faults of a record. It matches ErrInvalid.
type ValidationError struct{ Fields []FieldError }

func (e *ValidationError) Error() string {
	var b strings.Builder
	b.WriteString(ErrInvalid.Error())
	for i, f := range e.Fields {
		if i > 0 {
			b.WriteByte(';')
		}
		if f.Field == "" {
			b.WriteString(" record " + f.Message)
			continue
		}
		b.WriteString(" " + f.Field + ": " + f.Message)
	}
	return b.String()
}

func (e *ValidationError) Is(target error) bool { return target == ErrInvalid }

// Answered reports whether a call with this error got an answer of the store, also if it was a
// refusal.
func Answered(err error) bool {
	return err == nil || Definite(err) && !errors.Is(err, ErrUnavailable)
}

// Unreadable is a record in a store that cannot be shown, with the reason. Err matches
// ErrUnreadable, or ErrUnavailable if the bytes of the record are damaged.
type Unreadable struct {
	ID  string
	Err error
}

// UnreadableRecords are the records that a read of several records could not return.
// GetMany returns them as its error.
type UnreadableRecords []Unreadable

func (u UnreadableRecords) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "todo: %d of the records could not be read", len(u))
	for i, r := range u {
		if i == 3 {
			b.WriteString("; ...")
			break
		}
		fmt.Fprintf(&b, "; %q: %v", r.ID, r.Err)
	}
	return b.String()
}

// Unwrap returns the errors of the records, for errors.Is and errors.As.
func (u UnreadableRecords) Unwrap() []error {
	errs := make([]error, len(u))
	for i, r := range u {
		errs[i] = r.Err
	}
	return errs
}
