package load

import (
	"bytes"
	"errors"
	"io"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Archive reads the todos of one collection of a mongodump archive.
type Archive struct {
	in     *mongodump.Reader
	count  *countingReader
	total  int64
	chosen string
	reason string
	extra  extra
	odd    odds
}

// OpenArchive reads in, plain or compressed with gzip, which has size bytes (0
// if that is not known), and chooses the collection. It needs no seeking: what
// it has to look at for the choice, at most lookAhead bytes, it keeps and reads
// again.
func OpenArchive(in io.Reader, size int64, sel Selection) (*Archive, error) {
	a := &Archive{count: &countingReader{in: in}, total: size, extra: extra{}}
	plain, err := mongodump.Decompress(a.count)
	if err != nil {
		return nil, &mongodump.Error{Kind: mongodump.ErrRead, Want: "an archive", Cause: err}
	}
	var looked bytes.Buffer
	survey, err := mongodump.NewReader(io.TeeReader(plain, &looked))
	if err != nil {
		return nil, err
	}
	if a.chosen, a.reason, err = choose(survey, sel); err != nil {
		return nil, err
	}
	a.in, err = mongodump.NewReader(io.MultiReader(&looked, plain))
	return a, err
}

// Chosen returns the collection that is loaded, and why that one.
func (a *Archive) Chosen() (namespace, reason string) { return a.chosen, a.reason }

// Extent counts bytes of the file.
func (a *Archive) Extent() Extent { return Extent{Done: a.count.n, Total: a.total, Unit: Bytes} }

// Extra counts fields that a Todo does not have, _id aside. A store that keeps
// the documents as they are keeps these too.
func (a *Archive) Extra() map[string]int64 { return a.extra }

// Odd are the fields that were read otherwise than they are written. A store that
// keeps the documents as they are keeps these too, and shows them so.
func (a *Archive) Odd() []Odd { return a.odd }

// Next returns the collection's next todo. The documents of other collections
// are passed over, but damage in them is reported.
func (a *Archive) Next() (todo.Record, error) {
	for {
		d, err := a.in.Next()
		switch {
		case errors.Is(err, mongodump.ErrCRC):
			return todo.Record{}, &Damage{Err: err}
		case err != nil:
			return todo.Record{}, err
		case d.Namespace != a.chosen:
			continue
		}
		r := reading{Fault: Fault{Unit: "byte", At: d.Offset}}
		t, err := decodeBSON(d.Raw, &r, a.extra, &a.odd)
		if err != nil {
			return todo.Record{}, err
		}
		return todo.Record{Todo: t, BSON: d.Raw}, nil
	}
}
