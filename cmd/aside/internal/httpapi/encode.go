package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	mimeJSON       = "application/json"
	mimeMergePatch = "application/merge-patch+json"
	problemJSON    = "application/problem+json"
)

// encodeTodo returns the JSON of a record. Entity tags are computed from it, so there is
// only this encoding.
func encodeTodo(t *todo.Todo) []byte {
	return mustEncode(t)
}

// mustEncode encodes a Todo or a type of this package, which cannot fail. It does not
// escape <, > and &, so that text looks as it was sent. It escapes invisible characters
// and those that change the direction of text: with them one id can look like another.
// JSON parsers read both forms in the same way.
func mustEncode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("httpapi: encoding %T: %v", v, err))
	}
	return escapeInvisible(b.Bytes())
}

// escapeInvisible escapes the characters of todo.Invisible in JSON. They can only be in
// strings.
func escapeInvisible(json []byte) []byte {
	at := nextInvisible(json, 0)
	if at == len(json) {
		return json
	}
	var out []byte
	from := 0
	for ; at < len(json); at = nextInvisible(json, from) {
		r, n := utf8.DecodeRune(json[at:])
		out = append(out, json[from:at]...)
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		from = at + n
	}
	return append(out, json[from:]...)
}

// nextInvisible returns the index of the next such character, or the length of b.
func nextInvisible(b []byte, from int) int {
	for i := from; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if todo.Invisible(r) {
			return i
		}
		i += n
	}
	return len(b)
}
