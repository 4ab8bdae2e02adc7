package redisl2

import (
	"bytes"
	"errors"
	"strconv"
)

// frames finds where the frames of RESP3 end in a stream, across reads
// (https://redis.io/docs/latest/develop/reference/protocol-spec/). Commands are arrays of
// bulk strings, so it finds those too. It keeps nothing of what they say.
type frames struct {
	first byte // of the frame: its type
	left  int  // elements until its end; 0: between two frames

	line     bool // in the line that begins an element
	kind     byte // of the element
	n        int  // the number in its line
	negative bool
	skip     int // bytes of a string that are still to come
}

// errFrame: these are no frames of a server that we know.
var errFrame = errors.New("redisl2: unexpected frame")

const maxNumber = 1 << 40

// next returns how many bytes of b belong to the frame that is under way, or begins
// here, and whether it ends there.
func (f *frames) next(b []byte) (n int, whole bool, err error) {
	for i := 0; i < len(b); {
		switch {
		case f.skip > 0:
			n := min(f.skip, len(b)-i)
			i += n
			if f.skip -= n; f.skip == 0 && f.element() {
				return i, true, nil
			}
		case !f.line:
			f.line, f.kind, f.n, f.negative = true, b[i], 0, false
			if f.left == 0 {
				f.first, f.left = f.kind, 1
			}
			i++
		default:
			c := b[i]
			i++
			if c != '\n' {
				if err := f.digit(c); err != nil {
					return 0, false, err
				}
				continue
			}
			f.line = false
			if whole, err := f.begun(); whole || err != nil {
				return i, whole, err
			}
		}
	}
	return len(b), false, nil
}

// digit takes a byte of an element's line.
func (f *frames) digit(c byte) error {
	switch f.kind {
	case '$', '*', '>', '%', '~', '=', '!':
	default:
		return nil // the line is the element
	}
	switch {
	case c >= '0' && c <= '9':
		if f.n = 10*f.n + int(c-'0'); f.n > maxNumber {
			return errFrame
		}
	case c == '-':
		f.negative = true
	case c != '\r':
		return errFrame
	}
	return nil
}

// begun is called at the end of an element's line, and reports whether that ends the frame.
func (f *frames) begun() (whole bool, err error) {
	switch f.kind {
	case '$', '=', '!':
		if !f.negative {
			f.skip = f.n + len("\r\n")
			return false, nil
		}
	case '*', '>', '~':
		if !f.negative {
			f.left += f.n
		}
	case '%':
		f.left += 2 * f.n
	case '+', '-', ':', '_', '#', ',', '(':
	default:
		return false, errFrame
	}
	return f.element(), nil
}

// element ends an element, and reports whether that ends the frame.
func (f *frames) element() bool {
	f.left--
	return f.left == 0
}

// between reports whether no frame is under way.
func (f *frames) between() bool { return f.left == 0 }

// appendCommand appends a command: an array of bulk strings.
func appendCommand(b []byte, cmd []string) []byte {
	b = append(strconv.AppendInt(append(b, '*'), int64(len(cmd)), 10), "\r\n"...)
	for _, s := range cmd {
		b = strconv.AppendInt(append(b, '$'), int64(len(s)), 10)
		b = append(append(append(b, "\r\n"...), s...), "\r\n"...)
	}
	return b
}

// bulkString reads a string, or nil, from the answer at the beginning of b.
func bulkString(b []byte) (s, rest []byte, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 2 {
		return nil, nil, errFrame
	}
	line, rest := b[:end-1], b[end+1:]
	if line[0] == '_' {
		return nil, rest, nil
	}
	if line[0] != '$' {
		return nil, nil, errFrame
	}
	n, err := strconv.Atoi(string(line[1:]))
	switch {
	case err == nil && n < 0:
		return nil, rest, nil
	case err != nil || n > len(rest)-2:
		return nil, nil, errFrame
	}
	return rest[:n:n], rest[n+2:], nil
}
