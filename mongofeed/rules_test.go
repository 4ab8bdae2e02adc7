package mongofeed_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/mongofeed"
)

// script chooses the replies of a fakeServer to the commands of a feed.
type script struct {
	mu        sync.Mutex
	aggregate func(n int, cmd bson.Raw) bson.D // n counts from 0
	getMore   func(n int, cmd bson.Raw) bson.D
	find      func(cmd bson.Raw) bson.D
	uuid      byte
	n         map[string]int
	cmds      map[string][]bson.Raw
}

func (s *script) reply(name string, cmd bson.Raw) bson.D {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n, s.cmds = map[string]int{}, map[string][]bson.Raw{}
	}
	n := s.n[name]
	s.n[name]++
	s.cmds[name] = append(s.cmds[name], cmd)
	switch name {
	case "listCollections":
		info := bson.D{{Key: "name", Value: "c"}, {Key: "type", Value: "collection"}, {Key: "info", Value: bson.D{{Key: "uuid", Value: bson.Binary{Subtype: 4, Data: slices.Repeat([]byte{s.uuid}, 16)}}}}}
		return bson.D{{Key: "cursor", Value: bson.D{{Key: "firstBatch", Value: bson.A{info}}, {Key: "id", Value: int64(0)}}}, {Key: "ok", Value: 1}}
	case "aggregate":
		if s.aggregate != nil {
			return s.aggregate(n, cmd)
		}
		return cursor(7, "firstBatch", "open", 5+uint32(n)*100)
	case "getMore":
		if s.getMore != nil {
			return s.getMore(n, cmd)
		}
		return cursor(7, "nextBatch", "quiet", 5)
	case "find":
		if s.find != nil {
			return s.find(cmd)
		}
	}
	return nil
}

func (s *script) sent(name string) []bson.Raw {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cmds[name])
}

func token(name string) bson.D { return bson.D{{Key: "_data", Value: name}} }

// cursor is a reply with events, at a time of the server.
func cursor(id int64, batch, behind string, opTime uint32, events ...bson.D) bson.D {
	list := bson.A{}
	for _, e := range events {
		list = append(list, e)
	}
	return bson.D{
		{Key: "cursor", Value: bson.D{{Key: batch, Value: list}, {Key: "id", Value: id}, {Key: "ns", Value: "d.c"}, {Key: "postBatchResumeToken", Value: token(behind)}}},
		{Key: "operationTime", Value: bson.Timestamp{T: opTime}}, {Key: "ok", Value: 1},
	}
}

func failure(code int, labels ...string) bson.D {
	return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: "m"}, {Key: "errorLabels", Value: labels}}
}

