package mongodump

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// MaxDocumentSize is the maximum size of a document in bytes: 16 MiB, the limit of the
// server, plus the space that the server allows for its own documents.
const MaxDocumentSize = 16<<20 + 16<<10

// Limits of the data that is kept in memory. They are far above the values of real
// dumps: a collection needs about 300 bytes of the prelude, with 64 indexes 10 KiB.
const (
	// MaxPrelude is the maximum size of the prelude, in bytes.
	MaxPrelude = 32 << 20
	// MaxNamespaces is the maximum number of collections.
	MaxNamespaces = 100_000
	// MaxNamespace is the maximum length of a collection name with its database, in
	// bytes. MongoDB's own limit is 255.
	MaxNamespace = 512
)

const (
	magic      = 0x8199e26d
	terminator = 0xffffffff
)

// Document is one document of a collection.
type Document struct {
	Namespace string // as Namespace.String
	Offset    int64  // of its first byte in the decompressed stream
	// Raw has the right length and last byte, but is not validated further. It is
	// valid until the next call of Next.
	Raw bson.Raw
}

// Reader reads one archive from start to end. It is not safe for concurrent use.
type Reader struct {
	in     *bufio.Reader
	off    int64 // bytes consumed of the decompressed stream
	buf    []byte
	err    error // returned by every Next from now on
	header Header

	spaces []*space
	byName map[string]*space
	block  *space // whose block is being read; nil between blocks
}

// NewReader reads the prelude of the archive in r, which may be compressed with gzip. It
// reads ahead, so the position of r afterwards is undefined.
func NewReader(r io.Reader) (*Reader, error) {
	plain, err := Decompress(r)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &Error{Kind: ErrTruncated, Want: "a gzip header", Got: "the end of the stream"}
	case err != nil:
		return nil, &Error{Kind: ErrRead, Want: "an archive", Cause: err}
	}
	in, ok := plain.(*bufio.Reader)
	if !ok {
		in = bufio.NewReaderSize(plain, readBuffer)
	}
	a := &Reader{in: in, byName: make(map[string]*space)}
	if err := a.readPrelude(); err != nil {
		return nil, err
	}
	return a, nil
}

// Header returns the header of the archive.
func (r *Reader) Header() Header { return r.header }

// Namespaces returns the collections of the prelude, in its order, followed by those that
// were found later.
func (r *Reader) Namespaces() []Namespace {
	out := make([]Namespace, len(r.spaces))
	for i, s := range r.spaces {
		out[i] = s.Namespace
	}
	return out
}

// Offset returns how many bytes of the decompressed stream were read.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the next document of any collection, io.EOF at the end of a complete
// archive, or an *Error. Documents returned before an error are valid. An error is final,
// except ErrCRC: then the next call continues with the other collections.
func (r *Reader) Next() (Document, error) {
	for r.err == nil {
		if r.block == nil {
			switch err := r.openBlock(); {
			case errors.Is(err, ErrCRC):
				return Document{}, err
			case err != nil:
				r.err = err
			}
			continue
		}
		at := r.off
		doc, end, err := r.read("a document or a terminator")
		switch {
		case err != nil:
			r.err = err
		case end:
			r.block = nil
		default:
			s := r.block
			s.crc = crc64.Update(s.crc, ecma, doc)
			s.Documents++
			s.Bytes += int64(len(doc))
			return Document{Namespace: s.name, Offset: at, Raw: doc}, nil
		}
	}
	return Document{}, r.err
}

