package aside_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/asidecache/aside"
)

// Records that are read do not expire: one load in the background replaces them in
// time. If the database is slow or down, users get what there is.
func ExampleOptions_freshness() {
	users, err := aside.New(aside.Options[int, User]{
		TTL:                  5 * time.Minute,
		RefreshAhead:         0.2,                    // in the last minute of its life
		StaleWhileRevalidate: 30 * time.Second,       // past it: at once, and a load in the background
		StaleFor:             time.Hour,              // if loads fail
		SoftTimeout:          100 * time.Millisecond, // or take long
		FailedFor:            5 * time.Second,        // and then leave the database alone for a while
		Loader: aside.LoaderFunc[int, User](func(ctx context.Context, id int) (User, error) {
			return User{"Ada"}, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer users.Close(ctx)
	r, err := users.Read(ctx, 7, nil, aside.Default)
	fmt.Println(r.Value.Name, r.Stale, err)
	// Output: Ada false <nil>
}

func ExampleCache_Warm() {
	users, err := aside.New(aside.Options[int, User]{
		BulkLoader: aside.BulkLoaderFunc[int, User](func(ctx context.Context, ids []int) (map[int]User, error) {
			found := map[int]User{}
			for _, id := range ids {
				found[id] = User{fmt.Sprint("user ", id)}
			}
			return found, nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer users.Close(ctx)
	err = users.Warm(ctx, slices.Values([]int{1, 2, 3, 4}), aside.WarmOptions{
		Parallel: 1,
		Batch:    2,
		Progress: func(done, failed int) { fmt.Println(done, failed) },
	})
	fmt.Println(err)
	// Output:
	// 2 0
	// 4 0
	// <nil>
}

func ExampleCache_Refresh() {
	name := "Ada"
	users, err := aside.New(aside.Options[int, User]{
		Loader: aside.LoaderFunc[int, User](func(ctx context.Context, id int) (User, error) { return User{name}, nil }),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer users.Close(ctx)
	u, _ := users.Get(ctx, 7)
	name = "Ada Lovelace" // changed past the cache
	fmt.Println(u.Name, users.Refresh(ctx, 7))
	u, _ = users.Get(ctx, 7)
	fmt.Println(u.Name)
	// Output:
	// Ada <nil>
	// Ada Lovelace
}
