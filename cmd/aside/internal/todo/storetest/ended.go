package storetest

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// calls returns calls of all methods that take a context.
func calls(s todo.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":     func(ctx context.Context) error { _, err := s.Get(ctx, "1"); return err },
		"GetMany": func(ctx context.Context) error { _, err := s.GetMany(ctx, []string{"1"}); return err },
		"List":    func(ctx context.Context) error { _, err := s.List(ctx, "", 1); return err },
		"Insert":  func(ctx context.Context) error { return s.Insert(ctx, record("new")) },
		"Update": func(ctx context.Context) error {
			_, err := s.Update(ctx, "1", func(c todo.Todo) (todo.Todo, error) { c.Name = "changed"; return c, nil })
			return err
		},
		"Delete":     func(ctx context.Context) error { return s.Delete(ctx, "1", accept) },
		"InsertMany": func(ctx context.Context) error { _, err := s.InsertMany(ctx, records("new")); return err },
		"Count":      func(ctx context.Context) error { _, err := s.Count(ctx); return err },
		"Identity":   func(ctx context.Context) error { _, err := s.Identity(ctx); return err },
		"Ping":       func(ctx context.Context) error { return s.Ping(ctx) },
	}
}

func cancelled(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	for name, call := range calls(s) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
		if err := call(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a context past its deadline: %v", name, err)
		}
	}
	// The context has ended before the call, so nothing is sent.
	expect(t, s, record("1"))
	expectGone(t, s, "new")
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping afterwards: %v", err)
	}
}

func afterClose(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); !errors.Is(err, todo.ErrUnavailable) {
			t.Errorf("%s after Close: %v, want ErrUnavailable", name, cmp.Or(err, errors.New("no error")))
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
