package mongostore

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/mongofeed"
)

var _ todo.Feeder = (*Store)(nil)

// Feed returns a feed by change streams. MongoDB keeps nothing for its readers, so all
// caches can have the same.
func (s *Store) Feed(o todo.FeedOptions) (aside.Feed, error) {
	return mongofeed.New(s.todos, mongofeed.Options{Key: fieldID, Version: fieldVersion, KeyOf: idOf, Logger: o.Log})
}

// idOf returns the ID of a document of this package, whose _id equals it. Older documents
// have an ObjectId as _id, which does not tell the ID.
func idOf(id bson.RawValue) (string, bool) { return id.StringValueOK() }
