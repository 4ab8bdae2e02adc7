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

// encodeTodo is the one encoding of a record: entity tags are computed from it.
func encodeTodo(t *todo.Todo) []byte {
	return mustEncode(t)
}

// mustEncode encodes types of this package and Todo, which cannot fail. It does
// not escape <, > and &, so that text looks in the answer as it was sent; but
// characters that cannot be seen or that turn the direction of writing are escaped:
// with them one id would look like another. A program reads both in the same way.
func mustEncode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("httpapi: encoding %T: %v", v, err))
	}
	return escapeInvisible(b.Bytes())
}

// escapeInvisible escapes characters in JSON that todo.Invisible names. Other than in
// strings JSON has none.
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

// nextInvisible returns where the next such character begins, or b's length.
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
