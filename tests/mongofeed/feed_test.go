package mongofeed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/mongofeed"
	"github.com/asidecache/aside/tests/testserver"
)

func TestKeyIsID(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	insert(t, coll, bson.M{"_id": "before", "version": 1})
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Version: "version"}), nil)

	insert(t, coll, bson.M{"_id": "a", "name": "x", "version": 1})
	set(t, coll, "a", bson.M{"name": "y", "version": 2})
	set(t, coll, "a", bson.M{"name": "z"}) // does not raise the version
	replace(t, coll, "a", bson.M{"name": "r", "version": 3})
	replace(t, coll, "a", bson.M{"name": "s", "version": 3}) // neither
	replace(t, coll, "before", bson.M{"version": 2})         // nobody knows
	remove(t, coll, "a")
	id := bson.NewObjectID()
	insert(t, coll, bson.M{"_id": id}, bson.M{"_id": 7}, bson.M{"_id": int64(1 << 40)})
	wantChanges(t, s,
		driver.Change{Key: "a", Version: 1},
		driver.Change{Key: "a", Version: 2},
		driver.Change{Key: "a"},
		driver.Change{Key: "a", Version: 3},
		driver.Change{Key: "a"},
		driver.Change{Key: "before"},
		driver.Change{Key: "a", Deleted: true},
		driver.Change{Key: id.Hex()}, driver.Change{Key: "7"}, driver.Change{Key: "1099511627776"},
	)
}

// TestKeyIsAField: without pre-images.
func TestKeyIsAField(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	insert(t, coll, bson.M{"_id": 1, "id": "old", "version": 1}, bson.M{"_id": 2, "id": "gone"}, bson.M{"_id": 3, "id": "moves"}, bson.M{"_id": 4, "id": "replaced"}, bson.M{"_id": 5})
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Key: "id", Version: "version"}), nil)

	set(t, coll, 1, bson.M{"name": "y", "version": 2}) // its key is read
	wantChanges(t, s, driver.Change{Key: "old", Version: 2})
	finds := srv.count("find")
	set(t, coll, 1, bson.M{"name": "z", "version": 3}) // and remembered
	wantChanges(t, s, driver.Change{Key: "old", Version: 3})
	if n := srv.count("find") - finds; n != 0 {
		t.Errorf("%d reads of a key that is remembered", n)
	}
	remove(t, coll, 1)
	wantChanges(t, s, driver.Change{Key: "old", Deleted: true})

	remove(t, coll, 2) // not remembered
	wantAll(t, s)
	set(t, coll, 3, bson.M{"id": "moved"})
	wantAll(t, s)
	replace(t, coll, 4, bson.M{"id": "replaced", "version": 1})
	wantAll(t, s)
	set(t, coll, 5, bson.M{"name": "has no key"})

	// What was inserted is known.
	insert(t, coll, bson.M{"_id": 9, "id": "a", "version": 1})
	set(t, coll, 9, bson.M{"id": "b", "version": 2})
	replace(t, coll, 9, bson.M{"id": "c", "version": 3})
	if _, err := coll.UpdateByID(t.Context(), 9, bson.M{"$unset": bson.M{"id": ""}}); err != nil {
		t.Fatal(err)
	}
	set(t, coll, 9, bson.M{"id": "d"})
	remove(t, coll, 9)
	wantChanges(t, s,
		driver.Change{Key: "a", Version: 1},
		driver.Change{Key: "a", Deleted: true}, driver.Change{Key: "b", Version: 2},
		driver.Change{Key: "b", Deleted: true}, driver.Change{Key: "c", Version: 3},
		driver.Change{Key: "c", Deleted: true},
		driver.Change{Key: "d"},
		driver.Change{Key: "d", Deleted: true},
	)
}

// TestKeyChanges: of documents that the feed has not seen before, and of one that it has read.
func TestKeyChanges(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	insert(t, coll, bson.M{"_id": 1, "id": "a"}, bson.M{"_id": 2, "id": "b"})
	f := mustNew(t, coll, mongofeed.Options{Key: "id"})
	first := mustOpen(t, f, nil)
	set(t, coll, 1, bson.M{"name": "x"})
	p := first.Position()
	// Both are there when the stream is opened; the read comes after both.
	set(t, coll, 1, bson.M{"id": "a2"})
	s := mustOpen(t, f, p)
	wantAll(t, s)
	// A batch ends between the two.
	set(t, coll, 2, bson.M{"name": "x"})
	wantChanges(t, s, driver.Change{Key: "b"})
	set(t, coll, 2, bson.M{"id": "b2"})
	wantChanges(t, s, driver.Change{Key: "b", Deleted: true}, driver.Change{Key: "b2"})
}

