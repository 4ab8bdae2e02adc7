// Package todotest has a todo.Store in memory for tests. Its calls can be made to fail or
// to wait.
package todotest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Store is a todo.Store in memory. Create it with New.
type Store struct {
	mu       sync.Mutex
	identity string
	todos    map[string]todo.Todo
	calls    map[string]int
	hook     func(ctx context.Context, op, id string) error
	after    func(op, id string) error
}

var _ todo.Store = (*Store)(nil)

// New returns a Store with the given records.
func New(records ...todo.Todo) *Store {
	s := &Store{identity: rand.Text(), todos: map[string]todo.Todo{}, calls: map[string]int{}}
	for _, t := range records {
		s.todos[t.ID] = t
	}
	return s
}

// Before sets a function that runs before each call, without locks. If it returns an error,
// the call fails with it. Nil removes the function.
func (s *Store) Before(hook func(ctx context.Context, op, id string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// After sets a function that runs after each applied write. If it returns an error, the
// call fails with it although the write was applied, as if the response had been lost.
func (s *Store) After(hook func(op, id string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = hook
}

// FailWith makes every call fail with err from now on. Nil ends this.
func (s *Store) FailWith(err error) {
	if err == nil {
		s.Before(nil)
		return
	}
	s.Before(func(context.Context, string, string) error { return err })
}

// Calls returns how often op ("get", "get_many", "update", ...) was called.
func (s *Store) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Put sets a record directly, without checks or hooks, as another program would. A record
// larger than todo.MaxRecordBytes cannot be read.
func (s *Store) Put(t todo.Todo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.todos[t.ID] = t
}

// enter counts the call and runs the hook. If there is no error, it returns with the lock
// held.
func (s *Store) enter(ctx context.Context, op, id string) error {
	s.mu.Lock()
	s.calls[op]++
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, op, id); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

// leave ends a write and releases the lock.
func (s *Store) leave(op, id string) error {
	after := s.after
	s.mu.Unlock()
	if after != nil {
		return after(op, id)
	}
	return nil
}

// Get implements todo.Store, as do the other methods.
func (s *Store) Get(ctx context.Context, id string) (todo.Todo, error) {
	if err := s.enter(ctx, "get", id); err != nil {
		return todo.Todo{}, err
	}
	defer s.mu.Unlock()
	t, ok := s.todos[id]
	if !ok {
		return todo.Todo{}, fmt.Errorf("todotest: %w: %q", todo.ErrNotFound, id)
	}
	if err := t.CheckSize(); err != nil {
		return todo.Todo{}, err
	}
	return t, nil
}

func (s *Store) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	if err := s.enter(ctx, "get_many", ""); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	found := map[string]todo.Todo{}
	var unreadable todo.UnreadableRecords
	for _, id := range ids {
		t, ok := s.todos[id]
		if !ok {
			continue
		}
		if err := t.CheckSize(); err != nil {
			unreadable = append(unreadable, todo.Unreadable{ID: id, Err: err})
			continue
		}
		found[id] = t
	}
	if len(unreadable) > 0 {
		return found, unreadable
	}
	return found, nil
}

func (s *Store) List(ctx context.Context, after string, limit int) (todo.Page, error) {
	if err := s.enter(ctx, "list", after); err != nil {
		return todo.Page{}, err
	}
	defer s.mu.Unlock()
	var page todo.Page
	last, n := "", 0
	for _, id := range slices.Sorted(maps.Keys(s.todos)) {
		if id <= after {
			continue
		}
		if n == limit {
			page.Next = last
			break
		}
		last = id
		n++
		if err := s.todos[id].CheckSize(); err != nil {
			page.Unreadable = append(page.Unreadable, todo.Unreadable{ID: id, Err: err})
		} else {
			page.Todos = append(page.Todos, s.todos[id])
		}
	}
	return page, nil
}

func (s *Store) Insert(ctx context.Context, t todo.Todo) error {
	if err := t.Check(); err != nil {
		return err
	}
	if err := s.enter(ctx, "insert", t.ID); err != nil {
		return err
	}
	if _, ok := s.todos[t.ID]; ok {
		s.mu.Unlock()
		return fmt.Errorf("todotest: %w: %q", todo.ErrExists, t.ID)
	}
	s.todos[t.ID] = t
	return s.leave("insert", t.ID)
}

func (s *Store) Update(ctx context.Context, id string, change func(todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	if err := s.enter(ctx, "update", id); err != nil {
		return todo.Todo{}, err
	}
	current, ok := s.todos[id]
	if !ok {
		s.mu.Unlock()
		return todo.Todo{}, fmt.Errorf("todotest: %w: %q", todo.ErrNotFound, id)
	}
	next, err := change(current)
	if err == nil {
		err = next.Check()
	}
	if err != nil {
		s.mu.Unlock()
		return todo.Todo{}, err
	}
	s.todos[id] = next
	if err := s.leave("update", id); err != nil {
		return todo.Todo{}, err
	}
	return next, nil
}

func (s *Store) Delete(ctx context.Context, id string, check func(todo.Todo) error) error {
	if err := s.enter(ctx, "delete", id); err != nil {
		return err
	}
	current, ok := s.todos[id]
	if !ok {
		s.mu.Unlock()
		return fmt.Errorf("todotest: %w: %q", todo.ErrNotFound, id)
	}
	if err := check(current); err != nil {
		s.mu.Unlock()
		return err
	}
	delete(s.todos, id)
	return s.leave("delete", id)
}

func (s *Store) InsertMany(ctx context.Context, records []todo.Record) (todo.InsertResult, error) {
	var r todo.InsertResult
	for _, record := range records {
		switch err := s.Insert(ctx, record.Todo); {
		case err == nil:
			r.Inserted++
		case errors.Is(err, todo.ErrExists):
			r.Existing++
		default:
			return r, err
		}
	}
	return r, nil
}

func (s *Store) Count(ctx context.Context) (int64, error) {
	if err := s.enter(ctx, "count", ""); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return int64(len(s.todos)), nil
}

func (s *Store) Identity(ctx context.Context) (string, error) {
	if err := s.enter(ctx, "identity", ""); err != nil {
		return "", err
	}
	defer s.mu.Unlock()
	return s.identity, nil
}

func (s *Store) Ping(ctx context.Context) error {
	if err := s.enter(ctx, "ping", ""); err != nil {
		return err
	}
	s.mu.Unlock()
	return nil
}

func (s *Store) Close() error { return nil }
