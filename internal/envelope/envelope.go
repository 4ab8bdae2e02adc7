// Package envelope encodes what the cache stores in the shared tier. The first
// byte of every entry says what it is, so that no user data can be mistaken for
// a lease or a fence, whatever its bytes.
//
// The layouts are part of the wire protocol between releases; the Lua scripts
// of the Redis tier read the same bytes. See docs/reference/protocol.md.
package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"reflect"
	"slices"
	"time"

	"github.com/golang/snappy"

	"github.com/asidecache/aside/driver"
)

// Kinds of entries, by first byte.
const (
	KindValue    = 'V'
	KindNegative = 'N'
	KindLease    = 'L'
	KindFence    = 'F'
)

// TokenLen is the length of a token in bytes.
const TokenLen = driver.TokenLen

// Token identifies one lease or one write. It belongs to the fill or the write, not
// to the client that runs it.
type Token = driver.Token

// Node is what the tokens of a node begin with.
type Node = [driver.NodeLen]byte

// NewToken returns a fresh token of no node.
func NewToken() Token {
	return draw(Token{}, 0)
}

// NewTokenOf returns a fresh token of a node.
func NewTokenOf(n Node) Token {
	var t Token
	copy(t[:], n[:])
	return draw(t, len(n))
}

// draw draws what comes behind the first bytes of a token.
func draw(t Token, first int) Token {
	for {
		_, _ = rand.Read(t[first:]) // crypto/rand.Read never fails (Go 1.24)
		if !reserved(t) {
			return t
		}
	}
}

// reserved reports whether a token means something else in a fence.
func reserved(t Token) bool { return t == Common || string(t[:len(sinceMark)]) == sinceMark }

// Formats of V and N entries, by second byte. Append writes the oldest but the first
// that holds the entry. Decode reads all of them: while a new release is rolled out,
// they are in use side by side.
const (
	format1 = 1
	format2 = 2 // adds StaleFor, Schema and Type
	format3 = 3 // adds an extension, see extension.go
)

const (
	flagS2        = 1 << 0 // the payload is compressed, see s2.go
	flagElsewhere = 1 << 1
	flagKeepStale = 1 << 2 // StaleFor is not 0; scripts look at this bit first

	// kind, format, flags, codec, version, token, stored
	header1Len = 1 + 1 + 1 + 1 + 8 + TokenLen + 8
	// the same, then StaleFor, schema, type
	header2Len = header1Len + 8 + 4 + 4
)

// HeaderLen is the number of bytes that an entry without an extension takes besides its
// payload.
const HeaderLen = header2Len

// Errors of Decode. Each means that the entry is of no use to its reader, and
// that a new one may take its place.
var (
	ErrMalformed = errors.New("envelope: malformed entry")
	ErrFormat    = errors.New("envelope: unknown format")
	ErrCodec     = errors.New("envelope: written by another codec")
	ErrSchema    = errors.New("envelope: written for another schema version")
	ErrType      = errors.New("envelope: written for values of another type")
	ErrTooLarge  = errors.New("envelope: entry too large")
)

// Entry is a decoded V or N entry.
type Entry struct {
	Negative bool
	// Elsewhere marks a V entry without a value: the value is too large for the
	// shared tier, and each node loads it for itself.
	Elsewhere bool
	Codec     byte
	Schema    uint32        // of the application's value, see TypeOf for Type
	Type      uint32        // of the value; 0: not known
	Version   uint64        // of the record in the primary; 0: not known
	Token     Token         // of the lease or write that stored it
	Stored    time.Time     // to the millisecond
	StaleFor  time.Duration // the last part of its life, in which it is stale
	Payload   []byte        // nil without a value

	// What only format 3 has.
	Life     time.Duration // until it is stale, if that is its own; 0: the cache's TTL
	ETag     string
	Tags     []string
	TagEpoch Epoch // the table of tags that the load or write behind the entry began with
	TagSeq   uint64
}

// TypeOf returns a number that stands for a type: it depends on the type's name.
func TypeOf(t reflect.Type) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(t.String()))
	return max(1, h.Sum32())
}

