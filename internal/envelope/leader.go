package envelope

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Leader is what the key of a leader holds: who leads, from when until when by the
// clock of the tier, and the state that the leaders keep there. The Lua script of the
// Redis tier writes the same bytes; this is for in-memory tiers and tests.
type Leader struct {
	// Since is when the leadership was taken or renewed last, Until when it ends, both
	// to the millisecond. Nobody leads before Since: a clock was set back.
	Since, Until time.Time
	Token        Token
	State        []byte // nil: none was ever stored
}

const (
	leaderHead   = "P1" // kind and format
	leaderDigits = 13
	leaderLen    = len(leaderHead) + 2*leaderDigits + TokenLen
)

// LeaderKept is how long the key of a leader lives after each change.
const LeaderKept = 7 * 24 * time.Hour

// Leads reports whether somebody leads at a time.
func (l Leader) Leads(now time.Time) bool { return !now.Before(l.Since) && now.Before(l.Until) }

// Append appends the encoding of l to dst: kind and format, the digits of both times in
// Unix ms, the token and, if there is a state, '=' and the state.
func (l Leader) Append(dst []byte) []byte {
	dst = append(dst, leaderHead...)
	for _, t := range []time.Time{l.Since, l.Until} {
		ms := int64(0)
		if !t.IsZero() {
			ms = t.UnixMilli()
		}
		dst = fmt.Appendf(dst, "%0*d", leaderDigits, ms)
	}
	dst = append(dst, l.Token[:]...)
	if l.State != nil {
		dst = append(append(dst, '='), l.State...)
	}
	return dst
}

// ParseLeader reads what Append writes. Whatever else is there is nobody's: ok is
// false.
func ParseLeader(b []byte) (l Leader, ok bool) {
	head, ok := bytes.CutPrefix(b, []byte(leaderHead))
	if !ok || len(b) < leaderLen || len(b) > leaderLen && b[leaderLen] != '=' {
		return l, false
	}
	for i, t := range []*time.Time{&l.Since, &l.Until} {
		ms, err := strconv.ParseUint(string(head[i*leaderDigits:(i+1)*leaderDigits]), 10, 63)
		if err != nil {
			return Leader{}, false
		}
		if ms != 0 {
			*t = time.UnixMilli(int64(ms))
		}
	}
	l.Token = Token(head[2*leaderDigits:])
	if len(b) > leaderLen {
		l.State = b[leaderLen+1:]
	}
	return l, true
}
