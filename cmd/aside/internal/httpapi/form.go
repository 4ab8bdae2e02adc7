package httpapi

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// form is the encoded form of a record: its JSON and its header values.
type form struct {
	of           todo.Todo
	body         []byte
	etag, length [1]string // header values
}

func newForm(t *todo.Todo) *form {
	f := &form{of: *t, body: encodeTodo(t)}
	f.etag[0], f.length[0] = etagOf(t.Version, f.body), strconv.Itoa(len(f.body))
	return f
}

// forms caches the encoded forms of records in L1, since encoding is most of the work of
// an L1 hit. A form is used only if its record equals the record found, so it cannot be
// stale. The comparison is fast: a record in L1 shares its strings with the form.
//
// Each id has one slot, which it shares with other ids. The last one stored wins. A map
// would need a size limit and a lock.
type forms struct {
	seed   maphash.Seed
	places [formPlaces]atomic.Pointer[form]
}

const (
	formPlaces = 1 << 14
	// A longer form is not cached. So all forms with their records need at most 64
	// MiB, and about 8 MiB with records of usual size.
	longestForm = 2 << 10 // bytes
)

func newForms() *forms { return &forms{seed: maphash.MakeSeed()} }

// of returns the form of a record that was found.
func (fs *forms) of(found *todo.Found) *form {
	if found.Source != aside.SourceL1 {
		return newForm(&found.Todo) // it may never be read again
	}
	place := &fs.places[maphash.String(fs.seed, found.Todo.ID)%formPlaces]
	if f := place.Load(); f != nil && f.of == found.Todo {
		return f
	}
	f := newForm(&found.Todo)
	if len(f.body) <= longestForm {
		place.Store(f)
	}
	return f
}
