package boltstore

import (
	"testing"

	"go.etcd.io/bbolt"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
)

func TestIdentity(t *testing.T) {
	storetest.Identity(t, false, func(t *testing.T) func() todo.Store {
		dir := t.TempDir()
		return func() todo.Store {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

// A file of a release without identities gets one when it is opened.
func TestIdentityOfAnOldFile(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Delete(keyIdentity) })
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, dir)
		id, err := s.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("%q", ids)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 1 {
		t.Errorf("%d records, %v", n, err)
	}
}
