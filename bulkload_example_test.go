package aside_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/asidecache/aside"
)

// Single reads that miss together are one query. Here three goroutines read a record
// each; a call with MaxKeys keys does not wait for more.
func ExampleBulkLimits() {
	users, err := aside.New(aside.Options[int, string]{
		BulkLoader: aside.BulkLoaderFunc[int, string](func(_ context.Context, ids []int) (map[int]string, error) {
			fmt.Println("a query for", len(ids), "users") // SELECT ... WHERE id = ANY($1)
			found := make(map[int]string, len(ids))
			for _, id := range ids {
				found[id] = fmt.Sprint("user ", id)
			}
			return found, nil
		}),
		Bulk: aside.BulkLimits{MaxKeys: 3, Wait: 5 * time.Second},
	})
	if err != nil {
		panic(err)
	}
	defer users.Close(context.Background())
	names := make([]string, 3)
	var wg sync.WaitGroup
	for i := range names {
		wg.Go(func() { names[i], _ = users.Get(context.Background(), i+1) })
	}
	wg.Wait()
	fmt.Println(names)
	// Output:
	// a query for 3 users
	// [user 1 user 2 user 3]
}
