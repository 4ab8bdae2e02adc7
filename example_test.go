package aside_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

type User struct{ Name string }

// The example of the README. With Redis, L2 is what redisl2.Open returns.
func Example() {
	var db sync.Map // stands for the primary database
	db.Store(7, User{"Ada"})

	users, err := aside.New(aside.Options[int, User]{
		Name: "users",
		L2:   new(asidetest.Server).NewClient(), // or: redisl2.Open(redisl2.Options{URL: "redis://127.0.0.1:6379"})
		TTL:  10 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer users.Close(ctx)

	loader := aside.LoaderFunc[int, User](func(ctx context.Context, id int) (User, error) {
		u, ok := db.Load(id)
		if !ok {
			return User{}, aside.ErrNotFound
		}
		return u.(User), nil
	})

	u, err := users.Get(ctx, 7, loader) // loads, and fills both tiers
	fmt.Println(u.Name, err)

	err = users.Write(ctx, func(ctx context.Context, w *aside.WriteTx[int, User]) error {
		db.Store(7, User{"Grace"})  // change the primary
		w.Publish(7, User{"Grace"}) // optional: the next read finds it
		return nil
	}, 7)
	u, _ = users.Get(ctx, 7, loader) // sees the write
	fmt.Println(u.Name, err)

	_, err = users.Get(ctx, 8, loader)
	fmt.Println(errors.Is(err, aside.ErrNotFound))
	// Output:
	// Ada <nil>
	// Grace <nil>
	// true
}

func ExampleCache_Read() {
	cache, _ := aside.New(aside.Options[string, int]{})
	defer cache.Close(context.Background())
	loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 42, nil })

	for range 2 {
		r, err := cache.Read(context.Background(), "answer", loader, aside.Default)
		fmt.Println(r.Value, r.Source, err)
	}
	r, err := cache.Read(context.Background(), "answer", loader, aside.Strong)
	fmt.Println(r.Value, r.Source, err)
	// Output:
	// 42 load <nil>
	// 42 L1 <nil>
	// 42 load <nil>
}

func ExampleCache_GetMany() {
	cache, _ := aside.New(aside.Options[int, string]{})
	defer cache.Close(context.Background())
	loader := aside.BulkLoaderFunc[int, string](func(_ context.Context, keys []int) (map[int]string, error) {
		fmt.Println("loading", keys)
		return map[int]string{1: "one", 2: "two"}, nil // 3 does not exist
	})
	values, err := cache.GetMany(context.Background(), []int{1, 2, 3, 1}, loader)
	fmt.Println(values, err)
	// Output:
	// loading [1 2 3]
	// map[1:one 2:two] <nil>
}

// A write that the primary refuses is marked, so that the key is readable from
// the cache again at once.
func ExampleAborted() {
	cache, _ := aside.New(aside.Options[string, int]{})
	defer cache.Close(context.Background())
	errConflict := errors.New("version conflict")

	err := cache.Write(context.Background(), func(context.Context, *aside.WriteTx[string, int]) error {
		return aside.Aborted(errConflict)
	}, "key")
	fmt.Println(err, errors.Is(err, errConflict))
	// Output: version conflict true
}
