package todo

import (
	"context"
	"log/slog"

	"github.com/asidecache/aside"
)

// Feeder is a Store that has a feed of its changes, also of those that others make.
type Feeder interface {
	Store
	// Feed returns the feed for a cache. It does not reach the database.
	Feed(o FeedOptions) (aside.Feed, error)
}

// FeedOptions say for whom a feed is.
type FeedOptions struct {
	// Cache is the name of the cache. Caches with different names need different feeds of
	// a database that remembers how far a reader has come.
	Cache string
	// Alone: the cache is this process' own. It does not go on where it was when it has
	// lost the feed, so the database need not keep anything for it.
	Alone bool
	Log   *slog.Logger
}

// FeedChecker is a feed that can tell before it is opened that it cannot work.
type FeedChecker interface {
	// Check reports what keeps the feed from working until somebody changes the
	// database. It is nil if the database does not answer: that may pass.
	Check(ctx context.Context) error
}
