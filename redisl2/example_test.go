package redisl2_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/redisl2"
)

// A cache on Redis. Several caches of a program share one Store.
func Example() {
	ctx := context.Background()
	redis, err := redisl2.Open(redisl2.Options{URL: "redis://127.0.0.1:6379"})
	if err != nil {
		log.Fatal(err) // the options are wrong; a Redis that is down is no error here
	}
	defer redis.Close()

	users, err := aside.New(aside.Options[int, string]{Name: "users", L2: redis, TTL: 10 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	defer users.Close(ctx) // before the Store

	name, err := users.Get(ctx, 7, aside.LoaderFunc[int, string](func(ctx context.Context, id int) (string, error) {
		return "Ada", nil // from your database
	}))
	fmt.Println(name, err)
}

// A cluster, sentinels and TLS are told by the URL.
func ExampleOpen() {
	for _, url := range []string{
		"redis://user:password@cache1:6379/0",
		"redis://node1:6379?addr=node2:6379&addr=node3:6379",
		"redis://sentinel1:26379?addr=sentinel2:26379&master_set=mymaster",
		"rediss://cache1:6379",
	} {
		if _, err := redisl2.Open(redisl2.Options{URL: url}); err != nil {
			log.Fatal(err)
		}
	}
}

// What cannot work is an error at once.
func ExampleErrOptions() {
	_, err := redisl2.Open(redisl2.Options{URL: "http://cache1:6379"})
	fmt.Println(errors.Is(err, redisl2.ErrOptions))
	// Output: true
}

// A program that refuses to start where waiting does not help, such as a Redis user
// without rights, and starts where it does, such as a Redis that is down.
func ExampleStore_Check() {
	redis, err := redisl2.Open(redisl2.Options{URL: "redis://127.0.0.1:6379"})
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	// ... make the caches, then:
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	switch err := redis.Check(ctx); {
	case errors.Is(err, redisl2.ErrUnusable):
		log.Fatal(err)
	case err != nil:
		log.Print("starting without Redis: ", err)
	}
}

// How near the server is to forgetting who reads what.
func ExampleStore_Tracked() {
	redis, err := redisl2.Open(redisl2.Options{URL: "redis://127.0.0.1:6379"})
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	if t, ok := redis.Tracked(); ok && t.Limit > 0 {
		fmt.Printf("%d of %d keys\n", t.Keys, t.Limit)
	}
}

// A program that has options of rueidis already, for its own client. The Store takes
// from them where Redis is and how to reach it, and makes a connection of its own.
func ExampleOptions_clientOption() {
	options := rueidis.ClientOption{
		InitAddress: []string{"cache1:6379"},
		AuthCredentialsFn: func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			return rueidis.AuthCredentials{Username: "todo", Password: "..."}, nil // such as a token that changes
		},
	}
	redis, err := redisl2.Open(redisl2.Options{ClientOption: &options})
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()

	client, err := rueidis.NewClient(options) // what else the program does with Redis
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
}
