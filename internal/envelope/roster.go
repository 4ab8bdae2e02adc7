package envelope

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Announced is one node's record in a roster. The Lua script of the Redis tier writes
// the same bytes; this is for in-memory tiers and tests.
type Announced struct {
	// Since is when the node announced itself, Until when that ends, both to the
	// millisecond, by the clock of the tier. Before Since it is not there: a clock was
	// set back.
	Since, Until time.Time
	Node         string
	Data         []byte
}

const (
	rosterHead = "R1" // kind and format
	// Digits of a time, of the length of a name and of that of the data.
	rosterTime, rosterName, rosterData = 13, 3, 6
	rosterRecord                       = 2*rosterTime + rosterName + rosterData
)

// Here reports whether the node is there at a time.
func (a Announced) Here(now time.Time) bool { return !now.Before(a.Since) && now.Before(a.Until) }

// AppendRoster appends the encoding of a roster to dst: kind and format, then for each
// node the digits of both times in Unix ms, of the lengths of name and data, the name
// and the data.
func AppendRoster(dst []byte, all []Announced) []byte {
	dst = append(dst, rosterHead...)
	for _, a := range all {
		dst = fmt.Appendf(dst, "%0*d%0*d%0*d%0*d", rosterTime, a.Since.UnixMilli(), rosterTime, a.Until.UnixMilli(), rosterName, len(a.Node), rosterData, len(a.Data))
		dst = append(append(dst, a.Node...), a.Data...)
	}
	return dst
}

// ParseRoster reads what AppendRoster writes. Whatever else is there is nobody's: ok
// is false.
func ParseRoster(b []byte) (all []Announced, ok bool) {
	b, ok = bytes.CutPrefix(b, []byte(rosterHead))
	for ok && len(b) > 0 {
		if len(b) < rosterRecord {
			return nil, false
		}
		var n [4]int64
		at := 0
		for i, width := range []int{rosterTime, rosterTime, rosterName, rosterData} {
			u, err := strconv.ParseUint(string(b[at:at+width]), 10, 63)
			if err != nil {
				return nil, false
			}
			n[i] = int64(u)
			at += width
		}
		b = b[at:]
		if n[2]+n[3] > int64(len(b)) {
			return nil, false
		}
		all = append(all, Announced{
			Since: time.UnixMilli(n[0]), Until: time.UnixMilli(n[1]),
			Node: string(b[:n[2]]), Data: b[n[2] : n[2]+n[3]],
		})
		b = b[n[2]+n[3]:]
	}
	return all, ok
}