func change(op, id string, at uint32, more ...bson.E) bson.D {
	return append(bson.D{
		{Key: "_id", Value: token(id)}, {Key: "operationType", Value: op}, {Key: "clusterTime", Value: bson.Timestamp{T: at}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
	}, more...)
}

func connect(t *testing.T, uri string, opts ...*options.ClientOptions) *mongo.Collection {
	t.Helper()
	c, err := mongo.Connect(append([]*options.ClientOptions{options.Client().ApplyURI(uri).SetServerSelectionTimeout(2 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(t.Context()) })
	return c.Database("d").Collection("c")
}

// quick has a Silence that a slow machine does not reach, impatient one that is soon over.
var (
	quick     = mongofeed.Options{Wait: 5 * time.Millisecond, Silence: time.Minute}
	impatient = mongofeed.Options{Wait: 5 * time.Millisecond, Silence: 400 * time.Millisecond}
)

func mustNew(t *testing.T, coll *mongo.Collection, opts mongofeed.Options) *mongofeed.Feed {
	t.Helper()
	f, err := mongofeed.New(coll, opts)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustOpen(t *testing.T, f driver.Feed, from driver.Position) driver.Stream {
	t.Helper()
	s, err := f.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustNext(t *testing.T, s driver.Stream) driver.Batch {
	t.Helper()
	b, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLostChangesAreAGap: the errors after which the server cannot go on.
func TestLostChangesAreAGap(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply bson.D
		gap   bool
	}{
		{"ChangeStreamHistoryLost", failure(286), true},
		{"ChangeStreamFatalError", failure(280), true},
		{"InvalidResumeToken", failure(260), true},
		{"CappedPositionLost", failure(136), true},
		{"BSONObjectTooLarge", failure(10334), true},
		{"a label", failure(1, "NonResumableChangeStreamError"), true},
		{"a token that it cannot read", failure(9), true},
		{"Unauthorized", failure(13), false},
		{"InternalError", failure(1), false},
		{"CursorNotFound", failure(43), false},
		{"NotWritablePrimary", failure(10107, "ResumableChangeStreamError"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s script
			var broken, reading bool
			s.aggregate = func(int, bson.Raw) bson.D {
				if broken {
					return tc.reply
				}
				return cursor(7, "firstBatch", "open", 5)
			}
			s.getMore = func(int, bson.Raw) bson.D {
				if reading {
					return tc.reply
				}
				return cursor(7, "nextBatch", "quiet", 5)
			}
			turn := func(b, r bool) {
				s.mu.Lock()
				defer s.mu.Unlock()
				broken, reading = b, r
			}
			f := mustNew(t, connect(t, newFakeServer(t, s.reply).uri), impatient)
			stream := mustOpen(t, f, nil)
			p := stream.Position()
			turn(true, true)
			if _, err := stream.Next(t.Context()); err == nil || errors.Is(err, driver.ErrGap) != tc.gap {
				t.Errorf("Next: %v, want a gap: %v", err, tc.gap)
			}
			if _, err := f.Open(t.Context(), p); err == nil || errors.Is(err, driver.ErrGap) != tc.gap {
				t.Errorf("Open at a position: %v, want a gap: %v", err, tc.gap)
			}
			// Opened at "now" nothing can be missing. A gap would be made up for in vain, for ever.
			if _, err := f.Open(t.Context(), nil); err == nil || errors.Is(err, driver.ErrGap) {
				t.Errorf("Open: %v, want an error that is no gap", err)
			}
		})
	}
}

// TestErrorsSayWhatToDo, and do not try again where that is in vain.
func TestErrorsSayWhatToDo(t *testing.T) {
	for code, want := range map[int]string{
		40573: "replica set", 13: "role read", 59: "no change streams", 40324: "no change streams",
	} {
		s := script{aggregate: func(int, bson.Raw) bson.D { return failure(code) }}
		f := mustNew(t, connect(t, newFakeServer(t, s.reply).uri), quick)
		if _, err := f.Open(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q in it", code, err, want)
		}
		if n := len(s.sent("aggregate")); n != 1 {
			t.Errorf("%d: tried %d times", code, n)
		}
	}
}

// TestStreamIsOpenedAgainWithPauses: the driver's own change stream would spin where opening
// succeeds and reading fails, or the server closes the cursor at once.
func TestStreamIsOpenedAgainWithPauses(t *testing.T) {
	for name, reply := range map[string]bson.D{
		"fails":  failure(43),
		"closes": cursor(0, "nextBatch", "quiet", 5),
	} {
		t.Run(name, func(t *testing.T) {
			s := script{getMore: func(int, bson.Raw) bson.D { return reply }}
			stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), impatient), nil)
			_, err := stream.Next(t.Context())
			if err == nil || errors.Is(err, driver.ErrGap) {
				t.Errorf("got %v, want an error that is no gap", err)
			}
			if n := len(s.sent("aggregate")); n < 2 || n > 5 {
				t.Errorf("opened %d times in 400 ms, want 2 to 5", n)
			}
		})
	}
}

// TestFailuresBetween: a few failures are not seen by the caller, and cost no change.
func TestFailuresBetween(t *testing.T) {
	s := script{getMore: func(n int, _ bson.Raw) bson.D {
		switch n {
		case 0:
			return cursor(7, "nextBatch", "a", 6, change("insert", "a", 6))
		case 1, 2:
			return failure(11601)
		default:
			return cursor(7, "nextBatch", "b", 7, change("insert", "b", 7))
		}
	}}
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), quick), nil)
	for _, key := range []string{"a", "b"} {
		if b := mustNext(t, stream); len(b.Changes) != 1 || b.Changes[0].Key != key {
			t.Errorf("got %+v, want %s", b, key)
		}
	}
	all := s.sent("aggregate")
	if at := all[len(all)-1].Lookup("pipeline", "0", "$changeStream", "startAfter", "_data").StringValue(); at != "a" {
		t.Errorf("opened again behind %q, want a", at)
	}
}

