package plainjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080

	letters = (ones - 1) * 'a' // fills a word that has one byte
)

// odd marks, with the high bit of each, the bytes of w that end a run of ordinary
// ones: quote, backslash, control characters and bytes beyond ASCII. The lowest mark is
// right; those above it may not be.
func odd(w uint64) uint64 {
	return (w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & highs
}

// run returns how many bytes of b come before the first that is odd.
func run(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if m := odd(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(b) && odd(uint64(b[i])|letters) == 0 {
		i++
	}
	return i
}

// text reads a string. The result is part of the input, or is overwritten by the next
// call.
func (d *decoder) text() (s []byte, ok bool) {
	if !d.skip('"') {
		return nil, false
	}
	in := d.in[d.at:]
	n := run(in)
	if n < len(in) && in[n] == '"' {
		d.at += n + 1
		return in[:n], true
	}
	ascii, out := true, d.scratch[:0]
	from := 0 // in[from:n] is not in out yet
	for ; n < len(in); n++ {
		switch c := in[n]; {
		case c == '"':
			s = in[:n]
			if from > 0 {
				out = append(out, in[from:n]...)
				d.scratch, s = out, out
			}
			d.at += n + 1
			return s, ascii || utf8.Valid(s)
		case c == '\\':
			out = append(out, in[from:n]...)
			var size int
			if out, size = unescape(out, in[n:]); size == 0 {
				return nil, false
			}
			n += size - 1
			from = n + 1
		case c < ' ':
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false
}

// unescape appends the character that in begins with, and returns how long its escape
// is: 0 if it is none, or one half of a surrogate pair, which may be broken.
func unescape(out, in []byte) ([]byte, int) {
	if len(in) < 2 {
		return out, 0
	}
	switch c := in[1]; c {
	case '"', '\\', '/':
		return append(out, c), 2
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	case 'u':
		if len(in) < 6 {
			return out, 0
		}
		var r rune
		for _, c := range in[2:6] {
			switch {
			case '0' <= c && c <= '9':
				r = r<<4 | rune(c-'0')
			case 'a' <= c && c <= 'f':
				r = r<<4 | rune(c-'a'+10)
			case 'A' <= c && c <= 'F':
				r = r<<4 | rune(c-'A'+10)
			default:
				return out, 0
			}
		}
		if !utf8.ValidRune(r) {
			return out, 0
		}
		return utf8.AppendRune(out, r), 6
	}
	return out, 0
}