func (r *Reader) readPrelude() error {
	var b [4]byte
	n, err := io.ReadFull(r.in, b[:])
	r.off += int64(n)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return &Error{Kind: ErrRead, Want: "the magic number", Cause: err}
	}
	if binary.LittleEndian.Uint32(b[:]) != magic {
		return &Error{Kind: ErrMagic, Want: "6d e2 99 81", Got: looksLike(b[:n])}
	}
	doc, end, err := r.read("the archive's header")
	if err != nil {
		return err
	}
	if !end {
		r.header, err = parseHeader(doc)
	}
	if end || err != nil {
		return &Error{Kind: ErrHeader, Offset: 4, Want: "the archive's header", Got: gotTerminator(end), Cause: err}
	}
	for {
		at := r.off
		doc, end, err := r.read("a collection's metadata or a terminator")
		if end || err != nil {
			return err
		}
		ns, err := parseMetadata(doc)
		if err != nil {
			return &Error{Kind: ErrHeader, Offset: at, Want: "a collection's metadata", Cause: err}
		}
		if r.off > MaxPrelude {
			return &Error{Kind: ErrBounds, Offset: at, Want: fmt.Sprintf("the prelude's end within %d bytes", MaxPrelude),
				Got: fmt.Sprintf("the metadata of %d collections, and more", len(r.spaces))}
		}
		s, err := r.space(ns.DB, ns.Collection, at)
		if err != nil {
			return err
		}
		if s.listed {
			return &Error{Kind: ErrHeader, Offset: at, Namespace: s.name, Want: "each collection's metadata once"}
		}
		s.Namespace, s.listed = ns, true
	}
}

// openBlock reads a namespace header. If it is the last one of a collection, it also reads
// the terminator after it.
func (r *Reader) openBlock() error {
	if _, err := r.in.Peek(1); err == io.EOF {
		return r.finish()
	}
	const want = "a namespace header"
	at := r.off
	doc, end, err := r.read(want)
	if err != nil {
		return err
	}
	if end {
		return &Error{Kind: ErrHeader, Offset: at, Want: want, Got: gotTerminator(true)}
	}
	h, err := parseBlockHeader(doc)
	if err != nil {
		return &Error{Kind: ErrHeader, Offset: at, Want: want, Cause: err}
	}
	// A collection that is not in the prelude is accepted. If its name is damaged, an
	// error follows: its end is missing, or the CRC of the right collection does not
	// match.
	s, err := r.space(h.db, h.collection, at)
	if err != nil {
		return err
	}
	s.seen = true
	if s.ended {
		return &Error{Kind: ErrHeader, Offset: at, Namespace: s.name, Want: "no block after the collection's end"}
	}
	if !h.eof {
		r.block = s
		return nil
	}
	s.ended = true
	s.Complete = h.crc == s.crc
	endAt := r.off
	if _, end, err = r.read("a terminator"); err != nil {
		return err
	}
	if !end {
		return &Error{Kind: ErrHeader, Offset: endAt, Namespace: s.name, Want: "a terminator", Got: "a document after the collection's end"}
	}
	if !s.Complete {
		return &Error{Kind: ErrCRC, Offset: at, Namespace: s.name,
			Want: fmt.Sprintf("%016x as dumped", h.crc), Got: fmt.Sprintf("%016x from the %d documents read", s.crc, s.Documents)}
	}
	return nil
}

// finish returns an error if the archive ends before the end of a collection.
func (r *Reader) finish() error {
	var missing []string
	for _, s := range r.spaces {
		if s.ended {
			continue
		}
		// The documents of a time series are in its bucket collection. Its own name has
		// no block.
		if b := r.byName[join(s.DB, "system.buckets."+s.Collection)]; s.Type == "timeseries" && !s.seen && b != nil && b.ended {
			continue
		}
		missing = append(missing, printable.Name(s.name))
	}
	if len(missing) == 0 {
		return io.EOF
	}
	const shown = 5
	list := strings.Join(missing[:min(shown, len(missing))], ", ")
	if n := len(missing) - shown; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return &Error{Kind: ErrUnfinished, Offset: r.off, Want: "the end of " + list, Got: "the end of the archive"}
}

