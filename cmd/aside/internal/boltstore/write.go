package boltstore

import (
	"context"
	"slices"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// insertChunk is how many records of InsertMany share a transaction: enough to make the
// cost of syncs small, and few enough to let other writes run in between.
const insertChunk = 20_000

// Insert adds a record, or returns todo.ErrExists.
func (s *Store) Insert(ctx context.Context, t todo.Todo) error {
	if err := t.Check(); err != nil {
		return err
	}
	return s.write(ctx, func(w *writeTx) error {
		if w.todos.Get([]byte(t.ID)) != nil {
			return todo.ErrExists
		}
		return w.insert(t)
	})
}

// Update replaces the record by change(current). change runs once.
func (s *Store) Update(ctx context.Context, id string, change func(current todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	var stored todo.Todo
	err := s.write(ctx, func(w *writeTx) error {
		current, hidden, err := s.get(w.todos, id)
		if err != nil {
			return err
		}
		var next todo.Todo
		w.callback(func() { next, err = todo.Apply(id, current, change) })
		if err != nil {
			return err
		}
		stored = next
		return w.put(next, current.Version, hidden)
	})
	if err != nil {
		return todo.Todo{}, err
	}
	return stored, nil
}

// Delete removes the record if check(current) returns nil. check runs once.
func (s *Store) Delete(ctx context.Context, id string, check func(current todo.Todo) error) error {
	return s.write(ctx, func(w *writeTx) error {
		current, _, err := s.get(w.todos, id)
		if err != nil {
			return err
		}
		w.callback(func() { err = check(current) })
		if err != nil {
			return err
		}
		return w.delete(id)
	})
}

// InsertMany adds records in transactions of 20,000, sorted by ID within each.
// Of several records with one ID the first is kept.
func (s *Store) InsertMany(ctx context.Context, records []todo.Record) (todo.InsertResult, error) {
	if err := todo.CheckRecords(records); err != nil {
		return todo.InsertResult{}, err
	}
	var total todo.InsertResult
	for chunk := range slices.Chunk(records, insertChunk) {
		// Ascending keys touch each page once; the stable sort keeps the first of equals first.
		sorted := make([]*todo.Todo, len(chunk))
		for i := range chunk {
			sorted[i] = &chunk[i].Todo
		}
		slices.SortStableFunc(sorted, func(a, b *todo.Todo) int { return strings.Compare(a.ID, b.ID) })

		var done todo.InsertResult
		err := s.write(ctx, func(w *writeTx) error {
			for _, t := range sorted {
				if w.todos.Get([]byte(t.ID)) != nil {
					done.Existing++
					continue
				}
				if err := w.insert(*t); err != nil {
					return err
				}
				done.Inserted++
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total.Inserted += done.Inserted
		total.Existing += done.Existing
	}
	return total, nil
}
