package aside_test

import (
	"context"
	"errors"
	"testing"

	"github.com/asidecache/aside"
)

// Caught: a read without a loader that panics.
func TestLoaderOfTheCache(t *testing.T) {
	ctx := context.Background()
	own := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 1, nil })
	many := aside.BulkLoaderFunc[string, int](func(_ context.Context, keys []string) (map[string]int, error) {
		found := make(map[string]int)
		for _, k := range keys {
			found[k] = 3
		}
		return found, nil
	})
	c, err := aside.New(aside.Options[string, int]{Loader: own, BulkLoader: many})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if v, err := c.Get(ctx, "a"); v != 1 || err != nil {
		t.Errorf("Get without a loader: %d, %v", v, err)
	}
	given := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 2, nil })
	if v, err := c.Get(ctx, "b", given); v != 2 || err != nil {
		t.Errorf("Get with a loader: %d, %v", v, err)
	}
	if r, err := c.Read(ctx, "c", nil, aside.Strong); r.Value != 1 || err != nil {
		t.Errorf("Read without a loader: %d, %v", r.Value, err)
	}
	if m, err := c.GetMany(ctx, []string{"a", "d"}); m["a"] != 1 || m["d"] != 3 || err != nil {
		t.Errorf("GetMany without a loader: %v, %v", m, err)
	}

	none, err := aside.New(aside.Options[string, int]{})
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close(ctx)
	if _, err := none.Get(ctx, "a"); !errors.Is(err, aside.ErrNoLoader) {
		t.Errorf("Get of a cache without a loader: %v", err)
	}
	if _, err := none.GetMany(ctx, []string{"a"}); !errors.Is(err, aside.ErrNoLoader) {
		t.Errorf("GetMany of a cache without a loader: %v", err)
	}
}
