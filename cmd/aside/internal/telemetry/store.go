package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// traced is a store whose calls are spans.
type traced struct {
	todo.Store
	tracer trace.Tracer
	system trace.SpanStartEventOption
}

// call runs a call of the store in a span. An answer that the caller did not hope for,
// such as that there is no such todo, is no error.
func call[R any](t *traced, ctx context.Context, op string, f func(ctx context.Context) (R, error)) (R, error) {
	ctx, span := t.tracer.Start(ctx, "store "+op, trace.WithSpanKind(trace.SpanKindClient), t.system, trace.WithAttributes(semconv.DBOperationName(op)))
	defer span.End()
	r, err := f(ctx)
	if err != nil {
		span.SetAttributes(semconv.ErrorType(err))
		if !todo.Answered(err) {
			span.SetStatus(codes.Error, err.Error())
		}
	}
	return r, err
}

func (t *traced) Get(ctx context.Context, id string) (todo.Todo, error) {
	return call(t, ctx, "get", func(ctx context.Context) (todo.Todo, error) { return t.Store.Get(ctx, id) })
}

func (t *traced) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	return call(t, ctx, "get_many", func(ctx context.Context) (map[string]todo.Todo, error) { return t.Store.GetMany(ctx, ids) })
}

func (t *traced) List(ctx context.Context, after string, limit int) (todo.Page, error) {
	return call(t, ctx, "list", func(ctx context.Context) (todo.Page, error) { return t.Store.List(ctx, after, limit) })
}

func (t *traced) Insert(ctx context.Context, r todo.Todo) error {
	_, err := call(t, ctx, "insert", func(ctx context.Context) (struct{}, error) { return struct{}{}, t.Store.Insert(ctx, r) })
	return err
}

func (t *traced) Update(ctx context.Context, id string, change func(todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	return call(t, ctx, "update", func(ctx context.Context) (todo.Todo, error) { return t.Store.Update(ctx, id, change) })
}

func (t *traced) Delete(ctx context.Context, id string, check func(todo.Todo) error) error {
	_, err := call(t, ctx, "delete", func(ctx context.Context) (struct{}, error) { return struct{}{}, t.Store.Delete(ctx, id, check) })
	return err
}

func (t *traced) InsertMany(ctx context.Context, records []todo.Record) (todo.InsertResult, error) {
	return call(t, ctx, "insert_many", func(ctx context.Context) (todo.InsertResult, error) { return t.Store.InsertMany(ctx, records) })
}
