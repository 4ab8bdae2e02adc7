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

// OpenArchive opens the archive in, plain or compressed with gzip, and chooses the
// collection. size is the size of in, 0 if unknown. It does not seek: it keeps the
// bytes that it needs for the choice, at most lookAhead, in memory.
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

// Chosen returns the collection that is loaded, and the reason for this choice.
func (a *Archive) Chosen() (namespace, reason string) { return a.chosen, a.reason }

// Extent counts bytes of the file.
func (a *Archive) Extent() Extent { return Extent{Done: a.count.n, Total: a.total, Unit: Bytes} }

// Extra counts unknown fields, except _id. A store that keeps the documents as they
// are keeps these too.
func (a *Archive) Extra() map[string]int64 { return a.extra }

// Odd are the unusual values. A store that keeps the documents as they are keeps
// these too, and converts them in the same way.
func (a *Archive) Odd() []Odd { return a.odd }

// Next returns the collection's next todo. It skips documents of other collections,
// but reports damage in them.
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