func TestKeyOf(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	insert(t, coll, bson.M{"_id": "a", "id": "a"}, bson.M{"_id": "b", "id": "b"}, bson.M{"_id": bson.NewObjectID(), "id": "c"})
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Key: "id", KeyOf: bson.RawValue.StringValueOK}), nil)
	finds := srv.count("find")
	set(t, coll, "a", bson.M{"name": "x"})
	remove(t, coll, "b")
	wantChanges(t, s, driver.Change{Key: "a"}, driver.Change{Key: "b", Deleted: true})
	if n := srv.count("find") - finds; n != 0 {
		t.Errorf("%d reads of keys that the _id tells", n)
	}
	if _, err := coll.DeleteOne(t.Context(), bson.M{"id": "c"}); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s)
}

// TestPreImages: nothing is read, remembered or guessed.
func TestPreImages(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, true)
	insert(t, coll, bson.M{"_id": 1, "id": "a", "version": 1}, bson.M{"_id": 2, "id": "b", "version": 5}, bson.M{"_id": 3, "id": "c"})
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{
		Key: "id", Version: "version", Remember: -1,
		KeyOf: func(bson.RawValue) (string, bool) { return "wrong", true },
	}), nil)
	finds := srv.count("find")
	set(t, coll, 1, bson.M{"name": "x", "version": 2})
	set(t, coll, 1, bson.M{"name": "y"})
	set(t, coll, 1, bson.M{"id": "a2", "version": 3})
	replace(t, coll, 2, bson.M{"id": "b2", "version": 6})
	replace(t, coll, 2, bson.M{"id": "b2", "name": "same version", "version": 6})
	set(t, coll, 2, bson.M{"version": 4}) // back
	remove(t, coll, 3)
	wantChanges(t, s,
		driver.Change{Key: "a", Version: 2},
		driver.Change{Key: "a"},
		driver.Change{Key: "a", Deleted: true}, driver.Change{Key: "a2", Version: 3},
		driver.Change{Key: "b", Deleted: true}, driver.Change{Key: "b2", Version: 6},
		driver.Change{Key: "b2"},
		driver.Change{Key: "b2"},
		driver.Change{Key: "c", Deleted: true},
	)
	if n := srv.count("find") - finds; n != 0 {
		t.Errorf("%d reads", n)
	}
}

// TestPositions: a position is opened by another feed, and repeatedly, after Handled too.
func TestPositions(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{}), nil)
	start := s.Position()
	var after []driver.Position
	for i := range 3 {
		insert(t, coll, bson.M{"_id": fmt.Sprint(i)})
		wantChanges(t, s, driver.Change{Key: fmt.Sprint(i)})
		after = append(after, s.Position())
		if err := s.Handled(t.Context(), s.Position()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f := mustNew(t, coll, mongofeed.Options{})
		wantChanges(t, mustOpen(t, f, start), driver.Change{Key: "0"}, driver.Change{Key: "1"}, driver.Change{Key: "2"})
		wantChanges(t, mustOpen(t, f, after[0]), driver.Change{Key: "1"}, driver.Change{Key: "2"})
		last := mustOpen(t, f, after[2])
		if b, err := last.Next(t.Context()); err != nil || b.All || len(b.Changes) > 0 {
			t.Errorf("behind the last change: %+v, %v", b, err)
		}
	}
}

// TestQuietStream: an empty batch says that nothing changed, and the position moves on.
func TestQuietStream(t *testing.T) {
	srv := anyServer(t)
	coll, other := srv.collection(t, false), srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Wait: 100 * time.Millisecond}), nil)
	before := s.Position()
	for i := range 3 {
		insert(t, other, bson.M{"_id": i})
		begun := time.Now()
		b, err := s.Next(t.Context())
		if err != nil || b.All || len(b.Changes) > 0 {
			t.Fatalf("%+v, %v", b, err)
		}
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("an empty batch after %v", d)
		}
	}
	if string(before) == string(s.Position()) {
		t.Error("the position of a quiet stream stays: the oplog may pass it by")
	}
}

