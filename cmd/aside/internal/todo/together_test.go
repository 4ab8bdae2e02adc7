package todo_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

type queries struct {
	todo.Store
	single, many atomic.Int64
}

func (q *queries) Get(ctx context.Context, id string) (todo.Todo, error) {
	q.single.Add(1)
	return q.Store.Get(ctx, id)
}

func (q *queries) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	q.many.Add(1)
	return q.Store.GetMany(ctx, ids)
}

// Reads of single records that miss together are one query, and each is answered as if it
// had come alone: with its record, with ErrNotFound, or with what is wrong with the record.
// Caught: a query for each; an unreadable record that fails the others.
func TestMissesOfAMomentAreOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &queries{Store: todotest.New(todo.Todo{ID: "large", Name: strings.Repeat("x", todo.MaxRecordBytes)})}
		for i := range 20 {
			if err := store.Insert(t.Context(), todo.Todo{ID: strconv.Itoa(i), Name: "n" + strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
		}
		o := aside.Options[string, todo.Todo]{Bulk: aside.BulkLimits{Wait: time.Millisecond}}
		todo.SetLoaders(&o, store, false)
		cache, err := aside.New(o)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close(context.Background())
		s := todo.NewService(todo.ServiceOptions{Store: store, Cache: cache, CacheLoads: true})
		var wg sync.WaitGroup
		get := func(id string, want error) {
			wg.Go(func() {
				f, err := s.Get(t.Context(), id, aside.Default)
				if !errors.Is(err, want) || err == nil && f.Todo.Name != "n"+id || f.Source != aside.SourceLoad {
					t.Errorf("%s: %+v, %v", id, f, err)
				}
			})
		}
		for i := range 20 {
			get(strconv.Itoa(i), nil)
		}
		get("absent", todo.ErrNotFound)
		get("large", todo.ErrUnreadable)
		wg.Wait()
		if store.single.Load() != 0 || store.many.Load() != 1 {
			t.Errorf("%d queries of one record, %d of several", store.single.Load(), store.many.Load())
		}
		get("large", todo.ErrUnreadable)
		wg.Wait()
		if store.single.Load() != 1 || store.many.Load() != 1 {
			t.Errorf("one that is alone: %d queries of one record, %d of several", store.single.Load(), store.many.Load())
		}
	})
}
