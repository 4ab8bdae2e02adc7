package envelope

import (
	"encoding/binary"
	"errors"

	"github.com/golang/snappy"
)

// Payloads are compressed with Snappy. Older releases used S2, an extension of
// Snappy (github.com/klauspost/compress, s2/README.md, "Format Extensions").
// Every Snappy block is an S2 block. An S2 block may also hold repeats, which
// uncompressS2 reads. So each release can read the entries of the other.

var errS2 = errors.New("bad compressed payload")

// uncompress decodes a block of size bytes.
func uncompress(block []byte, size int) ([]byte, error) {
	if b, err := snappy.Decode(make([]byte, size), block); err == nil {
		return b, nil
	}
	return uncompressS2(block, size)
}

// Tags of a block's elements, by their two lowest bits.
const (
	tagLiteral = iota
	tagCopy1
	tagCopy2
	tagCopy4
)

func uncompressS2(block []byte, size int) ([]byte, error) {
	stated, n := binary.Uvarint(block)
	if n <= 0 || stated != uint64(size) {
		return nil, errS2
	}
	in, out, offset := input(block[n:]), make([]byte, 0, size), 0
	for len(in) > 0 {
		tag := in.take(1)
		length := tag >> 2
		if tag&3 == tagLiteral {
			if length >= 60 { // in the next one to four bytes
				length = in.take(length - 59)
			}
			if length++; length <= 0 || length > len(in) || length > size-len(out) {
				return nil, errS2
			}
			out, in = append(out, in[:length]...), in[length:]
			continue
		}
		switch tag & 3 {
		case tagCopy1:
			at := tag>>5<<8 | in.take(1)
			length &= 7
			if at != 0 {
				offset = at
			} else { // S2: the last offset once more
				switch length {
				case 5:
					length = 4 + in.take(1)
				case 6:
					length = 1<<8 + in.take(2)
				case 7:
					length = 1<<16 + in.take(3)
				}
			}
			length += 4
		case tagCopy2:
			offset = in.take(2)
			length++
		case tagCopy4:
			offset = in.take(4)
			length++
		}
		if offset <= 0 || offset > len(out) || length > size-len(out) {
			return nil, errS2
		}
		for range length { // what is copied may be what the copy itself appends
			out = append(out, out[len(out)-offset])
		}
	}
	if in == nil || len(out) != size {
		return nil, errS2
	}
	return out, nil
}

// input is the rest of a block; nil once it was too short.
type input []byte

// take reads a little-endian number of n bytes.
func (in *input) take(n int) (v int) {
	if len(*in) < n {
		*in = nil
		return 0
	}
	for i, b := range (*in)[:n] {
		v |= int(b) << (8 * i)
	}
	*in = (*in)[n:]
	return v
}
