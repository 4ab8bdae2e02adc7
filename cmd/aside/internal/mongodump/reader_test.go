package mongodump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
)

// read returns the documents of an archive as "namespace offset bytes", and its final error.
func read(in io.Reader) (docs []string, err error) {
	r, err := mongodump.NewReader(in)
	if err != nil {
		return nil, err
	}
	for {
		d, err := r.Next()
		if err != nil {
			return docs, err
		}
		docs = append(docs, fmt.Sprintf("%s %d %x", d.Namespace, d.Offset, []byte(d.Raw)))
	}
}

func todo(id string) []byte { return dumptest.Doc("id", id, "name", "todo "+id) }

// sample returns an archive with interleaved blocks, in another order than the prelude, and
// an empty collection.
func sample() []byte {
	return dumptest.New("test.users", "test.empty", "test.todos").
		Add("test.todos", todo("1"), todo("2")).
		End("test.empty").
		Add("test.users", dumptest.Doc("email", "a@example.org")).
		Add("test.todos", todo("3")).
		Add("test.users", dumptest.Doc("email", "b@example.org")).
		End("test.todos").
		Add("test.users", dumptest.Doc("email", "c@example.org")).
		End("test.users").
		Bytes()
}

func compress(t testing.TB, members ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range members {
		w := gzip.NewWriter(&b)
		if _, err := w.Write(m); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestInterleavedBlocks(t *testing.T) {
	r, err := mongodump.NewReader(bytes.NewReader(sample()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Header(), (mongodump.Header{FormatVersion: "0.1", ServerVersion: "7.0.0", ToolVersion: "100.9.0"}); got != want {
		t.Errorf("header: got %+v, want %+v", got, want)
	}
	var order []string
	raw := sample()
	for {
		d, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, d.Namespace)
		if at := raw[d.Offset:]; !bytes.HasPrefix(at, d.Raw) {
			t.Errorf("offset %d does not point at the document", d.Offset)
		}
	}
	if want := strings.Fields("test.todos test.todos test.users test.todos test.users test.users"); !reflect.DeepEqual(order, want) {
		t.Errorf("got documents of %v, want %v", order, want)
	}
	for i, want := range []struct {
		name string
		docs int64
	}{{"test.users", 3}, {"test.empty", 0}, {"test.todos", 3}} {
		got := r.Namespaces()[i]
		if got.String() != want.name || got.Documents != want.docs || !got.Complete || got.Type != "collection" {
			t.Errorf("namespace %d: got %+v, want %+v, complete", i, got, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("Next after the end: got %v, want io.EOF", err)
	}
}

func TestGzipIsRecognised(t *testing.T) {
	raw := sample()
	want, err := read(bytes.NewReader(raw))
	if err != io.EOF {
		t.Fatal(err)
	}
	half := len(raw) / 2
	for name, in := range map[string][]byte{
		"one member":    compress(t, raw),
		"three members": compress(t, raw[:3], raw[3:half], raw[half:]),
	} {
		// One byte per read, as a pipe may do.
		got, err := read(iotest.OneByteReader(bytes.NewReader(in)))
		if err != io.EOF || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %d documents and %v, want %d and io.EOF", name, len(got), err, len(want))
		}
	}
}

// TestFaults: each fault has its own kind, with its place and collection. The documents before
// it are returned.
func TestFaults(t *testing.T) {
	base := func() *dumptest.Writer {
		return dumptest.New("test.todos").Add("test.todos", todo("1"), todo("2"))
	}
	prelude := dumptest.New("test.todos").Len()
	afterTwo := base().Len()
	u32 := func(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
	noNUL := todo("3")
	noNUL[len(noNUL)-1] = 1
	whole := base().End("test.todos").Bytes()

	for _, c := range []struct {
		name      string
		in        []byte
		kind      error
		offset    int64
		namespace string
		docs      int
		says      string
	}{
		{"empty", nil, mongodump.ErrMagic, 0, "", 0, "empty stream"},
		{"short magic", whole[:3], mongodump.ErrMagic, 0, "", 0, "6d e2 99"},
		{"JSON", []byte(`{"id":"1"}`), mongodump.ErrMagic, 0, "", 0, "JSON"},
		{"bare BSON", todo("1"), mongodump.ErrMagic, 0, "", 0, ".bson file"},
		{"no header", append(bytes.Clone(whole[:4]), dumptest.Terminator...), mongodump.ErrHeader, 4, "", 0, "archive's header"},
		{"cut in the header", whole[:40], mongodump.ErrTruncated, 4, "", 0, "36 bytes"},
		{"cut in the prelude", whole[:prelude-10], mongodump.ErrTruncated, 0, "", 0, "metadata"},
		{"cut before the prelude's end", whole[:prelude-4], mongodump.ErrTruncated, prelude - 4, "", 0, "nothing"},
		{"listed twice", dumptest.New("a.b", "a.b").Bytes(), mongodump.ErrHeader, 0, "a.b", 0, "once"},
		{"cut after the prelude", whole[:prelude], mongodump.ErrUnfinished, prelude, "", 0, "test.todos"},
		{"cut in a document", whole[:afterTwo-5], mongodump.ErrTruncated, afterTwo - int64(len(todo("2"))), "test.todos", 1, "of 32 bytes"},
		{"cut between documents", whole[:afterTwo], mongodump.ErrTruncated, afterTwo, "test.todos", 2, "nothing"},
		{"cut between blocks", base().Bytes(), mongodump.ErrUnfinished, afterTwo + 4, "", 2, "the end of test.todos"},
		{"length too small", base().Raw(u32(4)).Bytes(), mongodump.ErrLength, afterTwo, "test.todos", 2, "length of 4"},
		{"length too large", base().Raw(u32(mongodump.MaxDocumentSize + 1)).Bytes(), mongodump.ErrLength, afterTwo, "test.todos", 2, "16793601"},
		{"length negative", base().Raw(u32(0xfffffffe)).Bytes(), mongodump.ErrLength, afterTwo, "test.todos", 2, "length of -2"},
		{"large length in a short file", base().Raw(u32(mongodump.MaxDocumentSize)).Bytes(), mongodump.ErrTruncated, afterTwo, "test.todos", 2, "16793600 bytes"},
		{"no NUL at the end", base().Raw(noNUL).Bytes(), mongodump.ErrLength, afterTwo, "test.todos", 2, "ends in 00"},
		{"terminator for a header", base().End("test.todos").Raw(dumptest.Terminator).Bytes(), mongodump.ErrHeader, int64(len(whole)), "", 2, "terminator"},
		{"foreign header", base().End("test.todos").Raw(todo("3")).Bytes(), mongodump.ErrHeader, int64(len(whole)), "", 2, `unknown field "id"`},
		{"header without a collection", base().End("test.todos").Raw(dumptest.Doc("db", "test")).Bytes(), mongodump.ErrHeader, int64(len(whole)), "", 2, "collection"},
		{"header of wrong type", base().End("test.todos").Raw(dumptest.Doc("db", 1)).Bytes(), mongodump.ErrHeader, int64(len(whole)), "", 2, `"db" has type`},
		{"header is no BSON", base().End("test.todos").Raw([]byte{8, 0, 0, 0, 2, 'd', 'b', 0}).Bytes(), mongodump.ErrHeader, int64(len(whole)), "", 2, "namespace header"},
		{"wrong CRC", base().EndWith("test.todos", 1).Bytes(), mongodump.ErrCRC, afterTwo + 4, "test.todos", 2, "0000000000000001"},
		{"no CRC", base().Raw(dumptest.Terminator).Raw(dumptest.Doc("collection", "todos", "EOF", true)).Raw(dumptest.Terminator).Bytes(), mongodump.ErrHeader, afterTwo + 4, "", 2, "CRC"},
		{"document after the end", append(whole[:len(whole)-4:len(whole)-4], todo("3")...), mongodump.ErrHeader, int64(len(whole)) - 4, "test.todos", 2, "after the collection's end"},
		{"block after the end", base().End("test.todos").Add("test.todos", todo("3")).Bytes(), mongodump.ErrHeader, int64(len(whole)), "test.todos", 2, "no block after"},
		{"unlisted and unfinished", base().End("test.todos").Add("tesu.todos", todo("3")).Bytes(), mongodump.ErrUnfinished, 0, "", 3, "tesu.todos"},
	} {
		t.Run(c.name, func(t *testing.T) {
			docs, err := read(bytes.NewReader(c.in))
			var fault *mongodump.Error
			if !errors.As(err, &fault) || !errors.Is(err, c.kind) {
				t.Fatalf("got %v, want %v", err, c.kind)
			}
			if c.offset != 0 && fault.Offset != c.offset {
				t.Errorf("offset: got %d, want %d", fault.Offset, c.offset)
			}
			if fault.Namespace != c.namespace {
				t.Errorf("namespace: got %q, want %q", fault.Namespace, c.namespace)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			if len(docs) != c.docs {
				t.Errorf("got %d documents before the fault, want %d", len(docs), c.docs)
			}
		})
	}
}

// TestCRCMismatchIsNotFinal: one damaged collection does not affect the others.
func TestCRCMismatchIsNotFinal(t *testing.T) {
	in := dumptest.New("test.users", "test.todos").
		Add("test.users", dumptest.Doc("email", "a@example.org")).
		EndWith("test.users", 1).
		Add("test.todos", todo("1")).
		End("test.todos").Bytes()
	r, err := mongodump.NewReader(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		d, err := r.Next()
		if err == io.EOF {
			break
		}
		switch {
		case errors.Is(err, mongodump.ErrCRC):
			got = append(got, "CRC")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, d.Namespace)
		}
	}
	if want := strings.Fields("test.users CRC test.todos"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if ns := r.Namespaces(); ns[0].Complete || !ns[1].Complete {
		t.Errorf("got %+v, want only the second complete", ns)
	}
}

func TestTimeSeriesAreInTheirBuckets(t *testing.T) {
	prelude := dumptest.New()
	in := prelude.Bytes()
	in = in[:len(in)-4] // without its terminator
	in = append(in, dumptest.Doc("db", "test", "collection", "weather", "type", "timeseries")...)
	in = append(in, dumptest.Terminator...)
	blocks := dumptest.New()
	n := len(blocks.Bytes())
	in = append(in, blocks.Add("test.system.buckets.weather", todo("1")).End("test.system.buckets.weather").Bytes()[n:]...)
	if docs, err := read(bytes.NewReader(in)); err != io.EOF || len(docs) != 1 {
		t.Errorf("got %d documents and %v, want 1 and io.EOF", len(docs), err)
	}
}

// TestEveryTruncation: an archive truncated at any byte returns the documents before that
// byte and then an error. Caught: an archive truncated between two blocks was read as a
// complete one.
func TestEveryTruncation(t *testing.T) {
	raw := sample()
	want, err := read(bytes.NewReader(raw))
	if err != io.EOF {
		t.Fatal(err)
	}
	for n := range raw {
		got, err := read(bytes.NewReader(raw[:n]))
		var fault *mongodump.Error
		if !errors.As(err, &fault) {
			t.Fatalf("cut at %d: got %v, want an *Error", n, err)
		}
		if len(got) > len(want) || len(got) > 0 && !reflect.DeepEqual(got, want[:len(got)]) {
			t.Fatalf("cut at %d: the documents before it differ", n)
		}
		if fault.Offset > int64(n) {
			t.Errorf("cut at %d: offset %d is past the end", n, fault.Offset)
		}
	}
	zipped := compress(t, raw[:100], raw[100:])
	for n := range zipped {
		if _, err := read(bytes.NewReader(zipped[:n])); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("gzip cut at %d of %d: got %v", n, len(zipped), err)
		}
	}
}

// TestEveryFlippedByte: damage is reported, or it changes no document.
func TestEveryFlippedByte(t *testing.T) {
	raw := sample()
	want, err := read(bytes.NewReader(raw))
	if err != io.EOF {
		t.Fatal(err)
	}
	reported := 0
	for n := range raw {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			bad := bytes.Clone(raw)
			bad[n] ^= mask
			got, err := read(bytes.NewReader(bad))
			if err != io.EOF {
				reported++
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("byte %d ^ %02x: other documents, and no error", n, mask)
			}
		}
	}
	if min := 3 * len(raw) / 2; reported < min {
		t.Errorf("%d flips of %d reported, want %d or more", reported, 3*len(raw), min)
	}
}

func TestReaderFailure(t *testing.T) {
	boom := errors.New("disk on fire")
	raw := sample()
	n := len(raw) - 40
	_, err := read(io.MultiReader(bytes.NewReader(raw[:n]), iotest.ErrReader(boom)))
	if !errors.Is(err, mongodump.ErrRead) || !errors.Is(err, boom) {
		t.Errorf("got %v, want ErrRead and its cause", err)
	}
	zipped := compress(t, raw)
	zipped[len(zipped)-8] ^= 1 // the member's checksum
	docs, err := read(bytes.NewReader(zipped))
	if !errors.Is(err, mongodump.ErrRead) || !errors.Is(err, gzip.ErrChecksum) || len(docs) == 0 {
		t.Errorf("got %d documents and %v, want ErrRead and gzip.ErrChecksum", len(docs), err)
	}
}

// endless is an archive that repeats one document without end.
type endless struct{ doc, rest []byte }

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.rest) == 0 {
			e.rest = e.doc
		}
		k := copy(p[n:], e.rest)
		e.rest, n = e.rest[k:], n+k
	}
	return n, nil
}

// made generates a stream piece by piece.
type made struct {
	next func(n int) []byte
	n    int
	rest []byte
	read int64
}

func (m *made) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(m.rest) == 0 {
			m.rest = m.next(m.n)
			m.n++
		}
		k := copy(p[n:], m.rest)
		m.rest, n = m.rest[k:], n+k
	}
	m.read += int64(n)
	return n, nil
}

