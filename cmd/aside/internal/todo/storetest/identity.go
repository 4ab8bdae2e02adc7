package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Identity tests the contract of todo.Store.Identity. place creates a place for a store and
// returns a function that opens the store there, like another process. several tells
// whether the store can be open more than once at the same time.
func Identity(t *testing.T, several bool, place func(t *testing.T) (open func() todo.Store)) {
	identity := func(s todo.Store) string {
		t.Helper()
		id, err := s.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(id) < 20 || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }) {
			t.Errorf("%q is no identity", id)
		}
		return id
	}
	mustClose := func(s todo.Store) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	open := place(t)
	s := open()
	first := identity(s)
	if again := identity(s); again != first {
		t.Errorf("%q, then %q", first, again)
	}
	mustInsert(t, s, record("1"))
	mustClose(s)
	s = open()
	if again := identity(s); again != first {
		t.Errorf("%q, and after it was opened again %q", first, again)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 1 {
		t.Errorf("there are %d records, %v", n, err)
	}
	mustClose(s)

	other := place(t)()
	if id := identity(other); id == first {
		t.Errorf("two stores have the identity %q", id)
	}
	mustClose(other)

	if !several {
		return
	}
	// Many processes create it at the same time, and all get the one that is stored.
	open = place(t)
	const n = 8
	stores := make([]todo.Store, n)
	for i := range stores {
		stores[i] = open()
	}
	ids := make([]string, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() { ids[i], errs[i] = s.Identity(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("at one moment: %q", ids)
			break
		}
	}
	for _, s := range stores {
		mustClose(s)
	}
}
