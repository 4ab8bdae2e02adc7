package roundtrips

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/tests/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A command is one round trip, several in one pipeline are one, and several in
// a row are several.
//
// Caught: a proxy that counted what it read rather than who spoke before.
func TestTrips(t *testing.T) {
	server := testserver.Redis(t)
	p, err := Listen(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx := context.Background()
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), PoolSize: 1})
	defer c.Close()
	five := func() error {
		_, err := c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for range 5 {
				pipe.Set(ctx, "k", "v", 0)
			}
			return nil
		})
		return err
	}
	// To connect takes round trips too, and pipelines have connections of their own.
	if err := errors.Join(c.Ping(ctx).Err(), five()); err != nil {
		t.Fatal(err)
	}
	large := string(make([]byte, 1<<20)) // more than one read of the proxy
	for _, tt := range []struct {
		name string
		do   func() error
		want int64
	}{
		{"a command", func() error { return c.Set(ctx, "k", "v", 0).Err() }, 1},
		{"a large request and a large answer", func() error { return c.Do(ctx, "ECHO", large).Err() }, 1},
		{"five commands", func() error {
			for range 5 {
				if err := c.Get(ctx, "k").Err(); err != nil {
					return err
				}
			}
			return nil
		}, 5},
		{"a pipeline of five", five, 1},
	} {
		before := p.Trips()
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		p.Quiet(10*time.Millisecond, time.Second)
		if got := p.Trips() - before; got != tt.want {
			t.Errorf("%s took %d round trips, want %d", tt.name, got, tt.want)
		}
	}
}

func TestCloseEndsConnections(t *testing.T) {
	p, err := Listen(testserver.Redis(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	c := redis.NewClient(&redis.Options{Addr: p.Addr(), MaxRetries: -1})
	defer c.Close()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("the proxy forwards after Close")
	}
}
