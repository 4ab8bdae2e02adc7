package todo

import (
	"context"
	"time"
)

// Observe returns store with a hook: after every call it calls seen with the method's
// name in snake case, the duration and the error. seen must be safe for concurrent use.
func Observe(store Store, seen func(op string, took time.Duration, err error)) Store {
	return &observed{store, seen}
}

type observed struct {
	Store
	seen func(op string, took time.Duration, err error)
}

func (o *observed) Get(ctx context.Context, id string) (Todo, error) {
	start := time.Now()
	t, err := o.Store.Get(ctx, id)
	o.seen("get", time.Since(start), err)
	return t, err
}

func (o *observed) GetMany(ctx context.Context, ids []string) (map[string]Todo, error) {
	start := time.Now()
	m, err := o.Store.GetMany(ctx, ids)
	o.seen("get_many", time.Since(start), err)
	return m, err
}

func (o *observed) List(ctx context.Context, after string, limit int) (Page, error) {
	start := time.Now()
	p, err := o.Store.List(ctx, after, limit)
	o.seen("list", time.Since(start), err)
	return p, err
}

func (o *observed) Insert(ctx context.Context, t Todo) error {
	start := time.Now()
	err := o.Store.Insert(ctx, t)
	o.seen("insert", time.Since(start), err)
	return err
}

func (o *observed) Update(ctx context.Context, id string, change func(Todo) (Todo, error)) (Todo, error) {
	start := time.Now()
	t, err := o.Store.Update(ctx, id, change)
	o.seen("update", time.Since(start), err)
	return t, err
}

func (o *observed) Delete(ctx context.Context, id string, check func(Todo) error) error {
	start := time.Now()
	err := o.Store.Delete(ctx, id, check)
	o.seen("delete", time.Since(start), err)
	return err
}

func (o *observed) InsertMany(ctx context.Context, records []Record) (InsertResult, error) {
	start := time.Now()
	r, err := o.Store.InsertMany(ctx, records)
	o.seen("insert_many", time.Since(start), err)
	return r, err
}

func (o *observed) Ping(ctx context.Context) error {
	start := time.Now()
	err := o.Store.Ping(ctx)
	o.seen("ping", time.Since(start), err)
	return err
}
