package boltstore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// mustPut stores a record without checks, as earlier versions did.
func mustPut(t *testing.T, s *Store, r todo.Todo) {
	t.Helper()
	err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTodos).Put([]byte(r.ID), appendRecord(nil, r))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A record that cannot be shown completely does not affect others. Dates that JSON does not
// support are omitted, but stay in the file. A record that is too large or damaged is an
// error of its own. Caught: one such record made its whole page fail.
func TestUnreadableRecords(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	late := time.Date(10000, 1, 1, 0, 59, 59, 0, time.UTC)
	for _, r := range []todo.Todo{
		{ID: "a", Name: "n"},
		{ID: "b", Name: "n", CreatedAt: late, UpdatedAt: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), Version: 3},
		{ID: "c", Name: strings.Repeat("x", todo.MaxRecordBytes)},
		{ID: "e", Name: "n"},
	} {
		mustPut(t, s, r)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketTodos).Put([]byte("d"), []byte{formatV1, 0}) })
	if err != nil {
		t.Fatal(err)
	}

	check := func(what string, todos []todo.Todo, unreadable todo.UnreadableRecords) {
		t.Helper()
		var ids []string
		for _, r := range todos {
			ids = append(ids, r.ID)
		}
		if _, err := json.Marshal(todos); err != nil || strings.Join(ids, "") != "abe" {
			t.Errorf("%s: %q, %v", what, ids, err)
		}
		if len(unreadable) != 2 || unreadable[0].ID != "c" || !errors.Is(unreadable[0].Err, todo.ErrUnreadable) ||
			unreadable[1].ID != "d" || !errors.Is(unreadable[1].Err, todo.ErrUnavailable) {
			t.Errorf("%s: unreadable %v", what, unreadable)
		}
	}
	page, err := s.List(t.Context(), "", 5)
	if err != nil || page.Next != "" {
		t.Errorf("List: %q, %v", page.Next, err)
	}
	check("List", page.Todos, page.Unreadable)
	// They count towards the limit, so a page with only such records ends too.
	page, err = s.List(t.Context(), "b", 2)
	if err != nil || len(page.Todos) != 0 || len(page.Unreadable) != 2 || page.Next != "d" {
		t.Errorf("List of c and d: %+v, %v", page, err)
	}
	found, err := s.GetMany(t.Context(), []string{"a", "b", "c", "d", "e", "f"})
	var unreadable todo.UnreadableRecords
	if !errors.As(err, &unreadable) {
		t.Fatalf("GetMany: %v", err)
	}
	check("GetMany", []todo.Todo{found["a"], found["b"], found["e"]}, unreadable)
	if _, err := s.Get(t.Context(), "c"); !errors.Is(err, todo.ErrUnreadable) {
		t.Errorf("Get of the large one: %v", err)
	}
	if got, err := s.Get(t.Context(), "b"); err != nil || !got.CreatedAt.IsZero() || !got.UpdatedAt.IsZero() || got.Version != 3 {
		t.Errorf("Get of the late one: %+v, %v", got, err)
	}

	// A change of another field keeps the date that is not shown.
	now := time.Now().UTC()
	if _, err := s.Update(t.Context(), "b", func(c todo.Todo) (todo.Todo, error) { c.Name, c.UpdatedAt = "new", now; return c, nil }); err != nil {
		t.Fatal(err)
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		r, err := decodeAll("b", tx.Bucket(bucketTodos).Get([]byte("b")))
		if !r.CreatedAt.Equal(late) || !r.UpdatedAt.Equal(now) || r.Name != "new" {
			t.Errorf("the file has %+v", r)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// The large record can be repaired or deleted.
	if _, err := s.Update(t.Context(), "c", func(c todo.Todo) (todo.Todo, error) { c.Completed = true; return c, nil }); !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("an update that leaves it large: %v", err)
	}
	if _, err := s.Update(t.Context(), "c", func(c todo.Todo) (todo.Todo, error) { c.Name = "n"; return c, nil }); err != nil {
		t.Errorf("an update that mends it: %v", err)
	}
	mustPut(t, s, todo.Todo{ID: "c", Name: strings.Repeat("x", todo.MaxRecordBytes)})
	if err := s.Delete(t.Context(), "c", func(todo.Todo) error { return nil }); err != nil {
		t.Errorf("Delete: %v", err)
	}
}
