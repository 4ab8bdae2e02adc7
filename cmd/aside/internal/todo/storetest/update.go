package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func accept(todo.Todo) error { return nil }

func update(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"), record("2"))
	want := todo.Todo{ID: "1", Name: "new", CreatedAt: created, UpdatedAt: updated.Add(time.Second), Version: 4}
	got, err := s.Update(t.Context(), "1", func(current todo.Todo) (todo.Todo, error) {
		if !same(current, record("1")) {
			t.Errorf("Update sees %s", show(current))
		}
		return want, nil
	})
	if err != nil || !same(got, want) {
		t.Fatalf("Update: %s, %v", show(got), err)
	}
	expect(t, s, want)
	expect(t, s, record("2"))

	_, err = s.Update(t.Context(), "absent", func(todo.Todo) (todo.Todo, error) {
		t.Error("change is called for an absent record")
		return todo.Todo{}, nil
	})
	if !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("Update of an absent record: %v", err)
	}
	expectGone(t, s, "absent")
}

// updateLosesNothing: each update adds to the value that it read. A store that writes
// without checking that the record is unchanged loses some of them.
func updateLosesNothing(t *testing.T, s todo.Store) {
	const writers, each = 8, 15
	for name, change := range map[string]func(*todo.Todo){
		"counted by version":               func(x *todo.Todo) { x.Version++ },
		"without a version, as old writes": func(x *todo.Todo) { x.Name += "x" },
	} {
		t.Run(name, func(t *testing.T) {
			start := todo.Todo{ID: name, Name: ""}
			mustInsert(t, s, start)
			var wg sync.WaitGroup
			var mu sync.Mutex
			var last todo.Todo // as Update returned it, with a version that the store raised
			for range writers {
				wg.Go(func() {
					for range each {
						got, err := s.Update(t.Context(), name, func(c todo.Todo) (todo.Todo, error) {
							change(&c)
							return c, nil
						})
						if err != nil {
							t.Errorf("Update: %v", err)
						}
						mu.Lock()
						if got.Version > last.Version || len(got.Name) > len(last.Name) {
							last = got
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			want := start
			for range writers * each {
				change(&want)
			}
			if last.Name != want.Name || last.Version < want.Version {
				t.Errorf("after %d updates: %s, want %s", writers*each, show(last), show(want))
			}
			expect(t, s, last)
		})
	}
}

func updateRefused(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	refusal := errors.New("no")
	_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) {
		c.Name = "changed"
		return c, refusal
	})
	if err != refusal { // as it is, not wrapped
		t.Errorf("Update returns %v, want the error of change", err)
	}
	expect(t, s, record("1"))
}

func updateMayNotMove(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) {
		c.ID = "2"
		return c, nil
	})
	if !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("an Update that alters the ID: %v, want ErrInvalid", err)
	}
	expect(t, s, record("1"))
	expectGone(t, s, "2")
}

func deletes(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"), record("2"))
	err := s.Delete(t.Context(), "1", func(c todo.Todo) error {
		if !same(c, record("1")) {
			t.Errorf("check sees %s", show(c))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expectGone(t, s, "1")
	expect(t, s, record("2"))
	err = s.Delete(t.Context(), "1", func(todo.Todo) error {
		t.Error("check is called for an absent record")
		return nil
	})
	if !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("second Delete: %v", err)
	}
	again := record("1")
	again.Version = 1
	mustInsert(t, s, again)
	expect(t, s, again)
}

func deleteRefused(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	refusal := errors.New("no")
	if err := s.Delete(t.Context(), "1", func(todo.Todo) error { return refusal }); err != refusal {
		t.Errorf("Delete returns %v, want the error of check", err)
	}
	expect(t, s, record("1"))
}

// deleteIsAtomic: deletes of version 1 race with updates to version 2. Either the delete
// succeeds and the update finds no record, or the delete is refused.
func deleteIsAtomic(t *testing.T, s todo.Store) {
	newer := errors.New("newer")
	for round := range 10 {
		x := record(fmt.Sprint(round))
		x.Version = 1
		mustInsert(t, s, x)
		var wg sync.WaitGroup
		var deleteErr, updateErr error
		wg.Go(func() {
			deleteErr = s.Delete(t.Context(), x.ID, func(c todo.Todo) error {
				if c.Version != 1 {
					return newer
				}
				return nil
			})
		})
		wg.Go(func() {
			_, updateErr = s.Update(t.Context(), x.ID, func(c todo.Todo) (todo.Todo, error) {
				c.Version = 2
				return c, nil
			})
		})
		wg.Wait()
		switch {
		case deleteErr == nil && errors.Is(updateErr, todo.ErrNotFound):
			expectGone(t, s, x.ID)
		case deleteErr == newer && updateErr == nil:
			x.Version = 2
			expect(t, s, x)
		default:
			t.Errorf("Delete: %v, Update: %v", deleteErr, updateErr)
		}
	}
}