// TestPositionAheadOfTheLog: of another history, such as before a backup was restored.
func TestPositionAheadOfTheLog(t *testing.T) {
	var now uint32 = 100
	s := script{}
	s.aggregate = func(int, bson.Raw) bson.D { return cursor(7, "firstBatch", "open", now) }
	f := mustNew(t, connect(t, newFakeServer(t, s.reply).uri), quick)
	p := mustOpen(t, f, nil).Position()
	mustOpen(t, f, p)
	now = 99
	if _, err := f.Open(t.Context(), p); !errors.Is(err, driver.ErrGap) {
		t.Errorf("got %v, want ErrGap", err)
	}
}

// TestHistoryChangesWhileFollowing: the same, while a stream is open.
func TestHistoryChangesWhileFollowing(t *testing.T) {
	for name, change := range map[string]func(*script){
		"log is behind": func(s *script) {
			s.aggregate = func(int, bson.Raw) bson.D { return cursor(7, "firstBatch", "open", 99) }
		},
		"another collection": func(s *script) { s.uuid = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := script{
				aggregate: func(int, bson.Raw) bson.D { return cursor(7, "firstBatch", "open", 100) },
				getMore:   func(int, bson.Raw) bson.D { return failure(43) },
			}
			opts := quick
			opts.Silence = 5 * time.Second
			stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
			s.mu.Lock()
			change(&s)
			s.mu.Unlock()
			if _, err := stream.Next(t.Context()); !errors.Is(err, driver.ErrGap) {
				t.Errorf("got %v, want ErrGap", err)
			}
		})
	}
}

// TestCollectionIsAnotherOne: the server would accept the token.
func TestCollectionIsAnotherOne(t *testing.T) {
	var s script
	f := mustNew(t, connect(t, newFakeServer(t, s.reply).uri), quick)
	p := mustOpen(t, f, nil).Position()
	s.mu.Lock()
	s.uuid = 1
	s.mu.Unlock()
	if _, err := f.Open(t.Context(), p); !errors.Is(err, driver.ErrGap) {
		t.Errorf("got %v, want ErrGap", err)
	}
}

// TestOneTimeout: with a timeout of the client, or a deadline of the caller, the driver
// would send a second maxTimeMS, which servers refuse. Seen to fail with the caller's
// context.
func TestOneTimeout(t *testing.T) {
	s := script{}
	coll := connect(t, newFakeServer(t, s.reply).uri, options.Client().SetTimeout(time.Second))
	stream := mustOpen(t, mustNew(t, coll, quick), nil)
	mustNext(t, stream)
	for _, cmd := range s.sent("getMore") {
		elements, err := cmd.Elements()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range elements {
			if e.Key() == "maxTimeMS" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("maxTimeMS %d times in %v", n, cmd)
		}
	}
	// All commands of a cursor are of one session.
	first := s.sent("aggregate")[0].Lookup("lsid")
	if second := s.sent("getMore")[0].Lookup("lsid"); !first.Equal(second) {
		t.Errorf("sessions %v and %v", first, second)
	}
}

