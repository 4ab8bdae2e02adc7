package ids

import (
	"fmt"
	"sync/atomic"
)

// Scan chooses every id once, in order. With repeat it never ends.
func Scan(ids Set, repeat bool) Workload { return scan{ids, repeat} }

type scan struct {
	ids    Set
	repeat bool
}

func (s scan) String() string {
	if s.repeat {
		return fmt.Sprintf("every id of %v in order, repeated", s.ids)
	}
	return fmt.Sprintf("every id of %v once", s.ids)
}

func (s scan) Once() Workload { return Scan(s.ids, false) }

func (s scan) Start() func(uint64) Picker {
	p := &scanPicker{ids: s.ids, turn: turn{length: s.ids.Len(), repeat: s.repeat}}
	return func(uint64) Picker { return p }
}

type scanPicker struct {
	ids Set
	turn
}

func (p *scanPicker) Next(dst []byte) ([]byte, bool) {
	n, ok := p.take()
	if !ok {
		return dst, false
	}
	return p.ids.append(dst, n), true
}

// turn hands out the indexes of a list, each to one caller.
type turn struct {
	length uint64
	repeat bool
	taken  atomic.Uint64
}

func (t *turn) take() (place uint64, ok bool) {
	n := t.taken.Add(1) - 1
	if n < t.length {
		return n, true
	}
	if !t.repeat {
		return 0, false
	}
	return n % t.length, true
}
