package mongofeed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/mongofeed"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// todo is a record, as the todo service has them: looked up by id. The _id is the same text,
// or an ObjectID for documents of an older system.
type todo struct {
	ID      string `bson:"id"`
	Name    string `bson:"name"`
	Version int64  `bson:"version"`
}

type node struct {
	*aside.Cache[string, todo]
	testing.TB
	load aside.LoaderFunc[string, todo]
}

// nodes are caches with connections of their own to one Redis, all fed.
func nodes(t testing.TB, srv *server, coll *mongo.Collection, n int) (all []*node) {
	t.Helper()
	url := testserver.Redis(t).URL()
	for range n {
		l2, err := redisl2.Open(redisl2.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		own := connect(t, srv.uri).client.Database(coll.Database().Name()).Collection(coll.Name())
		c, err := aside.New(aside.Options[string, todo]{
			Name: "todos", L2: l2, TTL: time.Hour, L1TTL: time.Hour, L2Timeout: 5 * time.Second,
			Version: func(t todo) uint64 { return uint64(t.Version) }, Logger: slog.New(slog.DiscardHandler),
			Feed: mustNew(t, own, mongofeed.Options{Key: "id", Version: "version", KeyOf: bson.RawValue.StringValueOK}),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = c.Close(ctx)
			l2.Close()
		})
		all = append(all, &node{c, t, func(ctx context.Context, id string) (r todo, err error) {
			err = own.FindOne(ctx, bson.M{"id": id}).Decode(&r)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return r, aside.ErrNotFound
			}
			return r, err
		}})
	}
	for _, n := range all {
		testsync.Eventually(t, "the node is fed", func() bool { return n.Stats().Feed.Fed })
	}
	return all
}

// name is the name that a read returns.
func (n *node) name(id string, level aside.Mode) string {
	n.Helper()
	r, err := n.Read(n.Context(), id, n.load, level)
	if errors.Is(err, aside.ErrNotFound) {
		return "(none)"
	}
	if err != nil {
		n.Fatal(err)
	}
	return r.Value.Name
}

// TestNodesSeeOutsideChanges: whatever is done to the collection, every node sees it, from
// memory that would keep the old record for an hour.
func TestNodesSeeOutsideChanges(t *testing.T) {
	for _, images := range []bool{false, true} {
		t.Run(fmt.Sprintf("pre-images=%v", images), func(t *testing.T) {
			srv := anyServer(t)
			coll := srv.collection(t, images)
			old, older := bson.NewObjectID(), bson.NewObjectID()
			insert(t, coll,
				bson.M{"_id": "a", "id": "a", "name": "one", "version": 1}, bson.M{"_id": "b", "id": "b", "name": "one", "version": 1},
				bson.M{"_id": old, "id": "old", "name": "one"}, bson.M{"_id": older, "id": "older", "name": "one"})
			all := nodes(t, srv, coll, 3)
			ids := []string{"a", "b", "old", "older", "later"}
			for _, step := range []struct {
				what string
				do   func()
				want []string // by ids
			}{
				{"update", func() { set(t, coll, "a", bson.M{"name": "two", "version": 2}) }, []string{"two", "one", "one", "one", "(none)"}},
				{"update of the name alone", func() { set(t, coll, "b", bson.M{"name": "two"}) }, []string{"two", "two", "one", "one", "(none)"}},
				{"update with an ObjectID", func() { set(t, coll, old, bson.M{"name": "two"}) }, []string{"two", "two", "two", "one", "(none)"}},
				{"replacement, same version", func() { replace(t, coll, "a", bson.M{"id": "a", "name": "three", "version": 2}) }, []string{"three", "two", "two", "one", "(none)"}},
				{"insertion", func() {
					insert(t, coll, bson.M{"_id": bson.NewObjectID(), "id": "later", "name": "new", "version": 1})
				}, []string{"three", "two", "two", "one", "new"}},
				{"deletion", func() { remove(t, coll, "b") }, []string{"three", "(none)", "two", "one", "new"}},
				{"deletion with an ObjectID that nobody has seen", func() { remove(t, coll, older) }, []string{"three", "(none)", "two", "(none)", "new"}},
				{"new key", func() { set(t, coll, old, bson.M{"id": "older"}) }, []string{"three", "(none)", "(none)", "two", "new"}},
				{"insertion again, with a low version", func() { insert(t, coll, bson.M{"_id": "b", "id": "b", "name": "again", "version": 1}) }, []string{"three", "again", "(none)", "two", "new"}},
				{"drop", func() {
					if err := coll.Drop(t.Context()); err != nil {
						t.Fatal(err)
					}
				}, []string{"(none)", "(none)", "(none)", "(none)", "(none)"}},
				{"insertion after the drop", func() { insert(t, coll, bson.M{"_id": "a", "id": "a", "name": "four", "version": 1}) }, []string{"four", "(none)", "(none)", "(none)", "(none)"}},
			} {
				for _, n := range all {
					for _, id := range ids {
						n.name(id, aside.Default)
					}
				}
				step.do()
				for i, n := range all {
					for j, id := range ids {
						testserver.Eventually(t, 20*time.Second, fmt.Sprintf("%s: node %d reads %q as %q", step.what, i, id, step.want[j]), func() bool {
							return n.name(id, aside.Default) == step.want[j]
						})
					}
				}
			}
		})
	}
}

// TestOwnWritesCostNothing: the feed tells them again, and the entries stay.
func TestOwnWritesCostNothing(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	all := nodes(t, srv, coll, 2)
	insert(t, coll, bson.M{"_id": "k", "id": "k", "name": "0", "version": 1})
	told := func(n uint64) {
		testsync.Eventually(t, "the writes are told", func() bool {
			return all[0].Stats().Feed.Changes+all[1].Stats().Feed.Changes >= n
		})
	}
	told(1)
	const writes = 50
	for i := range writes {
		err := all[i%2].Write(t.Context(), "k", func(ctx context.Context, tx *aside.WriteTx[string, todo]) error {
			var r todo
			err := coll.FindOneAndUpdate(ctx, bson.M{"id": "k"}, bson.M{"$set": bson.M{"name": fmt.Sprint(i)}, "$inc": bson.M{"version": 1}},
				options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&r)
			if err == nil {
				tx.Publish("k", r)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	told(1 + writes)
	loads := uint64(0)
	for _, n := range all {
		if got := n.name("k", aside.Strong); got != fmt.Sprint(writes-1) {
			t.Errorf("a strong read returns %s", got)
		}
		loads += n.Stats().Loads
	}
	if loads != 0 {
		t.Errorf("%d loads, want none", loads)
	}
}

// BenchmarkOutsideCommit: from the acknowledgement of a write past the caches until the last
// of three nodes has dropped the record from memory.
func BenchmarkOutsideCommit(b *testing.B) {
	srv := anyServer(b)
	coll := srv.collection(b, false)
	insert(b, coll, bson.M{"_id": "k", "id": "k", "name": "-", "version": 1})
	all := nodes(b, srv, coll, 3)
	var lags []time.Duration
	for i := 0; b.Loop(); i++ {
		for _, n := range all {
			n.name("k", aside.Default)
		}
		set(b, coll, "k", bson.M{"name": fmt.Sprint(i)})
		committed := time.Now()
		for _, n := range all {
			for n.name("k", aside.Default) != fmt.Sprint(i) {
				time.Sleep(20 * time.Microsecond)
			}
		}
		lags = append(lags, time.Since(committed))
	}
	slices.Sort(lags)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(lags[(len(lags)-1)*p/100].Microseconds())/1000, fmt.Sprintf("ms-p%d", p))
	}
}
