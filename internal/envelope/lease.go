package envelope

import (
	"fmt"
	"slices"
	"time"
)

// Lease is an entry that stands for a lease. The Lua scripts of the Redis tier read and
// write the same bytes.
//
// Only its holder, who inspects it, and who has use for what it carries read more than
// the first byte. In every format the token follows on the second byte.
type Lease struct {
	Token Token
	// Carried is the value or absence that was there when the lease was granted; nil:
	// nothing was. It ends at Ends, to the millisecond, by the clock of the tier.
	Carried []byte
	Ends    time.Time
}

// Formats of leases, by second byte.
const (
	leaseAlone    = '1' // kind, format, token
	leaseCarrying = '2' // then the digits of Ends, and Carried

	leaseHead    = 2 + TokenLen
	carryingHead = leaseHead + fenceDigits
)

// LeaseOverhead is how many bytes a lease has besides what it carries.
const LeaseOverhead = carryingHead

// AppendLease appends the entry that stands for a lease that carries nothing.
func AppendLease(dst []byte, t Token) []byte { return Lease{Token: t}.Append(dst) }

// Append appends the encoding of l to dst.
func (l Lease) Append(dst []byte) []byte {
	if l.Carried == nil {
		dst = slices.Grow(dst, leaseHead)
		return append(append(dst, KindLease, leaseAlone), l.Token[:]...)
	}
	dst = slices.Grow(dst, carryingHead+len(l.Carried))
	dst = append(append(dst, KindLease, leaseCarrying), l.Token[:]...)
	dst = fmt.Appendf(dst, "%0*d", fenceDigits, l.Ends.UnixMilli())
	return append(dst, l.Carried...)
}

// ParseLease reads a lease. ok is false if it has another format: it is a lease all the
// same. What it carries may be cut, and shares b's memory.
func ParseLease(b []byte) (l Lease, ok bool) {
	if len(b) < leaseHead || b[0] != KindLease {
		return l, false
	}
	l.Token = Token(b[2:])
	switch {
	case b[1] == leaseAlone && len(b) == leaseHead:
		return l, true
	case b[1] != leaseCarrying || len(b) <= carryingHead || b[carryingHead] != KindValue && b[carryingHead] != KindNegative:
		return Lease{}, false
	}
	ms, ok := digits(b[leaseHead:carryingHead])
	if !ok {
		return Lease{}, false
	}
	l.Carried, l.Ends = b[carryingHead:], time.UnixMilli(ms)
	return l, true
}

// Holds reports whether b is the lease of a token, of whatever format.
func Holds(b []byte, t Token) bool {
	return len(b) >= leaseHead && b[0] == KindLease && Token(b[2:]) == t
}

// digits reads a number of decimal digits.
func digits(b []byte) (n int64, ok bool) {
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int64(d-'0')
	}
	return n, true
}
