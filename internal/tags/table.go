// Package tags is what a node knows of invalidated tags, and the rules that judge an
// entry with tags by it. docs/reference/protocol.md has the reasons.
package tags

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/asidecache/aside/driver"
)

// Table is a table of tags as a Tier keeps it (driver.Tagging), in memory. The zero
// value is none yet. It is not safe for concurrent use.
type Table struct {
	driver.TagStamp
	Floor   uint64
	Numbers map[string]uint64
}

// Do does what a request asks for, at a time by the Tier's clock.
func (t *Table) Do(req driver.TagRequest, now time.Time) driver.TagTable {
	clock := uint64(max(0, now.UnixMicro()))
	if t.Epoch == 0 || t.Epoch == req.Known.Epoch && (t.Seq < req.Known.Seq || req.Renew) {
		seq := max(clock, t.Seq+1)
		if t.Epoch == req.Known.Epoch {
			seq = max(seq, req.Known.Seq+1)
		}
		*t = Table{TagStamp: driver.TagStamp{Epoch: req.Fresh, Seq: seq}, Floor: seq}
	}
	if len(req.Invalidate) > 0 {
		if t.Numbers == nil {
			t.Numbers = map[string]uint64{}
		}
		t.Seq = max(clock, t.Seq+1)
		if t.Epoch == req.Known.Epoch {
			t.Seq = max(t.Seq, req.Known.Seq+1)
		}
		for _, tag := range req.Invalidate {
			t.Numbers[tag] = t.Seq
		}
		t.bound(req.Max)
	}
	out := driver.TagTable{TagStamp: t.TagStamp, Floor: t.Floor}
	after := uint64(0)
	if t.Epoch == req.Known.Epoch {
		after = req.Known.Seq
	}
	for tag, n := range t.Numbers {
		if n > after {
			out.Changed = append(out.Changed, driver.TagNumber{Tag: tag, Number: n})
		}
	}
	slices.SortFunc(out.Changed, byNumber)
	return out
}

func byNumber(a, b driver.TagNumber) int {
	switch {
	case a.Number < b.Number:
		return -1
	case a.Number > b.Number:
		return 1
	}
	return strings.Compare(a.Tag, b.Tag)
}

// bound has the oldest tags leave that are too many, and those of the same number.
func (t *Table) bound(most int) {
	if len(t.Numbers) <= most {
		return
	}
	all := make([]uint64, 0, len(t.Numbers))
	for _, n := range t.Numbers {
		all = append(all, n)
	}
	slices.Sort(all)
	t.Floor = all[len(all)-most-1]
	for tag, n := range t.Numbers {
		if n <= t.Floor {
			delete(t.Numbers, tag)
		}
	}
}

// Append appends the table as bytes, for a Tier that stores bytes.
func (t *Table) Append(dst []byte) []byte {
	dst = append(dst, 'T', '1')
	for _, n := range []uint64{t.Epoch, t.Seq, t.Floor} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	for tag, n := range t.Numbers {
		dst = binary.BigEndian.AppendUint64(dst, n)
		dst = append(append(dst, byte(len(tag))), tag...)
	}
	return dst
}

var errMalformed = errors.New("tags: not a table")

// Parse reads what Append wrote. Anything else is the zero Table, with an error.
func Parse(b []byte) (t Table, err error) {
	if len(b) < 26 || b[0] != 'T' || b[1] != '1' {
		return t, errMalformed
	}
	t.Epoch, t.Seq, t.Floor = binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:]), binary.BigEndian.Uint64(b[18:])
	for b = b[26:]; len(b) > 0; {
		if len(b) < 9 || len(b) < 9+int(b[8]) {
			return Table{}, errMalformed
		}
		if t.Numbers == nil {
			t.Numbers = map[string]uint64{}
		}
		t.Numbers[string(b[9:9+int(b[8])])] = binary.BigEndian.Uint64(b)
		b = b[9+int(b[8]):]
	}
	return t, nil
}
