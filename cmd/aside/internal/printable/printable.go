// Package printable makes text of strangers safe to print. A terminal obeys
// escape sequences, and characters that turn the direction of writing, or that
// cannot be seen, make one name look like another.
package printable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with every character that a terminal would not show as it is
// (controls, formatting, bytes that are no UTF-8) written as a Go string literal
// has it, such as \x1b or \u202e. New lines and tabs stay.
func Text(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, !shows(r):
			q := strconv.Quote(s[:n])
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

func clean(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !shows(r) {
			return false
		}
	}
	return true
}

func shows(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' }

// maxName bounds what Name shows, in bytes.
const maxName = 120

// Name returns a name for a message on one line: as it is if it is plain, quoted
// if it is not, and cut if it is long.
func Name(s string) string {
	more := ""
	if len(s) > maxName {
		cut := maxName
		for cut > maxName-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s, more = s[:cut], "..."
	}
	for _, r := range s {
		if r == utf8.RuneError || r == '"' || r == '\\' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return strconv.Quote(s) + more
		}
	}
	if s == "" {
		return `""`
	}
	return s + more
}

// Error returns err with a message for which Text has been called. errors.Is and
// errors.As look through it. Error(nil) is nil.
func Error(err error) error {
	if err == nil || clean(err.Error()) {
		return err
	}
	return &safeError{err}
}

type safeError struct{ err error }

func (e *safeError) Error() string { return Text(e.err.Error()) }
func (e *safeError) Unwrap() error { return e.err }
