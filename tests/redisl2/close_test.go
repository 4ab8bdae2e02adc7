package redisl2_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Closing ends every goroutine, in bounded time, whatever Redis does. These
// tests run alone, so that the goroutines they count are their own.
// Caught: Close that leaves the connection open.
func TestClose(t *testing.T) {
	for _, c := range []struct {
		name    string
		disrupt func(srv *testserver.RedisServer, proxy *testserver.Proxy)
	}{
		{"healthy", func(*testserver.RedisServer, *testserver.Proxy) {}},
		{"killed", func(srv *testserver.RedisServer, _ *testserver.Proxy) { srv.Kill() }},
		{"stopped", func(srv *testserver.RedisServer, _ *testserver.Proxy) { srv.Pause() }},
		{"silent", func(_ *testserver.RedisServer, proxy *testserver.Proxy) { proxy.Silence() }},
		{"cut", func(_ *testserver.RedisServer, proxy *testserver.Proxy) { proxy.Cut() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := testserver.Redis(t)
			proxy := testserver.Toxiproxy(t, srv.Addr())
			p := newPrimary("k")
			leaks := goleak.IgnoreCurrent()

			s, err := redisl2.Open(redisl2.Options{URL: via(srv, proxy.Addr()), SilenceTimeout: silence})
			if err != nil {
				t.Fatal(err)
			}
			n := newNodeOn(t, p, s, &testsync.Buffer{}, impatient)
			n.warm("k")
			n.update("k")
			c.disrupt(srv, proxy)
			n.update("k") // remembered where Redis is gone
			n.wantStrong("k", 3)
			within(t, 5*time.Second+slack, "closing the cache", func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				err = n.Close(ctx)
			})
			if healthy := c.name == "healthy"; healthy != (err == nil) {
				t.Errorf("Close of the cache: %v", err)
			}
			within(t, 3*time.Second+slack, "closing the store", s.Close)
			if _, err := n.Get(context.Background(), "k", p); err != aside.ErrClosed {
				t.Errorf("Get after Close: %v", err)
			}
			switch c.name { // the proxy's own goroutines end with its connections
			case "stopped":
				srv.Resume()
			case "silent":
				proxy.Restore()
			}
			// The proxy starts this one when it comes to it, perhaps after the
			// look at what is there.
			ofProxy := goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*Proxy).freeBlocker")
			goleak.VerifyNone(t, append(delayed, leaks, ofProxy)...)
		})
	}
}

// Caught: Close that does not end the redialing goroutine waits for it for ever.
func TestCloseBeforeRedisWasReached(t *testing.T) {
	srv := testserver.Redis(t)
	defer goleak.VerifyNone(t, append(delayed, goleak.IgnoreCurrent())...)
	for _, silent := range []bool{false, true} {
		if silent {
			srv.Restart()
			srv.Pause()
		} else {
			srv.Kill()
		}
		s, err := redisl2.Open(redisl2.Options{URL: srv.URL(), DialTimeout: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		within(t, 2*time.Second+slack, "closing", s.Close)
	}
}
