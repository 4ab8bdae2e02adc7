package httpapi

import (
	"hash/maphash"
	"strconv"
	"sync/atomic"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// form is a record as it is sent.
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

// forms remembers the forms of records that L1 answers again and again, where to
// encode the record is most of the work. A form is used for the very record that
// it was made of, so there is nothing here to go stale: the fields are compared,
// which is quick, since a record in L1 shares its strings with the form.
//
// Each id has one place, and shares it with others: whoever comes last has it. A
// map would need a bound, and a lock.
type forms struct {
	seed   maphash.Seed
	places [formPlaces]atomic.Pointer[form]
}

const (
	formPlaces = 1 << 14
	// A form that is longer is not remembered, so that all of them, each with its
	// record, take 64 MiB at most, and some 8 MiB if they are as short as most are.
	longestForm = 2 << 10 // bytes
)

func newForms() *forms { return &forms{seed: maphash.MakeSeed()} }

// of returns the form of a record that was found.
func (fs *forms) of(found *todo.Found) *form {
	if found.Source != aside.SourceL1 {
		return newForm(&found.Todo) // who knows whether it is asked for again
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
