package httpapi

import (
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// A record in L1 is encoded once, and again when any field has changed, even if its version
// has not. Caught: a comparison of only id and version.
func TestForms(t *testing.T) {
	fs := newForms()
	at := func(source aside.Source, r todo.Todo) *form {
		f := fs.of(&todo.Found{Todo: r, Info: aside.Info{Source: source}})
		if want := string(encodeTodo(&r)); string(f.body) != want {
			t.Errorf("body %s, want %s", f.body, want)
		}
		if want := etagOf(r.Version, encodeTodo(&r)); f.etag[0] != want {
			t.Errorf("entity tag %s, want %s", f.etag[0], want)
		}
		return f
	}
	text := "as it was"
	r := todo.Todo{ID: "1", Name: "name", Description: &text, Version: 1}
	if at(aside.SourceL2, r) == at(aside.SourceL1, r) {
		t.Error("a record that L2 answered is remembered")
	}
	first := at(aside.SourceL1, r)
	if at(aside.SourceL1, r) != first {
		t.Error("a record that L1 answers again is encoded again")
	}
	changed := r
	changed.Completed = true
	other := "as it is"
	changed.Description = &other
	if at(aside.SourceL1, changed) == first {
		t.Error("a changed record has the form of the old one")
	}
	r.Name = strings.Repeat("n", longestForm)
	long := at(aside.SourceL1, r)
	if at(aside.SourceL1, r) == long {
		t.Error("a long form is remembered")
	}
}
