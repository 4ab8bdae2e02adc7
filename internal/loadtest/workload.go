package loadtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
)

// Workload says which records are asked for. It serves one run.
type Workload interface {
	// Picker returns the choices of one user, 0 being the first. With the same
	// seed a user makes the same choices in every run.
	Picker(user int) Picker
	// String is how a report names the workload.
	String() string
}

// Picker is used by one goroutine.
type Picker interface {
	// Next appends the next ID to dst as a segment of a URL's path, which is to
	// say percent-encoded. ok is false if there is none left, which ends the run.
	Next(dst []byte) (path []byte, ok bool)
}

// Range is the IDs from First to Last, both included.
type Range struct{ First, Last uint64 }

// ParseRange reads "FIRST-LAST", or "ID" for one alone.
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

// Len is the number of IDs.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

func (r Range) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

// Uniform asks for every ID with the same chance, for ever.
func Uniform(ids Range, seed uint64) Workload { return uniform{ids, seed} }

type uniform struct {
	ids  Range
	seed uint64
}

func (u uniform) String() string { return fmt.Sprintf("uniform over %v, seed %d", u.ids, u.seed) }

func (u uniform) Picker(user int) Picker {
	return &uniformPicker{ids: u.ids, rng: rand.New(rand.NewPCG(u.seed, uint64(user)))}
}

type uniformPicker struct {
	ids Range
	rng *rand.Rand
}

func (p *uniformPicker) Next(dst []byte) ([]byte, bool) {
	return strconv.AppendUint(dst, p.ids.First+p.rng.Uint64N(p.ids.Len()), 10), true
}

// Scan asks for every ID once, in order, whichever user is free.
func Scan(ids Range) Workload { return &scan{ids: ids} }

type scan struct {
	ids  Range
	next atomic.Uint64 // how many were given out
}

func (s *scan) String() string    { return fmt.Sprintf("every id of %v once", s.ids) }
func (s *scan) Picker(int) Picker { return s }

func (s *scan) Next(dst []byte) ([]byte, bool) {
	n := s.next.Add(1) - 1
	if n >= s.ids.Len() {
		return dst, false
	}
	return strconv.AppendUint(dst, s.ids.First+n, 10), true
}
