// Package mongofeed tells a cache of changes that were made in a MongoDB collection
// without the cache. It is a driver.Feed over change streams.
//
//	feed, err := mongofeed.New(client.Database("shop").Collection("products"), mongofeed.Options{
//		Version: "version",
//	})
//	cache, err := aside.New(aside.Options[string, Product]{Feed: feed, ...})
//
// MongoDB 4.4 or newer must run as a replica set (of one server, if need be) or as a
// sharded cluster. The user of the collection's client needs the role read in its
// database.
//
// # What a loader must do
//
// A change that a stream delivers was committed by a majority. The loader must read from
// the primary (read preference primary, the driver's default), with read concern local or
// majority. A secondary may not have the change yet, and the loader would then cache the
// old record after its only event.
//
// # Keys
//
// Events tell the _id of a document. If that is the cache's key, nothing more is needed.
// If it is another field (Options.Key), the feed finds the key so, and takes the first
// that applies:
//
//   - Pre-images, if the collection has them (changeStreamPreAndPostImages, MongoDB 6.0):
//     the key before and after each change. They are asked for by themselves.
//   - The event, of an insertion and a replacement.
//   - What the feed remembers of earlier events (Options.Remember).
//   - Options.KeyOf, if the key can be told from the _id.
//   - For an update: one read by _id for all updates of a batch.
//
// If the old key of a change cannot be told, the feed says that all may have changed
// (driver.Batch.All), and the cache is cleared. Without pre-images and KeyOf this is so
// for deletions and replacements of documents that the feed does not remember. So
// collections with deletions should have pre-images, or the key in _id.
//
// # Own writes
//
// MongoDB cannot mark a write without a field for it. A cache recognises its own writes by
// the version (Options.Version). Without one, each own write costs a miss.
package mongofeed