// Append appends the encoding of e to dst. Payloads of at least compressAbove
// bytes are compressed with Snappy if that makes them smaller; a negative
// compressAbove never compresses.
func Append(dst []byte, e Entry, compressAbove int) []byte {
	kind, flags, payload := byte(KindValue), byte(0), e.Payload
	switch {
	case e.Negative:
		kind, payload = KindNegative, nil
	case e.Elsewhere:
		flags, payload = flagElsewhere, nil
	case compressAbove >= 0 && len(payload) >= compressAbove:
		if c := snappy.Encode(nil, payload); len(c) < len(payload) {
			flags, payload = flagS2, c
		}
	}
	if e.StaleFor > 0 {
		flags |= flagKeepStale
	}
	format, n := byte(format2), header2Len+len(payload)
	if e.extended() {
		format, n = format3, n+2+e.extensionLen()
	}
	dst = slices.Grow(dst, n)
	dst = append(dst, kind, format, flags, e.Codec)
	dst = binary.BigEndian.AppendUint64(dst, e.Version)
	dst = append(dst, e.Token[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Stored.UnixMilli()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(max(0, e.StaleFor.Milliseconds())))
	dst = binary.BigEndian.AppendUint32(dst, e.Schema)
	dst = binary.BigEndian.AppendUint32(dst, e.Type)
	if format == format3 {
		dst = e.appendExtension(dst)
	}
	return append(dst, payload...)
}

// Reader says which entries are of use to a cache.
type Reader struct {
	Codec        byte
	Schema, Type uint32
	// MaxPayload bounds a payload in bytes, uncompressed; 0: no bound. A stated
	// length is checked before memory is taken for it.
	MaxPayload int
}

// Decode decodes a V or N entry. The payload may share b's memory.
func (r Reader) Decode(b []byte) (Entry, error) {
	var e Entry
	if len(b) < header1Len || b[0] != KindValue && b[0] != KindNegative {
		return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	flags, known := b[2], byte(flagS2)
	payload := b[header1Len:]
	var ext []byte
	switch b[1] {
	case format1:
		e.Schema, e.Type = r.Schema, r.Type // it does not say; the codec must do
	case format2, format3:
		if len(b) < header2Len {
			return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
		}
		known |= flagElsewhere | flagKeepStale
		more := b[header1Len:header2Len]
		e.StaleFor = milliseconds(binary.BigEndian.Uint64(more))
		e.Schema, e.Type = binary.BigEndian.Uint32(more[8:]), binary.BigEndian.Uint32(more[12:])
		payload = b[header2Len:]
		if b[1] == format3 {
			var ok bool
			if ext, payload, ok = extension(payload); !ok {
				return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
			}
		}
	default:
		return e, fmt.Errorf("%w: format %d", ErrFormat, b[1])
	}
	if flags&^known != 0 {
		return e, fmt.Errorf("%w: format %d, flags %#x", ErrFormat, b[1], flags)
	}
	e.Negative = b[0] == KindNegative
	e.Elsewhere = flags&flagElsewhere != 0
	e.Codec = b[3]
	e.Version = binary.BigEndian.Uint64(b[4:])
	e.Token = Token(b[12:])
	e.Stored = time.UnixMilli(int64(binary.BigEndian.Uint64(b[12+TokenLen:])))
	if err := e.readExtension(ext); err != nil {
		return e, err
	}
	switch {
	case e.Type != r.Type && e.Type != 0 && r.Type != 0:
		return e, ErrType
	case e.Negative || e.Elsewhere:
		if len(payload) != 0 {
			return e, fmt.Errorf("%w: a payload of %d bytes where none belongs", ErrMalformed, len(payload))
		}
		return e, nil
	case e.Schema != r.Schema:
		return e, fmt.Errorf("%w: %d, want %d", ErrSchema, e.Schema, r.Schema)
	case e.Codec != r.Codec:
		return e, fmt.Errorf("%w: codec %d, want %d", ErrCodec, e.Codec, r.Codec)
	}
	size := len(payload)
	if flags&flagS2 != 0 {
		n, err := snappy.DecodedLen(payload)
		if err != nil {
			return e, fmt.Errorf("%w: bad compressed length", ErrMalformed)
		}
		size = n
	}
	if r.MaxPayload > 0 && size > r.MaxPayload {
		return e, fmt.Errorf("%w: %d bytes, want at most %d", ErrTooLarge, size, r.MaxPayload)
	}
	if flags&flagS2 != 0 {
		var err error
		if payload, err = uncompress(payload, size); err != nil {
			return e, fmt.Errorf("%w: %v", ErrMalformed, err)
		}
	}
	e.Payload = payload
	return e, nil
}

// Head returns the version and the token of a V or N entry of a known format, without
// decoding the rest of it.
func Head(b []byte) (version uint64, t Token, ok bool) {
	if len(b) < header1Len || b[0] != KindValue && b[0] != KindNegative {
		return 0, t, false
	}
	if b[1] != format1 && (b[1] != format2 && b[1] != format3 || len(b) < header2Len) {
		return 0, t, false
	}
	return binary.BigEndian.Uint64(b[4:]), Token(b[12:]), true
}

// Compressed reports whether the payload of a V entry is compressed.
func Compressed(b []byte) bool { return len(b) > 2 && b[2]&flagS2 != 0 }

// StaleFor returns how long before the end of its life a V entry becomes stale,
// without decoding the rest of it.
func StaleFor(b []byte) time.Duration {
	if len(b) < header2Len || b[0] != KindValue || b[1] != format2 && b[1] != format3 || b[2]&flagKeepStale == 0 {
		return 0
	}
	return milliseconds(binary.BigEndian.Uint64(b[header1Len:]))
}
