package boltstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// fill inserts records of 32 KiB until one fails.
func fill(t *testing.T, s *Store) (inserted int, err error) {
	t.Helper()
	for ; inserted < 10_000; inserted++ {
		d := strings.Repeat("x", 32<<10)
		err = s.Insert(t.Context(), todo.Todo{ID: fmt.Sprint(inserted), Name: "n", Description: &d})
		if err != nil {
			return inserted, err
		}
	}
	t.Fatal("the store never filled up")
	return 0, nil
}

// fullStoreWorksOn: a full store answers reads, counts correctly and refuses writes as
// unavailable. It accepts writes again when there is space.
func fullStoreWorksOn(t *testing.T, s *Store, cause error) {
	inserted, err := fill(t, s)
	if !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, cause) {
		t.Fatalf("after %d inserts: %v, want ErrUnavailable for %v", inserted, err, cause)
	}
	if !strings.Contains(err.Error(), s.Path()) {
		t.Errorf("the error does not name the file: %v", err)
	}
	if _, err := s.Get(t.Context(), "0"); err != nil {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.Get(t.Context(), fmt.Sprint(inserted)); !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("Get of the refused record: %v", err)
	}
	if n, err := s.Count(t.Context()); err != nil || n != int64(inserted) {
		t.Errorf("Count: %d, %v, want %d", n, err, inserted)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	// A delete copies pages of the tree and needs space too. So some deletes may fail, but
	// in the end the store must be usable again.
	deleted := 0
	for i := range inserted {
		if s.Delete(t.Context(), fmt.Sprint(i), func(todo.Todo) error { return nil }) == nil {
			deleted++
		}
	}
	if deleted == 0 {
		t.Fatal("not one delete succeeded: the store cannot dig itself out")
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "again", Name: "n"}); err != nil {
		t.Errorf("Insert after %d deletes: %v", deleted, err)
	}
}

func TestFileAtItsMaxSize(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MaxSize: 24 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fullStoreWorksOn(t, s, bolterrors.ErrMaxSizeReached)
}