// TestTransaction: its changes come together.
func TestTransaction(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{}), nil)
	sess := must[*mongo.Session](t)(srv.client.StartSession())
	defer sess.EndSession(t.Context())
	for _, n := range []int{3, 1500} {
		_, err := sess.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
			docs := make([]any, n)
			for i := range docs {
				docs[i] = bson.M{"_id": fmt.Sprintf("%d/%d", n, i)}
			}
			_, err := coll.InsertMany(ctx, docs)
			return nil, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if b := next(t, s); b.All || len(b.Changes) != n {
			t.Errorf("a transaction of %d changes comes with %d, all: %v", n, len(b.Changes), b.All)
		}
	}
}

// TestBurst: a transaction of more changes than are worth telling is told as one.
func TestBurst(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{MaxChanges: 500}), nil)
	sess := must[*mongo.Session](t)(srv.client.StartSession())
	defer sess.EndSession(t.Context())
	_, err := sess.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		docs := make([]any, 1500)
		for i := range docs {
			docs[i] = bson.M{"_id": i}
		}
		_, err := coll.InsertMany(ctx, docs)
		return nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if b := next(t, s); !b.All || len(b.Changes) > 0 {
		t.Fatalf("%d changes, all: %v; want All", len(b.Changes), b.All)
	}
	// Then changes are told one by one again, as soon as the stream has come so far.
	for i := 0; ; i++ {
		insert(t, coll, bson.M{"_id": fmt.Sprint("after ", i)})
		b := next(t, s)
		if len(b.Changes) > 500 {
			t.Errorf("%d changes at once", len(b.Changes))
		}
		if !b.All {
			break
		}
	}
}

// TestNoChangeIsMissed: writers of many keys, while the stream is closed and opened again.
func TestNoChangeIsMissed(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	f := mustNew(t, coll, mongofeed.Options{Version: "version"})
	s := mustOpen(t, f, nil)
	const keys, writes, writers = 20, 60, 4
	for i := range keys {
		insert(t, coll, bson.M{"_id": fmt.Sprint(i), "version": 0})
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range writes {
				_, err := coll.UpdateByID(t.Context(), fmt.Sprint((w+i)%keys), bson.M{"$inc": bson.M{"version": 1}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := map[string]uint64{}
	seen, batches := 0, 0
	for seen < writers*writes {
		b := next(t, s)
		if b.All {
			t.Fatal("all is told to have changed")
		}
		for _, c := range b.Changes {
			if c.Version == 0 {
				continue // inserted
			}
			if c.Version != got[c.Key]+1 {
				t.Fatalf("key %s: version %d after %d", c.Key, c.Version, got[c.Key])
			}
			got[c.Key] = c.Version
			seen++
		}
		if batches++; batches%5 == 0 {
			p := s.Position()
			s.Close()
			s = mustOpen(t, f, p)
		}
	}
	wg.Wait()
}

// TestReadAfterChange: a majority read and a local one of the primary that begin after Next
// has returned a change see it.
func TestReadAfterChange(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	insert(t, coll, bson.M{"_id": "a", "version": 0})
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Version: "version"}), nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	for _, id := range []string{"a", "busy"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = coll.UpdateByID(t.Context(), id, bson.M{"$inc": bson.M{"version": 1}})
			}
		})
	}
	reads, old := 0, 0
	for reads < 300 {
		for _, c := range next(t, s).Changes {
			var doc struct{ Version uint64 }
			if err := coll.FindOne(t.Context(), bson.M{"_id": c.Key}).Decode(&doc); err != nil {
				t.Fatal(err)
			}
			reads++
			if doc.Version < c.Version {
				old++
			}
		}
	}
	t.Logf("%d of %d reads were older than the change", old, reads)
	if old > 0 {
		t.Errorf("%d of %d reads after a change do not see it", old, reads)
	}
}

