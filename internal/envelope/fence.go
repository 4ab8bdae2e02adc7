package envelope

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// Fence is an entry that forbids to store anything under its key: writes are under
// way. The Lua scripts of the Redis tier change the same bytes; this is for
// in-memory tiers and tests.
type Fence struct {
	// Shared: more than one writer has touched the key, or an invalidation, so
	// that no writer may publish.
	Shared  bool
	Writers []Writer
	// Since is the newest version that a feed has told of since the fence was put up:
	// only a value of this version or a newer one may be published. 0: none.
	Since uint64
}

// Writer is one writer's record in a Fence.
type Writer struct {
	Token Token // Common: of several writers
	// Ends is when the writer's fence ends, to the millisecond, by the clock of the
	// tier; zero: when the key does.
	Ends time.Time
}

// sinceMark is how the token of the record begins that keeps Since; the version
// follows. A release that does not know it takes it for one more writer: then nobody
// publishes, and the fence stands until its key ends.
const sinceMark = "\xff\xff\xff\xff\xff\xff\xff\xff"

// Common is the token of the record that stands for all writers beyond MaxWriters.
var Common Token

// MaxWriters is how many writers of one key have a record of their own.
const MaxWriters = 32

// Lengths in a fence: its kind and format, the digits of an end, a record.
const (
	fenceHead   = 2
	fenceDigits = 13
	fenceRecord = TokenLen + fenceDigits
	// MaxFence is how long a fence is at most, in bytes.
	MaxFence = 1 << 20
)

// Append appends the encoding of f to dst: KindFence, '0' or, if it is shared,
// '1', then each writer's token and the digits of its end in Unix ms, then a record
// for Since.
func (f Fence) Append(dst []byte) []byte {
	format := byte('0')
	if f.Shared {
		format = '1'
	}
	dst = append(dst, KindFence, format)
	for _, w := range f.Writers {
		dst = append(dst, w.Token[:]...)
		ms := int64(0)
		if !w.Ends.IsZero() {
			ms = w.Ends.UnixMilli()
		}
		dst = fmt.Appendf(dst, "%0*d", fenceDigits, ms)
	}
	if f.Since != 0 {
		dst = append(dst, sinceMark...)
		dst = binary.BigEndian.AppendUint64(dst, f.Since)
		dst = fmt.Appendf(dst, "%0*d", fenceDigits, 0)
	}
	return dst
}

// ParseFence reads a fence of the only format so far. Whatever else begins with
// KindFence is a fence too, of a later release perhaps, and stands until the key
// ends: ok is false.
func ParseFence(b []byte) (f Fence, ok bool) {
	if len(b) <= fenceHead || len(b) > MaxFence || b[0] != KindFence || b[1] != '0' && b[1] != '1' || (len(b)-fenceHead)%fenceRecord != 0 {
		return f, false
	}
	f.Shared = b[1] == '1'
	for b = b[fenceHead:]; len(b) > 0; b = b[fenceRecord:] {
		ms, ok := digits(b[TokenLen:fenceRecord])
		if !ok {
			return Fence{}, false
		}
		if version, ok := bytes.CutPrefix(b[:TokenLen], []byte(sinceMark)); ok {
			f.Since = max(f.Since, binary.BigEndian.Uint64(version))
			continue
		}
		w := Writer{Token: Token(b)}
		if ms != 0 {
			w.Ends = time.UnixMilli(ms)
		}
		f.Writers = append(f.Writers, w)
	}
	return f, true
}

// MarkFence returns a fence of any format with its mark set, by which no writer may
// publish: the lowest bit of the second byte, which holds for all formats for ever.
func MarkFence(b []byte) []byte {
	m := bytes.Clone(b)
	if len(m) < fenceHead {
		m = append(m, '0')
	}
	m[1] |= 1
	return m
}