// TestServerReadsOnlyWhatIsNeeded: whole documents stay there.
func TestServerReadsOnlyWhatIsNeeded(t *testing.T) {
	s := script{}
	opts := quick
	opts.Key, opts.Version = "id", "version"
	mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
	cmd := s.sent("aggregate")[0]
	if v, err := cmd.LookupErr("pipeline", "0", "$changeStream", "fullDocument"); err == nil {
		t.Errorf("fullDocument: %v", v)
	}
	if v, err := cmd.LookupErr("pipeline", "0", "$changeStream", "fullDocumentBeforeChange"); err == nil {
		t.Errorf("pre-images are asked for of a collection without them: %v", v)
	}
	for _, name := range []string{"fullDocument", "updateDescription", "updateDescription.updatedFields", "documentKey"} {
		if _, err := cmd.LookupErr("pipeline", "1", "$project", name); err == nil {
			t.Errorf("all of %s is sent", name)
		}
	}
	if level := cmd.Lookup("readConcern", "level").StringValue(); level != "majority" {
		t.Errorf("read concern %q", level)
	}
}

// TestTwoRouters: of a sharded cluster. Only one has the cursor; the driver takes any.
func TestTwoRouters(t *testing.T) {
	var routers [2]*fakeServer
	var mu sync.Mutex
	owner, n := -1, 0
	for i := range routers {
		s := script{}
		s.aggregate = func(int, bson.Raw) bson.D {
			mu.Lock()
			defer mu.Unlock()
			owner = i
			return cursor(7, "firstBatch", "open", 5)
		}
		s.getMore = func(int, bson.Raw) bson.D {
			mu.Lock()
			defer mu.Unlock()
			if owner != i {
				return failure(43)
			}
			n++
			return cursor(7, "nextBatch", fmt.Sprint(n), 5, change("insert", fmt.Sprint(n), 5))
		}
		routers[i] = newFakeServer(t, s.reply)
		routers[i].router = true
	}
	stream := mustOpen(t, mustNew(t, connect(t, "mongodb://"+routers[0].addr+","+routers[1].addr+"/"), quick), nil)
	for i := range 50 {
		if b := mustNext(t, stream); len(b.Changes) != 1 || b.Changes[0].Key != fmt.Sprint(i+1) {
			t.Fatalf("got %+v, want change %d", b, i+1)
		}
	}
	if n := routers[0].count("aggregate") + routers[1].count("aggregate"); n != 1 {
		t.Errorf("the stream was opened %d times", n)
	}
}

// TestTransactionOverTwoReplies: a router may send a part of a transaction.
func TestTransactionOverTwoReplies(t *testing.T) {
	txn := func(n int64) []bson.E {
		return []bson.E{{Key: "txnNumber", Value: n}, {Key: "lsid", Value: bson.D{{Key: "id", Value: "s"}}}}
	}
	s := script{getMore: func(n int, _ bson.Raw) bson.D {
		switch n {
		case 0:
			return cursor(7, "nextBatch", "a", 6, change("insert", "a", 6, txn(1)...))
		case 1:
			return cursor(7, "nextBatch", "b", 6, change("insert", "b", 6, txn(1)...))
		}
		return cursor(7, "nextBatch", "quiet", 6)
	}}
	srv := newFakeServer(t, s.reply)
	srv.router = true
	stream := mustOpen(t, mustNew(t, connect(t, srv.uri), quick), nil)
	if b := mustNext(t, stream); len(b.Changes) != 2 {
		t.Errorf("got %+v, want both changes of the transaction", b)
	}
}

// TestBurstIsInterrupted: the changes before the failure are told too, though their events
// are not read again.
func TestBurstIsInterrupted(t *testing.T) {
	many := func(n int) (events []bson.D) {
		for i := range 200 {
			events = append(events, change("insert", fmt.Sprint(n, i), uint32(6+n)))
		}
		return events
	}
	s := script{getMore: func(n int, _ bson.Raw) bson.D {
		switch n {
		case 0, 1:
			return cursor(7, "nextBatch", fmt.Sprint(n), 50, many(n)...)
		case 2:
			return failure(11601)
		}
		return cursor(7, "nextBatch", "quiet", 50)
	}}
	opts := quick
	opts.MaxChanges = 300
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
	if b := mustNext(t, stream); !b.All {
		t.Errorf("got %d changes, want All", len(b.Changes))
	}
	all := s.sent("aggregate")
	if at := all[len(all)-1].Lookup("pipeline", "0", "$changeStream", "startAfter", "_data").StringValue(); at != "1" {
		t.Errorf("opened again behind %q, want 1", at)
	}
	if b := mustNext(t, stream); b.All {
		t.Error("told twice")
	}
}

