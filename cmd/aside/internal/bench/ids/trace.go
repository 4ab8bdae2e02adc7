package ids

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Trace is a list of ids in the order of the requests.
type Trace struct {
	name string
	entries
}

// faultsShown is the maximum number of invalid lines in an error.
const faultsShown = 5

// maxLine is longer than any id. Longer lines are not kept.
const maxLine = 4 << 10

// ReadTrace reads one id per line, not percent-encoded. Lines end with LF or CR LF. If a
// line is not an id, it returns an error that names the line. name is the name of the
// trace in reports. All ids stay in memory.
func ReadTrace(r io.Reader, name string) (*Trace, error) {
	t := &Trace{name: name}
	in := bufio.NewReaderSize(r, maxLine)
	var faults []string
	bad := 0
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if err == nil || len(line) > 0 {
			id := string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
			fault := todo.CheckID(id)
			if long {
				fault = fmt.Errorf("must be at most %d bytes", todo.MaxIDBytes)
			}
			if fault == nil {
				t.add(id)
			} else if bad++; bad <= faultsShown {
				faults = append(faults, fmt.Sprintf("line %d: an id %v", number, fault))
			}
		}
		if err != nil {
			break
		}
	}
	switch {
	case bad > faultsShown:
		return nil, fmt.Errorf("%s; and %d more invalid lines", strings.Join(faults, "; "), bad-faultsShown)
	case bad > 0:
		return nil, errors.New(strings.Join(faults, "; "))
	case len(t.ends) == 0:
		return nil, errors.New("it is empty: it must have one id per line")
	}
	return t, nil
}

// Replay chooses the entries of a trace in order. With repeat it never ends.
func Replay(t *Trace, repeat bool) Workload { return replay{t, repeat} }

type replay struct {
	*Trace
	repeat bool
}

func (r replay) String() string {
	s := fmt.Sprintf("the %d ids of %s in order", r.Len(), r.name)
	if r.repeat {
		s += ", repeated"
	}
	return s
}

func (r replay) Once() Workload { return Replay(r.Trace, false) }

func (r replay) Start() func(uint64) Picker {
	p := &replayPicker{trace: r.Trace, turn: turn{length: r.Len(), repeat: r.repeat}}
	return func(uint64) Picker { return p }
}

type replayPicker struct {
	trace *Trace
	turn
}

func (p *replayPicker) Next(dst []byte) ([]byte, bool) {
	place, ok := p.take()
	if !ok {
		return dst, false
	}
	return append(dst, p.trace.path(place)...), true
}
