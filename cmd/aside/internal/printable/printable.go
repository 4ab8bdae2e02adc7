// Package printable makes text from unknown sources safe to print. A terminal executes
// escape sequences. With invisible characters, or characters that change the direction of
// text, one name can look like another.
package printable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text escapes control characters, formatting characters and invalid UTF-8 in s as in a Go
// string literal, such as \x1b or \u202e. It keeps newlines and tabs.
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

// maxName is the maximum length of the result of Name, in bytes.
const maxName = 120

// Name returns a name for a message of one line. It quotes a name with special characters,
// and cuts a long name.
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

// Error returns err with its message escaped by Text. errors.Is and errors.As work as
// before. Error(nil) is nil.
func Error(err error) error {
	if err == nil || clean(err.Error()) {
		return err
	}
	return &safeError{err}
}

type safeError struct{ err error }

func (e *safeError) Error() string { return Text(e.err.Error()) }
func (e *safeError) Unwrap() error { return e.err }
