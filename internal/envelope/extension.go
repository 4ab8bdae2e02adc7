package envelope

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/asidecache/aside/driver"
)

// Format 3 is format 2 with an extension between header and payload: the length of the
// extension in 2 bytes, then records of an id, the length of its bytes in 2 bytes, and
// the bytes. Only entries that need it have it. A reader skips records that it does not
// know: so a later release may add some without a new format.

const (
	extLife = 1 // 8 bytes, in ms
	extETag = 2
	extTags = 3 // epoch, sequence number, then each tag with its length in one byte
)

const (
	extHead = 1 + 2 // id and length of a record
	tagHead = 8 + 8 // epoch and sequence number
)

// MaxHeaderLen is the most that an entry takes besides its payload, in bytes.
const MaxHeaderLen = header2Len + 2 + math.MaxUint16

// Bounds of what an extension holds. Who makes an Entry keeps to them.
const (
	MaxETag = 256 // bytes
	MaxTags = 16
	MaxTag  = driver.MaxTagLen // bytes; 1 at least
)

// Epoch tells one table of tags from the one that took its place.
type Epoch [8]byte

// extended reports whether an entry needs format 3.
func (e *Entry) extended() bool { return e.Life > 0 || e.ETag != "" || len(e.Tags) > 0 }

func (e *Entry) extensionLen() int {
	n := 3*extHead + 8 + len(e.ETag) + tagHead
	for _, t := range e.Tags {
		n += 1 + len(t)
	}
	return n
}

// appendExtension appends the extension of an entry, behind its length.
func (e *Entry) appendExtension(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0)
	record := func(id byte, n int) {
		dst = binary.BigEndian.AppendUint16(append(dst, id), uint16(n))
	}
	if e.Life > 0 {
		record(extLife, 8)
		dst = binary.BigEndian.AppendUint64(dst, uint64(max(1, e.Life.Milliseconds())))
	}
	if e.ETag != "" {
		record(extETag, len(e.ETag))
		dst = append(dst, e.ETag...)
	}
	if len(e.Tags) > 0 {
		n := tagHead
		for _, t := range e.Tags {
			n += 1 + len(t)
		}
		record(extTags, n)
		dst = append(dst, e.TagEpoch[:]...)
		dst = binary.BigEndian.AppendUint64(dst, e.TagSeq)
		for _, t := range e.Tags {
			dst = append(append(dst, byte(len(t))), t...)
		}
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(len(dst)-at-2))
	return dst
}

// extension returns what follows the header of format 3: the extension, and the
// payload. ok is false if it is cut off.
func extension(b []byte) (ext, payload []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// readExtension reads the records that this release knows.
func (e *Entry) readExtension(ext []byte) error {
	for len(ext) > 0 {
		if len(ext) < extHead || len(ext) < extHead+int(binary.BigEndian.Uint16(ext[1:])) {
			return fmt.Errorf("%w: an extension that is cut off", ErrMalformed)
		}
		id, n := ext[0], int(binary.BigEndian.Uint16(ext[1:]))
		b := ext[extHead : extHead+n]
		ext = ext[extHead+n:]
		switch id {
		case extLife:
			if n != 8 {
				return fmt.Errorf("%w: a life of %d bytes, want 8", ErrMalformed, n)
			}
			e.Life = milliseconds(binary.BigEndian.Uint64(b))
		case extETag:
			e.ETag = string(b)
		case extTags:
			if err := e.readTags(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Entry) readTags(b []byte) error {
	if len(b) < tagHead {
		return fmt.Errorf("%w: tags of %d bytes, want at least %d", ErrMalformed, len(b), tagHead)
	}
	e.TagEpoch, e.TagSeq, e.Tags = Epoch(b), binary.BigEndian.Uint64(b[8:]), nil
	for b = b[tagHead:]; len(b) > 0; {
		n := int(b[0])
		if n == 0 || len(b) < 1+n {
			return fmt.Errorf("%w: a tag that is empty or cut off", ErrMalformed)
		}
		e.Tags = append(e.Tags, string(b[1:1+n]))
		b = b[1+n:]
	}
	return nil
}

// milliseconds makes a duration of a number that may be any.
func milliseconds(n uint64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}