// space returns the collection of a name, a new one if the name is new. at is the current
// offset.
func (r *Reader) space(db, collection string, at int64) (*space, error) {
	name := join(db, collection)
	if s := r.byName[name]; s != nil {
		return s, nil
	}
	switch {
	case len(name) > MaxNamespace:
		return nil, &Error{Kind: ErrBounds, Offset: at, Namespace: name, Want: fmt.Sprintf("a name of %d bytes at most", MaxNamespace), Got: fmt.Sprintf("%d", len(name))}
	case len(r.spaces) == MaxNamespaces:
		return nil, &Error{Kind: ErrBounds, Offset: at, Want: fmt.Sprintf("%d collections at most", MaxNamespaces), Got: "one more"}
	}
	s := &space{Namespace: Namespace{DB: db, Collection: collection}, name: name}
	r.byName[name] = s
	r.spaces = append(r.spaces, s)
	return s, nil
}

// read returns the next document. end is true if there is a terminator instead.
func (r *Reader) read(want string) (doc bson.Raw, end bool, err error) {
	at := r.off
	b := r.grow(4)
	n, err := io.ReadFull(r.in, b)
	r.off += int64(n)
	if err != nil {
		return nil, false, r.readError(err, at, want, n)
	}
	size := binary.LittleEndian.Uint32(b)
	if size == terminator {
		return nil, true, nil
	}
	if size < 5 || size > MaxDocumentSize {
		return nil, false, r.fault(ErrLength, at, fmt.Sprintf("%s (a length of 5 to %d, or ff ff ff ff)", want, MaxDocumentSize),
			fmt.Sprintf("% x, a length of %d", b, int32(size)))
	}
	for have := 4; have < int(size); {
		// Read in steps: a wrong length in a short file must not allocate all that
		// memory.
		step := min(int(size), have+readBuffer)
		b = r.grow(step)
		n, err := io.ReadFull(r.in, b[have:])
		have += n
		r.off += int64(n)
		if err != nil {
			return nil, false, r.readError(err, at, fmt.Sprintf("%s (of %d bytes)", want, size), have)
		}
	}
	if last := b[size-1]; last != 0 {
		return nil, false, r.fault(ErrLength, at, fmt.Sprintf("%s of %d bytes that ends in 00", want, size), fmt.Sprintf("%02x", last))
	}
	return bson.Raw(b), false, nil
}

// grow returns the buffer with length n and the same content.
func (r *Reader) grow(n int) []byte {
	if n > len(r.buf) {
		r.buf = slices.Grow(r.buf, n-len(r.buf))
		r.buf = r.buf[:cap(r.buf)]
	}
	return r.buf[:n]
}

func (r *Reader) fault(kind error, at int64, want, got string) *Error {
	e := &Error{Kind: kind, Offset: at, Want: want, Got: got}
	if r.block != nil {
		e.Namespace = r.block.name
	}
	return e
}

func (r *Reader) readError(err error, at int64, want string, n int) *Error {
	e := r.fault(ErrRead, at, want, fmt.Sprintf("%d bytes", n))
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		// Either the stream ends here, or its compressed form does.
		e.Kind = ErrTruncated
		if n == 0 {
			e.Got = "nothing"
		}
	default:
		e.Cause = err
	}
	return e
}

func gotTerminator(end bool) string {
	if end {
		return "a terminator"
	}
	return ""
}

// looksLike recognises the files that people most often use instead of an archive.
func looksLike(b []byte) string {
	switch {
	case len(b) == 0:
		return "an empty stream"
	case len(b) < 4:
		return fmt.Sprintf("% x and the end of the stream", b)
	case b[0] == '{' || b[0] == '[':
		return fmt.Sprintf("%q, which looks like JSON", b)
	}
	if n := binary.LittleEndian.Uint32(b); n >= 5 && n <= MaxDocumentSize {
		return fmt.Sprintf("% x, which looks like a .bson file of mongodump without --archive", b)
	}
	return fmt.Sprintf("% x", b)
}
