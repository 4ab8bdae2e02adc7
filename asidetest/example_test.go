package asidetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

var ctx = context.Background()

// Two nodes of your program that share one Redis, in one test and without a Redis.
func Example() {
	var redis asidetest.Server
	options := func() aside.Options[int, string] {
		return aside.Options[int, string]{Name: "users", L2: redis.NewClient()}
	}
	a, _ := aside.New(options())
	b, _ := aside.New(options())
	defer a.Close(ctx)
	defer b.Close(ctx)

	_ = a.Write(ctx, 7, func(_ context.Context, w *aside.WriteTx[int, string]) error {
		w.Publish(7, "Ada") // after the change of the database, which this test has not
		return nil
	})

	loader := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) {
		return "", errors.New("b loads nothing: a has published the value")
	})
	r, err := b.Read(ctx, 7, loader, aside.Default)
	fmt.Println(r.Value, r.Source, err)
	// Output: Ada L2 <nil>
}

// What your program does while Redis is down.
func ExampleClient_Intercept() {
	redis := new(asidetest.Server).NewClient()
	cache, _ := aside.New(aside.Options[int, string]{Name: "users", L2: redis})
	defer cache.Close(ctx)
	loader := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "Ada", nil })

	redis.Intercept(func(_ context.Context, op, key string) error {
		return errors.New("connection refused")
	})
	r, err := cache.Read(ctx, 7, loader, aside.Default)
	fmt.Println(r.Value, r.Source, err)
	// Output: Ada load <nil>
}

// The suite holds an L2 of your own against the contract. In a test of your package:
func ExampleTestL2() {
	testConformance := func(t *testing.T) {
		asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) {
			var server asidetest.Server // here you start or empty your server
			return server.NewClient(), server.NewClient()
		})
	}
	_ = testConformance // go test calls it, by a name such as TestConformance
}
