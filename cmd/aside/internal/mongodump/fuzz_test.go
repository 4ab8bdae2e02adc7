package mongodump_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
)

func FuzzReader(f *testing.F) {
	f.Add(sample())
	f.Add(compress(f, sample()))
	f.Add(dumptest.New().Bytes())
	f.Add(dumptest.New("test.todos").Add("test.todos", todo("1")).EndWith("test.todos", 7).Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		compressed := bytes.HasPrefix(in, []byte{0x1f, 0x8b})
		r, err := mongodump.NewReader(bytes.NewReader(in))
		var last int64
		for err == nil {
			var d mongodump.Document
			if d, err = r.Next(); err != nil {
				if errors.Is(err, mongodump.ErrCRC) {
					err = nil
				}
				continue
			}
			if d.Offset <= last {
				t.Fatalf("a document at %d after one at %d", d.Offset, last)
			}
			last = d.Offset
			if !compressed && !bytes.HasPrefix(in[d.Offset:], d.Raw) {
				t.Fatalf("the document at %d is not what is there", d.Offset)
			}
		}
		if err == io.EOF {
			return
		}
		var fault *mongodump.Error
		if !errors.As(err, &fault) {
			t.Fatalf("got %v (%T), want an *Error", err, err)
		}
		if !compressed && fault.Offset > int64(len(in)) {
			t.Fatalf("a fault at %d in %d bytes", fault.Offset, len(in))
		}
	})
}
