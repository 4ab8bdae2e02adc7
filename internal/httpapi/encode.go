package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/asidecache/aside/internal/todo"
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
// not escape <, > and &, so that text looks in the answer as it was sent.
func mustEncode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("httpapi: encoding %T: %v", v, err))
	}
	return b.Bytes()
}
