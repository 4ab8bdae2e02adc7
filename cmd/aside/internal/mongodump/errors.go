package mongodump

import (
	"errors"
	"fmt"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// Kinds of errors. Every error of a Reader except io.EOF is an *Error that matches one of
// them.
var (
	// ErrMagic: the stream does not begin like an archive.
	ErrMagic = errors.New("not a mongodump archive")
	// ErrTruncated: the stream ends inside the prelude or inside a block.
	ErrTruncated = errors.New("archive is truncated")
	// ErrLength: the archive has neither a document nor a terminator where one of them
	// must be.
	ErrLength = errors.New("bad document length")
	// ErrHeader: the prelude or a namespace header does not have the right format.
	ErrHeader = errors.New("malformed header")
	// ErrCRC: the documents of a collection differ from those that were dumped.
	ErrCRC = errors.New("CRC mismatch")
	// ErrUnfinished: the stream ends between two blocks, before the end of a collection.
	ErrUnfinished = errors.New("archive ends too early")
	// ErrBounds: the archive lists more than a dump can have, which would fill the
	// memory.
	ErrBounds = errors.New("out of bounds")
	// ErrRead: the underlying reader failed, or the compressed data is corrupt.
	ErrRead = errors.New("cannot read")
)

// Error is an error in an archive, with its place.
type Error struct {
	Kind      error  // one of the sentinels above
	Offset    int64  // in bytes from the start of the decompressed stream
	Namespace string // the collection it concerns, "" if none
	Want, Got string // what was expected there, and what was there
	Cause     error  // of the underlying reader or of the BSON decoder; may be nil
}

// Error returns a text without control characters. Names from the archive may contain
// them.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mongodump: %v at byte %d", e.Kind, e.Offset)
	if e.Namespace != "" {
		b.WriteString(" in " + printable.Name(e.Namespace))
	}
	if e.Want != "" {
		fmt.Fprintf(&b, ": want %s", e.Want)
	}
	if e.Got != "" {
		fmt.Fprintf(&b, ", got %s", e.Got)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return printable.Text(b.String())
}

// Unwrap returns the kind and the cause, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
