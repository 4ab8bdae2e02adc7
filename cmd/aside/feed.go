package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// feedOf returns the feed that the server follows, nil if there is none.
//
// The embedded store is open in one process only. Without Redis nothing can be missed
// there, since every change is made through the service: following would only cost. With
// Redis the feed also repairs what a failover of Redis has lost. In the demo others change
// the store past the service.
//
// With --feed=on, a fault that only an operator can repair keeps the server from starting.
func (c *ServeCmd) feedOf(ctx context.Context, store todo.Store, name string, log *slog.Logger, demo bool) (aside.Feed, error) {
	if c.Feed == feedAuto && c.embedded() && c.Redis == "" && !demo {
		return nil, nil
	}
	feed, err := c.feed(store, name, log)
	if checker, ok := feed.(todo.FeedChecker); ok && err == nil && c.Feed == feedOn {
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		if store.Ping(ctx) != nil { // it may have no table yet
			return feed, nil
		}
		if err := checker.Check(ctx); err != nil {
			return nil, &exitError{fmt.Errorf("--feed=on: %w; with --feed=auto the server starts without the feed", err), exitUsage}
		}
	}
	return feed, err
}

// embedded reports whether the store is the embedded one.
func (f *StoreFlags) embedded() bool { return f.Mongo == "" && f.Postgres == "" }
