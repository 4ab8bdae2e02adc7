package ids

import (
	"net/url"
	"slices"
	"strconv"
)

// List is a list of ids.
type List struct {
	name string
	entries
}

// NewList returns these ids as a set. name describes them in reports. There must be at least
// one id, and none may be in ids twice.
func NewList(name string, ids []string) *List {
	l := &List{name: name}
	for _, id := range ids {
		l.add(id)
	}
	return l
}

func (l *List) String() string { return l.name }

func (l *List) append(dst []byte, n uint64) []byte { return append(dst, l.path(n)...) }

// Named returns the set with another description.
func Named(name string, s Set) Set { return named{s, name} }

type named struct {
	Set
	name string
}

func (n named) String() string { return n.name }

// RangeOf returns the range that has exactly these ids, in any order. ok is false if there is
// none: there are gaps, or ids that are not decimal numbers as a Range writes them.
func RangeOf(ids []string) (r Range, ok bool) {
	numbers := make([]uint64, len(ids))
	for i, id := range ids {
		n, err := strconv.ParseUint(id, 10, 63)
		if err != nil || strconv.FormatUint(n, 10) != id {
			return Range{}, false
		}
		numbers[i] = n
	}
	if len(numbers) == 0 {
		return Range{}, false
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != numbers[0]+uint64(i) {
			return Range{}, false
		}
	}
	return Range{numbers[0], numbers[len(numbers)-1]}, true
}

// entries are ids, percent-encoded, in little memory.
type entries struct {
	paths []byte   // one after the other
	ends  []uint64 // where each ends
}

func (e *entries) add(id string) {
	e.paths = append(e.paths, url.PathEscape(id)...)
	e.ends = append(e.ends, uint64(len(e.paths)))
}

// Len is the number of entries.
func (e *entries) Len() uint64 { return uint64(len(e.ends)) }

func (e *entries) path(place uint64) []byte {
	begin := uint64(0)
	if place > 0 {
		begin = e.ends[place-1]
	}
	return e.paths[begin:e.ends[place]]
}
