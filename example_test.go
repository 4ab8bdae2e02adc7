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

	err = users.Write(ctx, 7, func(ctx context.Context, w *aside.WriteTx[int, User]) error {
		db.Store(7, User{"Grace"})  // change the primary
		w.Publish(7, User{"Grace"}) // optional: the next read finds it
		return nil
	})
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

	err := cache.Write(context.Background(), "key", func(context.Context, *aside.WriteTx[string, int]) error {
		return aside.Aborted(errConflict)
	})
	fmt.Println(err, errors.Is(err, errConflict))
	// Output: version conflict true
}

// What lies in both tiers, for an operator who looks for a fault. Nothing changes by it.
func ExampleCache_Inspect() {
	server := new(asidetest.Server) // stands for Redis
	ctx := context.Background()
	open := func(node string) *aside.Cache[string, int] {
		cache, _ := aside.New(aside.Options[string, int]{Name: "answers", L2: server.NewClient(), Node: node})
		return cache
	}
	one, two := open("node 1"), open("node 2")
	defer one.Close(ctx)
	defer two.Close(ctx)

	_ = one.Write(ctx, "answer", func(_ context.Context, w *aside.WriteTx[string, int]) error {
		w.Publish("answer", 42)

		i, _ := two.Inspect(ctx, "answer")
		fmt.Println(i.L2.Kind, "of node 1:", i.L2.Writers[0].Node == aside.NodeIDOf("node 1"))
		return nil
	})

	i, err := two.Inspect(ctx, "answer")
	fmt.Println(i.L2Key, err)
	fmt.Println("L1:", i.L1)
	fmt.Println("L2:", i.L2.Kind, i.L2.Value, i.L2.Err, "stored by node 1:", i.L2.Node == aside.NodeIDOf("node 1"))
	// Output:
	// fence of node 1: true
	// aside:answers:0:answer <nil>
	// L1: <nil>
	// L2: value 42 <nil> stored by node 1: true
}

// Watch shows what happens to one key, for a person who looks for a fault.
func ExampleCache_Watch() {
	ctx := context.Background()
	cache, err := aside.New(aside.Options[int, string]{})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(ctx)

	seen := make(chan aside.Event)
	stop := cache.Watch(7, func(e aside.Event) { seen <- e })
	loader := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "seven", nil })
	for range 2 {
		_, _ = cache.Get(ctx, 7, loader)
	}
	for range 4 {
		e := <-seen
		fmt.Println(e.Kind, e.Info.Source)
	}
	stop()
	// Output:
	// load none
	// fill none
	// read load
	// read L1
}

// Top names the keys that stand out on this node.
func ExampleCache_Top() {
	ctx := context.Background()
	cache, err := aside.New(aside.Options[string, int]{})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close(ctx)

	loader := aside.LoaderFunc[string, int](func(context.Context, string) (int, error) { return 1, nil })
	for range 5 {
		_, _ = cache.Get(ctx, "front page", loader)
	}
	for _, k := range cache.Top(10).Hottest {
		fmt.Println(k.Key, k.Count)
	}
	// Output: front page 5
}
