// Package envelope encodes what the cache stores in the shared tier. The first
// byte of every entry says what it is, so that no user data can be mistaken for
// a lease or a fence, whatever its bytes.
//
// The layouts are part of the wire protocol between releases; the Lua scripts
// of the Redis tier read the same bytes. See docs/protocol.md.
package envelope

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
)

// Kinds of entries, by first byte.
const (
	KindValue    = 'V'
	KindNegative = 'N'
	KindLease    = 'L'
	KindFence    = 'F'
)

// TokenLen is the length of a token in bytes.
const TokenLen = 16

// Token identifies one lease, or one write, for ever: 128 random bits. It
// belongs to the fill or the write, not to the client that runs it.
type Token [TokenLen]byte

// NewToken returns a fresh token.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // crypto/rand.Read never fails (Go 1.24)
	return t
}

const (
	formatVersion = 1

	flagS2 = 1 << 0

	// kind, format, flags, codec, version, token, stored
	headerLen = 1 + 1 + 1 + 1 + 8 + TokenLen + 8
)

// MaxPayload bounds a decompressed payload in bytes, so that a corrupt length
// cannot ask for all memory. Redis itself ends at 512 MiB.
const MaxPayload = 512 << 20

// Errors of Decode; each means that the entry is of no use to this release.
var (
	ErrMalformed = errors.New("envelope: malformed entry")
	ErrFormat    = errors.New("envelope: unknown format")
	ErrCodec     = errors.New("envelope: written by another codec")
)

// Entry is a decoded V or N entry.
type Entry struct {
	Negative bool
	Codec    byte
	Version  uint64 // of the record in the primary, 0 if not known
	Token    Token  // of the lease or write that stored it
	Stored   time.Time
	Payload  []byte // nil for a negative entry
}

// Append appends the encoding of e to dst. Payloads of at least compressAbove
// bytes are compressed with S2 if that makes them smaller; a negative
// compressAbove never compresses.
func Append(dst []byte, e Entry, compressAbove int) []byte {
	kind, flags, payload := byte(KindValue), byte(0), e.Payload
	if e.Negative {
		kind, payload = KindNegative, nil
	} else if compressAbove >= 0 && len(payload) >= compressAbove {
		if c := s2.Encode(nil, payload); len(c) < len(payload) {
			flags, payload = flagS2, c
		}
	}
	dst = slices.Grow(dst, headerLen+len(payload))
	dst = append(dst, kind, formatVersion, flags, e.Codec)
	dst = binary.BigEndian.AppendUint64(dst, e.Version)
	dst = append(dst, e.Token[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Stored.UnixMilli()))
	return append(dst, payload...)
}

// Decode decodes a V or N entry. The payload may share b's memory.
func Decode(b []byte, codec byte) (Entry, error) {
	var e Entry
	if len(b) < headerLen || (b[0] != KindValue && b[0] != KindNegative) {
		return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	if b[1] != formatVersion || b[2]&^flagS2 != 0 {
		return e, fmt.Errorf("%w: format %d, flags %#x", ErrFormat, b[1], b[2])
	}
	e.Negative = b[0] == KindNegative
	e.Codec = b[3]
	e.Version = binary.BigEndian.Uint64(b[4:])
	e.Token = Token(b[12:])
	e.Stored = time.UnixMilli(int64(binary.BigEndian.Uint64(b[12+TokenLen:])))
	payload := b[headerLen:]
	if e.Negative {
		if len(payload) != 0 {
			return e, fmt.Errorf("%w: negative entry with a payload", ErrMalformed)
		}
		return e, nil
	}
	if e.Codec != codec {
		return e, fmt.Errorf("%w: codec %d, want %d", ErrCodec, e.Codec, codec)
	}
	if b[2]&flagS2 != 0 {
		n, err := s2.DecodedLen(payload)
		if err != nil || n > MaxPayload {
			return e, fmt.Errorf("%w: bad compressed length", ErrMalformed)
		}
		if payload, err = s2.Decode(nil, payload); err != nil {
			return e, fmt.Errorf("%w: %v", ErrMalformed, err)
		}
	}
	e.Payload = payload
	return e, nil
}