// TestReadFails: the events are read again, and no key is lost.
func TestReadFails(t *testing.T) {
	reads := 0
	update := func(n int) bson.D {
		return cursor(7, "nextBatch", "a", 6, change("update", "a", 6, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: bson.D{}}}}))
	}
	s := script{
		aggregate: func(n int, _ bson.Raw) bson.D { return cursor(7, "firstBatch", "open", 5+uint32(n)*100) },
		getMore:   func(n int, _ bson.Raw) bson.D { return update(n) },
		find: func(bson.Raw) bson.D {
			if reads++; reads == 1 {
				return failure(11601)
			}
			return cursor(0, "firstBatch", "", 9, bson.D{{Key: "_id", Value: "a"}, {Key: "id", Value: "key"}})
		},
	}
	opts := quick
	opts.Key = "id"
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
	if b := mustNext(t, stream); len(b.Changes) != 1 || b.Changes[0] != (driver.Change{Key: "key"}) {
		t.Errorf("got %+v, want the key", b)
	}
}

// TestReadSeesLaterKey: the read for an update sees the key that a later update has set. The
// old key must not be lost. Seen to fail if what was read counts as known before the later
// update.
func TestReadSeesLaterKey(t *testing.T) {
	set := func(at uint32, fields ...bson.E) bson.D {
		return change("update", "a", at, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: append(bson.D{}, fields...)}}})
	}
	s := script{
		getMore: func(n int, _ bson.Raw) bson.D {
			switch n {
			case 0:
				return cursor(7, "nextBatch", "1", 6, set(6))
			case 1:
				return cursor(7, "nextBatch", "2", 9, set(8, bson.E{Key: "id", Value: "new"}))
			case 2:
				return cursor(7, "nextBatch", "3", 9, change("delete", "a", 10))
			}
			return cursor(7, "nextBatch", "quiet", 9)
		},
		find: func(bson.Raw) bson.D {
			return cursor(0, "firstBatch", "", 9, bson.D{{Key: "_id", Value: "a"}, {Key: "id", Value: "new"}})
		},
	}
	opts := quick
	opts.Key = "id"
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
	if b := mustNext(t, stream); len(b.Changes) != 1 || b.Changes[0] != (driver.Change{Key: "new"}) {
		t.Errorf("got %+v, want the key that was read", b)
	}
	if b := mustNext(t, stream); !b.All {
		t.Errorf("got %+v, want All: nobody knows the key before", b)
	}
}

// TestEventsAreReadAgain: what was learned from events is forgotten before they are read
// again. Else the first key of two changes in one transaction would be taken for the second.
func TestEventsAreReadAgain(t *testing.T) {
	set := func(id string, fields ...bson.E) bson.D {
		return change("update", id, 6, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: append(bson.D{}, fields...)}}})
	}
	reads := 0
	s := script{
		aggregate: func(n int, _ bson.Raw) bson.D { return cursor(7, "firstBatch", "open", 4+uint32(n)*100) },
		getMore: func(n int, _ bson.Raw) bson.D {
			if n == 0 {
				return cursor(7, "nextBatch", "1", 5, change("insert", "a", 5, bson.E{Key: "fullDocument", Value: bson.D{{Key: "id", Value: "A"}}}))
			}
			return cursor(7, "nextBatch", "2", 6, set("a", bson.E{Key: "id", Value: "B"}), set("a", bson.E{Key: "id", Value: "C"}), set("z"))
		},
		find: func(bson.Raw) bson.D {
			if reads++; reads == 1 {
				return failure(11601)
			}
			return cursor(0, "firstBatch", "", 9, bson.D{{Key: "_id", Value: "z"}, {Key: "id", Value: "Z"}})
		},
	}
	opts := quick
	opts.Key = "id"
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
	mustNext(t, stream)
	b := mustNext(t, stream)
	if !b.All && !slices.Contains(b.Changes, driver.Change{Key: "A", Deleted: true}) {
		t.Errorf("got %+v, want A to be gone", b)
	}
}

