package todo

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what the Service writes, in bytes of UTF-8. Older records that pass
// them are read as they are.
const (
	MaxIDBytes          = 256
	MaxNameBytes        = 1 << 10
	MaxDescriptionBytes = 64 << 10
)

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
		return errors.New("must be valid UTF-8")
	case strings.ContainsFunc(id, unicode.IsControl):
		return errors.New("must not contain control characters")
	case id == "." || id == "..":
		return errors.New(`must not be "." or "..", which a URL cannot name`)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return errors.New("must not be empty or blank")
	case len(name) > MaxNameBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", MaxNameBytes, len(name))
	case !utf8.ValidString(name):
		return errors.New("must be valid UTF-8")
	}
	return nil
}

func checkDescription(d *string) error {
	switch {
	case d == nil:
	case len(*d) > MaxDescriptionBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", MaxDescriptionBytes, len(*d))
	case !utf8.ValidString(*d):
		return errors.New("must be valid UTF-8")
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
