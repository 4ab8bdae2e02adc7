package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// holdWriter keeps the writer busy, without changes, until release is called.
func holdWriter(t *testing.T, s *Store) (release func()) {
	t.Helper()
	entered, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.write(context.Background(), func(*writeTx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	return sync.OnceFunc(func() {
		close(leave)
		if err := <-done; err != nil {
			t.Errorf("the write that held the writer: %v", err)
		}
	})
}

func txID(s *Store) (id int) {
	_ = s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil })
	return id
}

// TestWritesShareACommit: writes that wait while the writer is busy are written with one
// sync, and each gets its own result. Seen to fail with a writer that takes one op at a
// time.
func TestWritesShareACommit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Insert(t.Context(), todo.Todo{ID: "taken", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	release := holdWriter(t, s)
	defer release()
	before := txID(s)
	const writers = 50
	errs := make([]error, writers)
	started := make(chan struct{}, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			id := fmt.Sprint(i)
			if i%5 == 0 {
				id = "taken"
			}
			started <- struct{}{}
			errs[i] = s.Insert(context.Background(), todo.Todo{ID: id, Name: "n"})
		})
	}
	for range writers {
		<-started
	}
	release()
	wg.Wait()
	for i, err := range errs {
		if want := i%5 == 0; errors.Is(err, todo.ErrExists) != want || err != nil && !want {
			t.Errorf("insert %d: %v", i, err)
		}
	}
	if commits := txID(s) - before; commits > writers/2 {
		t.Errorf("%d inserts took %d commits", writers, commits)
	}
	if n, _ := s.Count(t.Context()); n != 1+writers*4/5 {
		t.Errorf("Count: %d", n)
	}
}

// TestContextEndsWhileWaiting: a write that has not begun is given up and never runs.
func TestContextEndsWhileWaiting(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	release := holdWriter(t, s)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Insert(ctx, todo.Todo{ID: "1", Name: "n"}) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Insert: %v", err)
	}
	release()
	if err := s.Insert(t.Context(), todo.Todo{ID: "2", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("the abandoned write: %v", err)
	}
}

// TestContextEndsWhileCommitting: a write that has begun gets a definite result.
func TestContextEndsWhileCommitting(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, err := s.Update(ctx, "1", func(c todo.Todo) (todo.Todo, error) {
		cancel()
		c.Version++
		return c, nil
	})
	if err != nil || got.Version != 1 {
		t.Errorf("Update: %+v, %v", got, err)
	}
}

// TestHungDisk: the wait ends at the caller's deadline, and the outcome is unknown.
func TestHungDisk(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	leave := make(chan struct{})
	err := s.write(ctx, func(*writeTx) error {
		cancel()
		<-leave
		return nil
	})
	close(leave)
	if !errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
}

// TestFailedCommit: if a commit fails, changes that an op saw of another op in the same
// transaction are rolled back. So the result of an op must not depend on them.
func TestFailedCommit(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	cause := errors.New("page cannot be written")
	group := []*op{
		{run: func(w *writeTx) error { return w.insert(todo.Todo{ID: "1", Name: "n"}) }, done: make(chan result, 1)},
		{run: func(w *writeTx) error {
			if w.todos.Get([]byte("1")) != nil {
				return todo.ErrExists
			}
			return nil
		}, done: make(chan result, 1)},
		{run: func(w *writeTx) error {
			w.changed = true
			return cause
		}, done: make(chan result, 1)},
	}
	s.commit(group)
	for i, o := range group {
		if err := (<-o.done).err; !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, cause) || errors.Is(err, todo.ErrExists) {
			t.Errorf("write %d of a failed transaction: %v", i, err)
		}
	}
	if n, _ := s.Count(t.Context()); n != 0 {
		t.Errorf("Count: %d", n)
	}
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}

// TestFailedSync: after a failed sync nothing is written any more.
func TestFailedSync(t *testing.T) {
	cause := errors.New("input/output error")
	for _, applied := range []bool{false, true} {
		s := mustOpen(t, t.TempDir())
		if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
			t.Fatal(err)
		}
		err := s.commitFailed(cause, applied)
		if errors.Is(err, todo.ErrUnknownOutcome) != applied || errors.Is(err, todo.ErrUnavailable) == applied || !errors.Is(err, cause) {
			t.Errorf("applied %v: %v", applied, err)
		}
		err = s.Insert(t.Context(), todo.Todo{ID: "2", Name: "n"})
		if !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, cause) {
			t.Errorf("Insert afterwards: %v", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, todo.ErrUnavailable) {
			t.Errorf("Ping: %v", err)
		}
		if _, err := s.Get(t.Context(), "1"); err != nil {
			t.Errorf("Get: %v", err)
		}
	}
}

// TestCloseWaits: Close finishes a running write and refuses a waiting one. Afterwards the
// file is released.
func TestCloseWaits(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	release := holdWriter(t, s)
	defer release()
	waiting := make(chan error, 1)
	go func() { waiting <- s.Insert(context.Background(), todo.Todo{ID: "1", Name: "n"}) }()
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := <-waiting; !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("a write that waits: %v", err)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close returned (%v) while a write was under way", err)
	default:
	}
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	mustOpen(t, s.Path())
}
