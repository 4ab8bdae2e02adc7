package todo

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a client may write, in bytes of UTF-8. Of an older record the
// name or the description alone may be longer.
const (
	MaxIDBytes          = 256
	MaxNameBytes        = 1 << 10
	MaxDescriptionBytes = 64 << 10
)

// MaxRecordBytes bounds the id, the name and the description of a record
// together, in bytes of UTF-8: 66,816, which is what the largest record of the
// API has. It is one limit for every door: the API, a load and the stores take
// no larger record, and a store that holds one, which another program wrote,
// does not show it.
const MaxRecordBytes = MaxIDBytes + MaxNameBytes + MaxDescriptionBytes

// The years of dates that can be shown: those that RFC 3339 and its readers know.
const minYear, maxYear = 1, 9999

// Check reports every fault that keeps the record from being stored, shown and
// restored, as a *ValidationError, or nil. It is the one rule that the stores,
// a load and the API share. What the Service asks of new records besides, a name
// that is not blank for one, is not part of it: older records may differ.
func (t Todo) Check() error {
	var f faults
	f.add("id", CheckID(t.ID))
	if !utf8.ValidString(t.Name) {
		f.add("name", errUTF8)
	}
	if t.Description != nil && !utf8.ValidString(*t.Description) {
		f.add("description", errUTF8)
	}
	f.add("created_at", CheckTime(t.CreatedAt))
	f.add("updated_at", CheckTime(t.UpdatedAt))
	if t.Version < 0 {
		f.add("version", fmt.Errorf("must not be negative, is %d", t.Version))
	}
	if n := t.textBytes(); n > MaxRecordBytes {
		f.add("", tooLarge(n))
	}
	return f.err()
}

// Validate is for aside.Options.Validate: it reports why what the cache has for id
// cannot be that record. Whoever can write to Redis decides what the cache has.
func Validate(id string, t Todo) error {
	if t.ID != id {
		return fmt.Errorf("it is the record %.80q", t.ID)
	}
	return t.Check()
}

// CheckTime reports why a date cannot be shown, or nil. The zero time, which
// stands for no date, can.
func CheckTime(at time.Time) error {
	if year := at.UTC().Year(); year < minYear || year > maxYear {
		return fmt.Errorf("must be in the years %d to %d, is in the year %d", minYear, maxYear, year)
	}
	return nil
}

// CheckSize returns an error that matches ErrUnreadable if the record, which a
// store holds already, is larger than MaxRecordBytes.
func (t Todo) CheckSize() error {
	if n := t.textBytes(); n > MaxRecordBytes {
		return fmt.Errorf("%w: it %w", ErrUnreadable, tooLarge(n))
	}
	return nil
}

func (t Todo) textBytes() int {
	n := len(t.ID) + len(t.Name)
	if t.Description != nil {
		n += len(*t.Description)
	}
	return n
}

func tooLarge(n int) error {
	return fmt.Errorf("has %d bytes of id, name and description together, and may have at most %d", n, MaxRecordBytes)
}

var errUTF8 = errors.New("must be valid UTF-8")

// CheckID reports why id cannot be the ID of a record, or nil. An ID is 1 to
// MaxIDBytes bytes of valid UTF-8 that can stand, percent-encoded, in one
// segment of a URL's path: no control characters, which proxies refuse or
// strip, and neither "." nor "..", which clients resolve away.
func CheckID(id string) error {
	switch {
	case id == "":
		return errors.New("must not be empty")
	case len(id) > MaxIDBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", MaxIDBytes, len(id))
	case !utf8.ValidString(id):
		return errUTF8
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("must not contain control characters")
	case id == "." || id == "..":
		return errors.New(`must not be "." or "..", which a URL cannot name`)
	}
	return nil
}

// CheckNewID is CheckID for a record that is made now. Characters that cannot be
// seen, or that turn the direction of writing, are refused: with them one id
// looks like another. Records that have them are read as they are.
func CheckNewID(id string) error {
	if err := CheckID(id); err != nil {
		return err
	}
	for i, r := range id {
		if Invisible(r) {
			return fmt.Errorf("must not contain invisible characters, or characters that change the direction of text; there is %U at byte %d", r, i)
		}
	}
	return nil
}

// Invisible reports whether r shows nothing of its own: formatting, such as marks
// of direction and zero-width spaces, separators of lines, and what Unicode has
// every program ignore that does not know it.
func Invisible(r rune) bool {
	switch {
	case r < 0x600:
		return r == '\u00ad' || r == '\u034f' // so that most text is looked through quickly
	case 0x3165 <= r && r < 0xfe00:
		return false // ideographs, Hangul and what follows; TestInvisible holds both to the tables
	}
	return unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("must not be empty or blank")
	case len(name) > MaxNameBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", MaxNameBytes, len(name))
	case !utf8.ValidString(name):
		return errUTF8
	}
	return nil
}

func checkDescription(d *string) error {
	switch {
	case d == nil:
	case len(*d) > MaxDescriptionBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", MaxDescriptionBytes, len(*d))
	case !utf8.ValidString(*d):
		return errUTF8
	}
	return nil
}

// faults gathers field errors, so that a client can mend all of them at once.
type faults []FieldError

func (f *faults) add(field string, err error) {
	if err != nil {
		*f = append(*f, FieldError{Field: field, Message: err.Error()})
	}
}

// err is nil if there are none: a typed nil would not be.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &ValidationError{Fields: f}
}