// TestBounds: the number of collections is limited, in the prelude and after it. Caught: a
// compressed archive of 587 kB that needed 2.4 GB of memory.
func TestBounds(t *testing.T) {
	prelude := dumptest.New().Bytes()
	open := prelude[:len(prelude)-4] // without its terminator
	collection := func(name, metadata string) []byte {
		return dumptest.Doc("db", "test", "collection", name, "metadata", metadata, "size", int32(0), "type", "collection")
	}
	block := func(name string) []byte {
		return append(dumptest.Doc("db", "test", "collection", name, "EOF", false, "CRC", int64(0)), dumptest.Terminator...)
	}
	for name, tc := range map[string]struct {
		next func(n int) []byte
		most int64 // bytes that are read
		says string
	}{
		"many collections": {func(n int) []byte { return collection(fmt.Sprint(n), "") }, mongodump.MaxPrelude, "want 100000 collections at most"},
		"large metadata":   {func(n int) []byte { return collection(fmt.Sprint(n), strings.Repeat("x", 1<<20)) }, mongodump.MaxPrelude, "want the prelude's end within 33554432 bytes"},
		"a long name":      {func(n int) []byte { return collection(strings.Repeat("x", 508), "") }, 1 << 20, "want a name of 512 bytes at most, got 513"},
		"many blocks": {func(n int) []byte {
			if n == 0 {
				return dumptest.Terminator
			}
			return block(fmt.Sprint(n))
		}, mongodump.MaxPrelude, "want 100000 collections at most"},
		"a block with a long name": {func(n int) []byte {
			if n == 0 {
				return dumptest.Terminator
			}
			return block(strings.Repeat("x", 1<<20))
		}, 4 << 20, "want a name of 512 bytes at most"},
	} {
		in := &made{next: func(n int) []byte {
			if n == 0 {
				return open
			}
			return tc.next(n - 1)
		}}
		_, err := read(in)
		if !errors.Is(err, mongodump.ErrBounds) || !strings.Contains(err.Error(), tc.says) || len(err.Error()) > 500 {
			t.Errorf("%s: %.600v", name, err)
		}
		if in.read > tc.most+(2<<20) {
			t.Errorf("%s: it read %d bytes", name, in.read)
		}
	}
	// The maximum number of collections, with the longest names.
	var list []string
	for n := range 5000 {
		list = append(list, fmt.Sprintf("test.%0500d", n))
	}
	if _, err := read(bytes.NewReader(dumptest.New(list...).End(list...).Bytes())); err != io.EOF {
		t.Errorf("5,000 collections with names of 505 bytes: %.300v", err)
	}
}

// TestMemoryIsFlat: documents need no allocations. Caught: a copy of each document.
func TestMemoryIsFlat(t *testing.T) {
	w := dumptest.New("test.todos").Add("test.todos", dumptest.Doc("id", "0", "name", strings.Repeat("x", 1000)))
	prelude := w.Bytes()
	prelude = prelude[:len(prelude)-4] // the block stays open
	r, err := mongodump.NewReader(&endless{rest: prelude, doc: todo("1")})
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(10, func() {
		for range 10_000 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for 10,000 documents, want none", allocs)
	}
}

func BenchmarkNext(b *testing.B) {
	w := dumptest.New("test.todos").Add("test.todos", todo("0"))
	prelude := w.Bytes()
	doc := dumptest.Doc("id", "123456", "name", "Katherine Hebert", "description", strings.Repeat("x", 70))
	r, err := mongodump.NewReader(&endless{rest: prelude[:len(prelude)-4], doc: doc})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
