package mongodump

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
)

const readBuffer = 256 << 10 // bytes

// Decompress returns the decompressed content of r if r is compressed with gzip (any
// number of members), otherwise the bytes of r. It checks the first two bytes and does not
// seek. An empty r is not an error.
func Decompress(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, readBuffer)
	magic, err := in.Peek(2)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		return in, nil
	}
	return gzip.NewReader(in)
}
