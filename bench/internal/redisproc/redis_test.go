package redisproc

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/tests/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The server starts empty, tells what it did, and is gone after Stop.
func TestServer(t *testing.T) {
	if _, err := Binary(); err != nil && !testserver.RequireServers() {
		t.Skip(err)
	}
	ctx := context.Background()
	s, err := Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			s.Stop()
		}
	}()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer c.Close()
	if n, err := c.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("%d keys, %v", n, err)
	}
	for range 3 {
		c.Get(ctx, "k")
	}
	c.Set(ctx, "k", "v", 0)
	info, err := s.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if calls := Calls(info); calls["get"] != 3 || calls["set"] != 1 {
		t.Errorf("calls: %v", calls)
	}
	if info["redis_version"] == "" && info["valkey_version"] == "" {
		t.Error("no version")
	}
	before, err := s.Used(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		c.Get(ctx, "k")
	}
	after, err := s.Used(ctx)
	if err != nil || after.CPU <= before.CPU || after.Commands != before.Commands+2000+1 {
		t.Errorf("used %+v, then %+v, %v", before, after, err)
	}
	s.Stop()
	stopped = true
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("the server answers after Stop")
	}
}

func TestStartTellsWhatIsWrong(t *testing.T) {
	t.Setenv("ASIDE_TEST_REDIS_SERVER", "/nonexistent")
	if _, err := Start(context.Background()); err == nil {
		t.Error("a server that does not exist was started")
	}
	t.Setenv("ASIDE_TEST_REDIS_SERVER", os.Args[0]) // a program that is no server, and ends
	if _, err := Start(context.Background()); err == nil {
		t.Error("something else was taken for a server")
	}
}
