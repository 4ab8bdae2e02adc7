package todo

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a client may write, in bytes of UTF-8. In older records the name or the
// description may be longer.
const (
	MaxIDBytes          = 256
	MaxNameBytes        = 1 << 10
	MaxDescriptionBytes = 64 << 10
)

// MaxRecordBytes is the limit for id, name and description of a record together, in
// bytes of UTF-8: 66,816, the size of the largest record of the API. The API, a load and
// the stores all have this limit. A larger record that another program wrote into a store
// cannot be shown.
const MaxRecordBytes = MaxIDBytes + MaxNameBytes + MaxDescriptionBytes

// The years of dates that can be shown: RFC 3339 supports no others.
const minYear, maxYear = 1, 9999

// Check returns nil, or a *ValidationError with all faults because of which the record
// cannot be stored, shown and restored. The stores, a load and the API share this rule.
// The Service has further rules for new records, such as a name that is not blank. They
// are not part of Check, since older records may break them.
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

// Validate is for aside.Options.Validate. It reports why a cached value cannot be the
// record id. The value may be forged: every client that may write to Redis can change it.
func Validate(id string, t Todo) error {
	if t.ID != id {
		return fmt.Errorf("the value is the record %.80q", t.ID)
	}
	return t.Check()
}

// CheckTime reports why a date cannot be shown, or nil. It accepts the zero time, which
// stands for no date.
func CheckTime(at time.Time) error {
	if year := at.UTC().Year(); year < minYear || year > maxYear {
		return fmt.Errorf("must be in the years %d to %d, is in the year %d", minYear, maxYear, year)
	}
	return nil
}

// CheckSize returns an error that matches ErrUnreadable if the record, which is in a
// store already, is larger than MaxRecordBytes.
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
	return fmt.Errorf("is too large: id, name and description have %d bytes together, the maximum is %d", n, MaxRecordBytes)
}

var errUTF8 = errors.New("must be valid UTF-8")

// CheckID reports why id cannot be the ID of a record, or nil. An ID has 1 to MaxIDBytes
// bytes of valid UTF-8 and must fit, percent-encoded, into one segment of a URL path. So
// it has no control characters, which proxies refuse or remove, and is neither "." nor
// "..", which clients resolve.
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
		return errors.New(`must not be "." or "..": a URL cannot contain them`)
	}
	return nil
}

// CheckNewID is CheckID for a new record. It also refuses the characters of Invisible,
// with which one id can look like another. Existing records may have such ids.
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

// Invisible reports whether r is invisible or changes the direction of text: formatting
// characters (such as direction marks and zero-width spaces), line separators, and the
// characters that Unicode calls ignorable by default.
func Invisible(r rune) bool {
	switch {
	case r < 0x600:
		return r == '\u00ad' || r == '\u034f' // a shortcut for most text
	case 0x3165 <= r && r < 0xfe00:
		return false // ideographs, Hangul and others; TestInvisible checks both shortcuts
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

// faults collects field errors, so that a client can fix all of them at once.
type faults []FieldError

func (f *faults) add(field string, err error) {
	if err != nil {
		*f = append(*f, FieldError{Field: field, Message: err.Error()})
	}
}

// err returns nil, and not a typed nil, if there are no faults.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &ValidationError{Fields: f}
}
