package mongofeed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/mongofeed"
)

// TestConformance: the suite that every feed passes, by each way to a key.
func TestConformance(t *testing.T) {
	for _, way := range ways {
		if way.name == "remembered" || way.name == "read" {
			continue // At a deletion they tell that all has changed, which the suite does not expect.
		}
		t.Run(way.name, func(t *testing.T) {
			asidetest.TestFeed(t, func(t *testing.T) asidetest.Primary { return primary(t, way.images, way.opts) })
		})
	}
}

func primary(t *testing.T, images bool, opts mongofeed.Options) asidetest.Primary {
	loses := strings.HasSuffix(t.Name(), "LostChangesAreAGap")
	var srv *server
	if loses {
		srv = connect(t, ownSecantus(t, "--oplog-max-entries", "50").uri())
	} else {
		srv = anyServer(t)
	}
	coll := srv.collection(t, images)
	// Creating the collection in a transaction needs a lock that another one may have.
	insert(t, coll, bson.M{"_id": "first", "id": "first", "version": 1})
	together := func(t testing.TB, keys []string, write func(ctx context.Context, key string) error) {
		t.Helper()
		ctx := context.Background()
		each := func(ctx context.Context) (any, error) {
			for _, key := range keys {
				if err := write(ctx, key); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
		var err error
		if len(keys) == 1 {
			_, err = each(ctx)
		} else {
			var sess *mongo.Session
			if sess, err = srv.client.StartSession(); err == nil {
				_, err = sess.WithTransaction(ctx, each)
				sess.EndSession(ctx)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	p := asidetest.Primary{
		Feed: mustNew(t, coll, opts),
		Put: func(t testing.TB, keys ...string) {
			together(t, keys, func(ctx context.Context, key string) error {
				_, err := coll.UpdateByID(ctx, key, bson.M{"$inc": bson.M{"version": 1}, "$setOnInsert": bson.M{"id": key}}, options.UpdateOne().SetUpsert(true))
				return err
			})
		},
		Delete: func(t testing.TB, keys ...string) {
			together(t, keys, func(ctx context.Context, key string) error {
				_, err := coll.DeleteOne(ctx, bson.M{"_id": key})
				return err
			})
		},
		Version: func(t testing.TB, key string) uint64 {
			var doc struct{ Version uint64 }
			if err := coll.FindOne(context.Background(), bson.M{"_id": key}).Decode(&doc); err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
				t.Error(err)
			}
			return doc.Version
		},
		All: func(t testing.TB) {
			if err := coll.Drop(context.Background()); err != nil {
				t.Error(err)
			}
		},
	}
	if loses {
		p.Lose = func(t testing.TB) {
			for i := range 1500 {
				insert(t, coll, bson.M{"_id": i, "id": fmt.Sprint(i)})
			}
		}
	}
	return p
}