// TestCollectionComesAndGoes: the feed of a collection that is not there yet, is dropped,
// created again, renamed away, and renamed to.
func TestCollectionComesAndGoes(t *testing.T) {
	srv := anyServer(t)
	coll := srv.client.Database(srv.database).Collection("later")
	f := mustNew(t, coll, mongofeed.Options{Wait: 100 * time.Millisecond})
	s := mustOpen(t, f, nil)
	if b, err := s.Next(t.Context()); err != nil || b.All || len(b.Changes) > 0 {
		t.Fatalf("of a collection that is not there: %+v, %v", b, err)
	}
	insert(t, coll, bson.M{"_id": "a"})
	wantChanges(t, s, driver.Change{Key: "a"})
	created := s.Position()
	wantChanges(t, mustOpen(t, f, s.Position()))

	if err := coll.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s)
	insert(t, coll, bson.M{"_id": "b"})
	wantChanges(t, s, driver.Change{Key: "b"})
	p := s.Position()
	insert(t, coll, bson.M{"_id": "c"})
	wantChanges(t, mustOpen(t, f, p), driver.Change{Key: "c"})
	wantChanges(t, s, driver.Change{Key: "c"})
	// Documents of the collection that was dropped are in the cache, perhaps.
	wantGap(t, f, created)

	admin := srv.client.Database("admin")
	rename := func(from, to string, dropTarget bool) {
		t.Helper()
		err := admin.RunCommand(t.Context(), bson.D{
			{Key: "renameCollection", Value: srv.database + "." + from},
			{Key: "to", Value: srv.database + "." + to},
			{Key: "dropTarget", Value: dropTarget},
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	rename("later", "elsewhere", false)
	wantAll(t, s)
	insert(t, coll, bson.M{"_id": "d"})
	wantChanges(t, s, driver.Change{Key: "d"})
	rename("elsewhere", "later", true)
	wantAll(t, s)
	insert(t, coll, bson.M{"_id": "e"})
	wantChanges(t, s, driver.Change{Key: "e"})
}

func TestPositionsThatAreNoGood(t *testing.T) {
	srv := anyServer(t)
	one, two := srv.collection(t, false), srv.collection(t, false)
	f := mustNew(t, one, mongofeed.Options{})
	p := mustOpen(t, f, nil).Position()
	wantGap(t, f, mustOpen(t, mustNew(t, two, mongofeed.Options{}), nil).Position())
	wantGap(t, f, driver.Position{})
	wantGap(t, f, driver.Position("something else"))
	wantGap(t, f, p[:len(p)-3])
	s := mustOpen(t, f, p) // and it is still good
	insert(t, one, bson.M{"_id": "a"})
	wantChanges(t, s, driver.Change{Key: "a"})
}

func TestAnotherCluster(t *testing.T) {
	one, two := connect(t, ownSecantus(t).uri()), connect(t, ownSecantus(t).uri())
	two.database = one.database
	positions := map[*server]driver.Position{}
	for _, srv := range []*server{one, two} {
		coll := srv.client.Database(srv.database).Collection("todos")
		insert(t, coll, bson.M{"_id": "a"})
		positions[srv] = mustOpen(t, mustNew(t, coll, mongofeed.Options{}), nil).Position()
	}
	wantGap(t, mustNew(t, one.client.Database(one.database).Collection("todos"), mongofeed.Options{}), positions[two])
	wantGap(t, mustNew(t, two.client.Database(two.database).Collection("todos"), mongofeed.Options{}), positions[one])
}

// TestHistoryLost: the oplog does not reach back to the position, at the opening and while
// the stream is open.
func TestHistoryLost(t *testing.T) {
	p := ownSecantus(t, "--oplog-max-entries", "50")
	srv := connect(t, p.uri())
	coll := srv.collection(t, false)
	f := mustNew(t, coll, mongofeed.Options{})
	start := mustOpen(t, f, nil).Position()
	for i := range 2000 {
		insert(t, coll, bson.M{"_id": i})
	}
	wantGap(t, f, start)
	s := mustOpen(t, f, nil)
	insert(t, coll, bson.M{"_id": "a"})
	wantChanges(t, s, driver.Change{Key: "a"})
}

// TestServerIsKilled: with SIGKILL, and started again.
func TestServerIsKilled(t *testing.T) {
	p := ownSecantus(t, "--sync-on-commit")
	srv := connect(t, p.uri())
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Silence: 30 * time.Second}), nil)
	insert(t, coll, bson.M{"_id": "a"})
	wantChanges(t, s, driver.Change{Key: "a"})
	insert(t, coll, bson.M{"_id": "b"})
	p.kill()
	restarted := make(chan error, 1)
	go func() { restarted <- p.start() }()
	if got := nextN(t, s, 1); got[0].Key != "b" {
		t.Errorf("got %v, want b", got)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	insert(t, coll, bson.M{"_id": "c"})
	wantChanges(t, s, driver.Change{Key: "c"})
}

