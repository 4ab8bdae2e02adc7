// Package record has what all measurements read and write: the record, its
// keys, the order in which they are asked for, and the primary that holds them.
package record

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Todo is the record, of the reference system's shape and size.
type Todo struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Completed   bool   `json:"completed"`
	Version     int64  `json:"version"`
}

// New makes the record that the primary holds for key at a version. Nothing
// but the key's bytes is shared with another record.
func New(key string, version int64) *Todo {
	return &Todo{
		ID:          key,
		Name:        "buy what is on list " + key,
		Description: strings.Clone("two of each, then ask if they have any"),
		Version:     version,
	}
}

// Encode is how every library that stores bytes is told to encode a record.
func Encode(t *Todo) ([]byte, error) { return json.Marshal(t) }

// Decode is the reverse.
func Decode(b []byte) (*Todo, error) {
	t := new(Todo)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, err
	}
	return t, nil
}

// Key is the i-th key.
func Key(i int) string { return fmt.Sprintf("todo:%07d", i) }

// Keys are the first n.
func Keys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = Key(i)
	}
	return keys
}
