package ids

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Range is the ids from First to Last, including both.
type Range struct{ First, Last uint64 }

// ParseRange reads "FIRST-LAST", or "ID" for a single id.
func ParseRange(s string) (Range, error) {
	first, last, two := strings.Cut(s, "-")
	if !two {
		last = first
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 63)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 63)
	switch {
	case errA != nil || errB != nil:
		return Range{}, fmt.Errorf("must be FIRST-LAST, such as 1-200000, is %q", s)
	case a > b:
		return Range{}, errors.New("the first id is after the last: " + s)
	}
	return Range{a, b}, nil
}

// UnmarshalText is ParseRange, for flags.
func (r *Range) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRange(string(text))
	return err
}

// Len is the number of ids.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// append appends the id First + n.
func (r Range) append(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, r.First+n, 10) }
