package boltstore

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The bytes of format 1, which are in users' files. A change needs a new format byte and a
// decoder for both formats.
func TestRecordGolden(t *testing.T) {
	d := "two\nlines"
	for _, tc := range []struct {
		name string
		t    todo.Todo
		want string
	}{
		{"least", todo.Todo{ID: "1", Name: "n"}, "01000001" + "6e"},
		{"most", todo.Todo{
			ID: "1", Name: "é", Description: &d, Completed: true, Version: 300,
			CreatedAt: time.Date(2024, 2, 29, 23, 59, 59, 123e6, time.UTC),
			UpdatedAt: time.Date(1969, 12, 31, 23, 59, 59, 1, time.UTC),
		}, "010f" + "d804" + "fee988de0cc0a9d33a" + "0101" + "02c3a9" + "0974776f0a6c696e6573"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := appendRecord(nil, tc.t)
			if hex.EncodeToString(got) != tc.want {
				t.Errorf("encoded\n got %x\nwant %s", got, tc.want)
			}
			back, err := decodeAll("1", got)
			if err != nil || !equal(back, tc.t) {
				t.Errorf("decoded %+v, %v", back, err)
			}
			for n := range got {
				if _, err := decodeAll("1", got[:n]); err == nil {
					t.Errorf("the first %d of %d bytes are taken for a record", n, len(got))
				}
			}
			if _, err := decodeAll("1", append(got, 0)); err == nil {
				t.Error("a byte too many is not noticed")
			}
		})
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":             {},
		"unknown format":      {2, 0, 0, 1, 'n'},
		"unknown flag":        {1, 1 << 7, 0, 1, 'n'},
		"nanoseconds":         {1, flagCreated, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xf, 1, 'n'},
		"endless number":      {1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"name past the end":   {1, 0, 0, 2, 'n'},
		"huge length of name": {1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		if got, err := decodeAll("1", b); err == nil {
			t.Errorf("%s: decoded as %+v", name, got)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	d := "d"
	f.Add(appendRecord(nil, todo.Todo{Name: "n"}))
	f.Add(appendRecord(nil, todo.Todo{Name: "n", Description: &d, CreatedAt: time.UnixMilli(1), UpdatedAt: time.UnixMilli(-1), Version: -5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeAll("id", b)
		if err != nil {
			return
		}
		again, err := decodeAll("id", appendRecord(nil, x))
		if err != nil || !equal(again, x) {
			t.Fatalf("%x decodes to %+v, and that, encoded and decoded, to %+v (%v)", b, x, again, err)
		}
	})
}

func equal(a, b todo.Todo) bool {
	if (a.Description == nil) != (b.Description == nil) ||
		a.Description != nil && *a.Description != *b.Description {
		return false
	}
	a.Description, b.Description = nil, nil
	return a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt) &&
		a.ID == b.ID && a.Name == b.Name && a.Completed == b.Completed && a.Version == b.Version
}
