package failpoint

import (
	"context"
	"fmt"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Store returns s with points in its reads and writes of single records, and in GetMany.
func Store(s todo.Store, points *Set) todo.Store { return &store{s, points} }

type store struct {
	todo.Store
	points *Set
}

func (s *store) Get(ctx context.Context, id string) (t todo.Todo, err error) {
	err = s.load(ctx, []string{id}, func(ctx context.Context) error {
		t, err = s.Store.Get(ctx, id)
		return err
	})
	return t, err
}

func (s *store) GetMany(ctx context.Context, ids []string) (found map[string]todo.Todo, err error) {
	err = s.load(ctx, ids, func(ctx context.Context) error {
		found, err = s.Store.GetMany(ctx, ids)
		return err
	})
	return found, err
}

func (s *store) load(ctx context.Context, ids []string, read func(context.Context) error) error {
	ctx, before := s.points.enter(ctx, LoadBefore, ids...)
	ctx, after := s.points.enter(ctx, LoadAfter, ids...)
	if err := before.pass(ctx); err != nil {
		return err
	}
	if err := read(ctx); err != nil {
		return err
	}
	return after.pass(ctx)
}

func (s *store) Insert(ctx context.Context, t todo.Todo) error {
	return s.write(ctx, t.ID, func(ctx context.Context, before func() error) error {
		if err := before(); err != nil {
			return err
		}
		return s.Store.Insert(ctx, t)
	})
}

func (s *store) Update(ctx context.Context, id string, change func(todo.Todo) (todo.Todo, error)) (t todo.Todo, err error) {
	err = s.write(ctx, id, func(ctx context.Context, before func() error) error {
		t, err = s.Store.Update(ctx, id, func(current todo.Todo) (todo.Todo, error) {
			next, err := change(current)
			if err == nil {
				err = before()
			}
			return next, err
		})
		return err
	})
	return t, err
}

func (s *store) Delete(ctx context.Context, id string, check func(todo.Todo) error) error {
	return s.write(ctx, id, func(ctx context.Context, before func() error) error {
		return s.Store.Delete(ctx, id, func(current todo.Todo) error {
			err := check(current)
			if err == nil {
				err = before()
			}
			return err
		})
	})
}

// write runs a write. It keeps the contract of todo.Store: if the context ends before the
// write is sent, nothing is written; if it ends later, the outcome is unknown.
func (s *store) write(ctx context.Context, id string, write func(ctx context.Context, before func() error) error) error {
	ctx, before := s.points.enter(ctx, WriteBefore, id)
	ctx, after := s.points.enter(ctx, WriteAfter, id)
	if before.later(ctx, func(ctx context.Context) { _ = write(ctx, func() error { return nil }) }) {
		return todo.ErrUnknownOutcome
	}
	err := write(ctx, func() error {
		err := before.pass(ctx)
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", todo.ErrUnavailable, err)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = after.pass(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, err)
	}
	return err
}
