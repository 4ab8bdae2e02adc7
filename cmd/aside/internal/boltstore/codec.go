package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The format of a record's value. The ID is the key and is not repeated. Numbers are
// varints of encoding/binary.
//
//	byte     format, 1
//	byte     flags
//	varint   version
//	varint, uvarint   created: Unix seconds, nanoseconds; if flagCreated
//	varint, uvarint   updated: the same; if flagUpdated
//	uvarint, bytes    name
//	uvarint, bytes    description; if flagDescription, to the value's last byte
//
// JSON decoding would take twice the time of a whole read from the file.
const formatV1 = 1

const (
	flagCompleted = 1 << iota
	flagDescription
	flagCreated
	flagUpdated
	flagsKnown = 1<<iota - 1
)

func appendRecord(b []byte, t todo.Todo) []byte {
	var flags byte
	if t.Completed {
		flags |= flagCompleted
	}
	if t.Description != nil {
		flags |= flagDescription
	}
	if !t.CreatedAt.IsZero() {
		flags |= flagCreated
	}
	if !t.UpdatedAt.IsZero() {
		flags |= flagUpdated
	}
	b = append(b, formatV1, flags)
	b = binary.AppendVarint(b, t.Version)
	for _, at := range [...]time.Time{t.CreatedAt, t.UpdatedAt} {
		if !at.IsZero() {
			b = binary.AppendVarint(b, at.Unix())
			b = binary.AppendUvarint(b, uint64(at.Nanosecond()))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(t.Name)))
	b = append(b, t.Name...)
	if t.Description != nil {
		b = binary.AppendUvarint(b, uint64(len(*t.Description)))
		b = append(b, *t.Description...)
	}
	return b
}

// dates are dates of a record that cannot be shown: earlier versions stored dates of
// any year.
type dates struct{ created, updated time.Time }

// decodeRecord copies the data: b is mapped memory of the file, which is only valid
// until the transaction ends. The returned record does not have the hidden dates.
func decodeRecord(id string, b []byte) (t todo.Todo, hidden dates, err error) {
	if t, err = decodeAll(id, b); err != nil {
		return todo.Todo{}, dates{}, err
	}
	if todo.CheckTime(t.CreatedAt) != nil {
		hidden.created, t.CreatedAt = t.CreatedAt, time.Time{}
	}
	if todo.CheckTime(t.UpdatedAt) != nil {
		hidden.updated, t.UpdatedAt = t.UpdatedAt, time.Time{}
	}
	return t, hidden, nil
}

func decodeAll(id string, b []byte) (todo.Todo, error) {
	r := reader{b: b}
	if format := r.byte(); r.err == nil && format != formatV1 {
		return todo.Todo{}, fmt.Errorf("unknown format %d", format)
	}
	flags := r.byte()
	if r.err == nil && flags&^flagsKnown != 0 {
		return todo.Todo{}, fmt.Errorf("unknown flags %#x", flags)
	}
	t := todo.Todo{ID: id, Completed: flags&flagCompleted != 0}
	t.Version = r.varint()
	if flags&flagCreated != 0 {
		t.CreatedAt = r.time()
	}
	if flags&flagUpdated != 0 {
		t.UpdatedAt = r.time()
	}
	name := r.bytes()
	var description []byte
	if flags&flagDescription != 0 {
		description = r.bytes()
	}
	if r.err != nil {
		return todo.Todo{}, r.err
	}
	if len(r.b) != 0 {
		return todo.Todo{}, fmt.Errorf("%d bytes too many", len(r.b))
	}
	t.Name = string(name)
	if flags&flagDescription != 0 {
		s := string(description)
		t.Description = &s
	}
	return t, nil
}

// reader reads fields from the front of b. After an error it returns zeros.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("truncated")

func (r *reader) byte() byte {
	if r.err != nil || len(r.b) == 0 {
		r.err = errShort
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if !r.advance(n) {
		return 0
	}
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if !r.advance(n) {
		return 0
	}
	return v
}

func (r *reader) advance(n int) bool {
	switch {
	case r.err != nil:
	case n == 0:
		r.err = errShort
	case n < 0:
		r.err = errors.New("number too large")
	default:
		r.b = r.b[n:]
		return true
	}
	return false
}

func (r *reader) time() time.Time {
	seconds, nanos := r.varint(), r.uvarint()
	if r.err == nil && nanos >= uint64(time.Second) {
		r.err = errors.New("nanoseconds out of range")
	}
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