// TestConnectionIsCut: the stream goes on where it was.
func TestConnectionIsCut(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	proxy := testserver.Toxiproxy(t, addr(srv.uri))
	via := connect(t, "mongodb://"+proxy.Addr()+"/?directConnection=true")
	s := mustOpen(t, mustNew(t, via.client.Database(srv.database).Collection(coll.Name()), mongofeed.Options{}), nil)
	for i := range 3 {
		insert(t, coll, bson.M{"_id": fmt.Sprint(i)})
		wantChanges(t, s, driver.Change{Key: fmt.Sprint(i)})
		proxy.Cut()
		proxy.Restore()
	}
}

// TestSilence: a server that says nothing is an error after a while, in Next and in Open.
func TestSilence(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	proxy := testserver.Toxiproxy(t, addr(srv.uri))
	via := connect(t, "mongodb://"+proxy.Addr()+"/?directConnection=true")
	f := mustNew(t, via.client.Database(srv.database).Collection(coll.Name()), mongofeed.Options{Wait: 100 * time.Millisecond, Silence: time.Second})
	s := mustOpen(t, f, nil)
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Silence()
	begun := time.Now()
	_, err := s.Next(t.Context())
	if err == nil || errors.Is(err, driver.ErrGap) || !strings.Contains(err.Error(), "no answer for") {
		t.Errorf("Next of a silent server: %v", err)
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("Next of a silent server ends after %v", d)
	}
	if _, again := s.Next(t.Context()); again == nil {
		t.Error("Next after the end of the stream succeeds")
	}
	if _, err := f.Open(t.Context(), nil); err == nil {
		t.Error("Open on a silent server succeeds")
	}
}

// TestReadingFailsOpeningSucceeds: the driver's own change stream would open it again and
// again, without a pause.
func TestReadingFailsOpeningSucceeds(t *testing.T) {
	srv := connect(t, ownSecantus(t).uri())
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{Wait: 100 * time.Millisecond, Silence: 3 * time.Second}), nil)
	fail := func(mode any) {
		t.Helper()
		err := srv.client.Database("admin").RunCommand(t.Context(), bson.D{
			{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode},
			{Key: "data", Value: bson.D{{Key: "failCommands", Value: bson.A{"getMore"}}, {Key: "errorCode", Value: 262}}},
		}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A few failures are made up for.
	insert(t, coll, bson.M{"_id": "a"})
	fail(bson.D{{Key: "times", Value: 2}})
	wantChanges(t, s, driver.Change{Key: "a"})

	opened := srv.count("aggregate")
	fail("alwaysOn")
	_, err := s.Next(t.Context())
	fail("off")
	if err == nil || errors.Is(err, driver.ErrGap) {
		t.Errorf("got %v, want an error that is no gap", err)
	}
	if n := srv.count("aggregate") - opened; n < 2 || n > 10 {
		t.Errorf("the stream was opened %d times in 3 s, want 2 to 10", n)
	}
}

func TestCloseEndsNext(t *testing.T) {
	srv := anyServer(t)
	s := mustOpen(t, mustNew(t, srv.collection(t, false), mongofeed.Options{Wait: 4 * time.Second}), nil)
	started, ended := srv.count("getMore"), make(chan error, 1)
	go func() {
		_, err := s.Next(context.Background())
		ended <- err
	}()
	testserver.Eventually(t, 10*time.Second, "Next waits", func() bool { return srv.count("getMore") > started })
	begun := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("Next of a closed stream succeeds")
	}
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("Close took %v", d)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNextIsCancelled: the caller may go on with another context, and misses nothing.
func TestNextIsCancelled(t *testing.T) {
	srv := anyServer(t)
	coll := srv.collection(t, false)
	s := mustOpen(t, mustNew(t, coll, mongofeed.Options{}), nil)
	for i := range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want DeadlineExceeded", err)
		}
		cancel()
		insert(t, coll, bson.M{"_id": fmt.Sprint(i)})
		wantChanges(t, s, driver.Change{Key: fmt.Sprint(i)})
	}
}

// TestServerWithoutChangeStreams: the error says so.
func TestServerWithoutChangeStreams(t *testing.T) {
	if m := testserver.Mongo(t); m.IsFerretDB() {
		srv := connect(t, m.URI())
		f := mustNew(t, srv.client.Database("d").Collection("c"), mongofeed.Options{})
		_, err := f.Open(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "the server has no change streams") {
			t.Errorf("Open on FerretDB: %v", err)
		}
		if err := f.Check(t.Context()); !errors.Is(err, mongofeed.ErrServer) {
			t.Errorf("Check on FerretDB: %v", err)
		}
	}
}

func addr(uri string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(uri, "mongodb://"), "/")
	host, _, _ = strings.Cut(host, ",")
	return host
}