// TestMoreIsAlwaysThere: Next returns while the server has more and more. Seen not to return
// without a limit of time.
func TestMoreIsAlwaysThere(t *testing.T) {
	var events []bson.D
	for i := range 150 {
		events = append(events, change("insert", fmt.Sprint(i), 6))
	}
	s := script{getMore: func(n int, _ bson.Raw) bson.D { return cursor(7, "nextBatch", fmt.Sprint(n), 6, events...) }}
	opts := quick
	for _, opts.MaxChanges = range []int{1 << 30, 200} {
		stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
		if b := mustNext(t, stream); b.All != (opts.MaxChanges == 200) {
			t.Errorf("at most %d: %d changes, all: %v", opts.MaxChanges, len(b.Changes), b.All)
		}
	}
}

// TestUnknownEvent: what this package does not know may have changed anything.
func TestUnknownEvent(t *testing.T) {
	s := script{getMore: func(n int, _ bson.Raw) bson.D {
		if n == 0 {
			return cursor(7, "nextBatch", "a", 6, bson.D{{Key: "_id", Value: token("a")}, {Key: "operationType", Value: "somethingNew"}})
		}
		return cursor(7, "nextBatch", "quiet", 6)
	}}
	stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), quick), nil)
	if b := mustNext(t, stream); !b.All {
		t.Errorf("got %+v, want All", b)
	}
}

// TestFunctionsOfOptionsPanic: the process goes on, and nothing is missed.
func TestFunctionsOfOptionsPanic(t *testing.T) {
	short := func(v bson.RawValue) (string, bool) { return v.StringValue()[:3], true }
	for name, set := range map[string]func(*mongofeed.Options){
		"Format": func(o *mongofeed.Options) { o.Format = short },
		"KeyOf":  func(o *mongofeed.Options) { o.Key, o.KeyOf = "id", short },
	} {
		t.Run(name, func(t *testing.T) {
			s := script{getMore: func(n int, _ bson.Raw) bson.D {
				id := "e"
				if n == 2 {
					id = "long"
				}
				return cursor(7, "nextBatch", id, 101+uint32(n), change("delete", id, 101+uint32(n)))
			}}
			var log bytes.Buffer
			opts := quick
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			set(&opts)
			stream := mustOpen(t, mustNew(t, connect(t, newFakeServer(t, s.reply).uri), opts), nil)
			for range 2 {
				if b := mustNext(t, stream); !b.All {
					t.Errorf("%+v, want All", b)
				}
			}
			if b := mustNext(t, stream); len(b.Changes) != 1 || b.Changes[0].Key != "lon" {
				t.Errorf("%+v, want a change of lon", b)
			}
			if text := log.String(); strings.Count(text, "function of Options panicked") != 1 || !strings.Contains(text, "option="+name) || !strings.Contains(text, "TestFunctionsOfOptionsPanic") {
				t.Errorf("log: %s, want one line with the stack", text)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	coll := connect(t, "mongodb://127.0.0.1:1/")
	for name, opts := range map[string]mongofeed.Options{
		"Key":        {Key: "a.b"},
		"Version":    {Version: "$v"},
		"MaxChanges": {MaxChanges: -1},
		"Wait":       {Wait: -1},
		"Silence":    {Wait: time.Second, Silence: time.Second},
	} {
		if _, err := mongofeed.New(coll, opts); err == nil || !strings.Contains(err.Error(), "Options."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mongofeed.New(nil, mongofeed.Options{}); err == nil {
		t.Error("a nil collection is accepted")
	}
	if _, err := mongofeed.New(coll, mongofeed.Options{Wait: 20 * time.Second}); err != nil {
		t.Error(err)
	}
}
