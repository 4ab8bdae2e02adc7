package mongostore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func mustOpen(t *testing.T, uri string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), uri, opts)
	return storetest.Opened(t, s, err)
}

func waitForIndex(t *testing.T, s *Store) indexState {
	t.Helper()
	select {
	case <-s.indexed:
	case <-time.After(30 * time.Second):
		t.Fatal("the index was not settled within 30s")
	}
	return indexState(s.index.Load())
}

func TestStore(t *testing.T) {
	t.Run("with the unique index", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) todo.Store {
			s := mustOpen(t, testserver.Mongo(t).URI(), Options{})
			if state := waitForIndex(t, s); state != indexUnique {
				t.Fatalf("state of the index: %d", state)
			}
			return s
		})
	})
	t.Run("before the index is known", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) todo.Store {
			return mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: true})
		})
	})
}

// mustInsertRaw inserts documents without the store, in their order.
func mustInsertRaw(t *testing.T, todos *mongo.Collection, docs ...bson.D) {
	t.Helper()
	for _, d := range docs {
		if _, err := todos.InsertOne(t.Context(), d); err != nil {
			t.Fatalf("insert %v: %v", d, err)
		}
	}
}

func mustFindRaw(t *testing.T, todos *mongo.Collection, filter bson.D) bson.M {
	t.Helper()
	var m bson.M
	if err := todos.FindOne(t.Context(), filter).Decode(&m); err != nil {
		t.Fatalf("find %v: %v", filter, err)
	}
	return m
}

// TestTutorialRecord: a document of the tutorial's system can be read, updated and deleted.
// An update keeps unknown fields.
func TestTutorialRecord(t *testing.T) {
	s := mustOpen(t, testserver.Mongo(t).URI(), Options{})
	key := bson.NewObjectID()
	mustInsertRaw(t, s.todos, bson.D{
		{Key: "_id", Value: key}, {Key: "id", Value: "123"}, {Key: "name", Value: "n"},
		{Key: "description", Value: nil}, {Key: "owner", Value: bson.D{{Key: "team", Value: int32(7)}}},
	})
	got, err := s.Get(t.Context(), "123")
	if err != nil || got.Name != "n" || got.Description != nil || got.Version != 0 || !got.CreatedAt.IsZero() {
		t.Fatalf("Get: %+v, %v", got, err)
	}
	now := time.UnixMilli(1_700_000_000_123).UTC()
	got, err = s.Update(t.Context(), "123", func(c todo.Todo) (todo.Todo, error) {
		c.Name, c.Version, c.UpdatedAt = "new", c.Version+1, now
		return c, nil
	})
	if err != nil || got.Version != 1 {
		t.Fatalf("Update: %+v, %v", got, err)
	}
	raw := mustFindRaw(t, s.todos, bson.D{{Key: "id", Value: "123"}})
	if raw["_id"] != key || raw["name"] != "new" || raw["version"] != int64(1) || fmt.Sprint(raw["owner"]) != "{\"team\":{\"$numberInt\":\"7\"}}" {
		t.Errorf("the document is now %v", raw)
	}
	if _, ok := raw["created_at"]; ok {
		t.Errorf("an unknown time of creation was written: %v", raw)
	}
	if err := s.Delete(t.Context(), "123", func(todo.Todo) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestOddDocuments: each of these documents caused an error in some reader. None of them may
// fail a page, and each can be updated and deleted.
func TestOddDocuments(t *testing.T) {
	s := mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: true})
	at := time.UnixMilli(1_700_000_000_000).UTC()
	text := func(s string) *string { return &s }
	cases := []struct {
		doc  bson.D
		want todo.Todo
	}{
		{bson.D{{Key: "id", Value: "a"}}, todo.Todo{}},
		{bson.D{{Key: "id", Value: "b"}, {Key: "name", Value: nil}, {Key: "completed", Value: nil}, {Key: "version", Value: nil}}, todo.Todo{}},
		{bson.D{{Key: "id", Value: "c"}, {Key: "name", Value: int32(5)}, {Key: "description", Value: 2.5}}, todo.Todo{Name: "5", Description: text("2.5")}},
		{bson.D{{Key: "id", Value: "d"}, {Key: "name", Value: true}, {Key: "completed", Value: int64(1)}}, todo.Todo{Name: "true", Completed: true}},
		{bson.D{{Key: "id", Value: "e"}, {Key: "name", Value: "n"}, {Key: "description", Value: bson.A{"x", "y"}}}, todo.Todo{Name: "n", Description: text(`["x","y"]`)}},
		{bson.D{{Key: "id", Value: "f"}, {Key: "name", Value: "n"}, {Key: "version", Value: "7"}, {Key: "completed", Value: "true"}}, todo.Todo{Name: "n", Version: 7, Completed: true}},
		{bson.D{{Key: "id", Value: "g"}, {Key: "name", Value: "n"}, {Key: "version", Value: 3.0}, {Key: "created_at", Value: at.Format(time.RFC3339)}}, todo.Todo{Name: "n", Version: 3, CreatedAt: at}},
		{bson.D{{Key: "id", Value: "h"}, {Key: "name", Value: "n"}, {Key: "version", Value: 2.5}, {Key: "created_at", Value: "yesterday"}, {Key: "completed", Value: bson.D{}}}, todo.Todo{Name: "n"}},
		{bson.D{{Key: "id", Value: "i"}, {Key: "name", Value: at}, {Key: "updated_at", Value: at}}, todo.Todo{Name: "2023-11-14T22:13:20Z", UpdatedAt: at}},
	}
	for _, c := range cases {
		mustInsertRaw(t, s.todos, c.doc)
	}
	// These are not todos.
	mustInsertRaw(t, s.todos, bson.D{{Key: "id", Value: int32(5)}, {Key: "name", Value: "n"}}, bson.D{{Key: "name", Value: "n"}})

	page, err := s.List(t.Context(), "", 100)
	if err != nil || len(page.Todos) != len(cases) || page.Next != "" {
		t.Fatalf("List: %d of %d, %q, %v", len(page.Todos), len(cases), page.Next, err)
	}
	for i, c := range cases {
		got, want := page.Todos[i], c.want
		want.ID = got.ID
		if show(got) != show(want) {
			t.Errorf("%v is read as\n %s, want\n %s", c.doc, show(got), show(want))
		}
		updated, err := s.Update(t.Context(), got.ID, func(c todo.Todo) (todo.Todo, error) {
			c.Version++
			return c, nil
		})
		if err != nil || updated.Version != want.Version+1 {
			t.Errorf("Update of %v: %+v, %v", c.doc, updated, err)
		}
		if err := s.Delete(t.Context(), got.ID, func(todo.Todo) error { return nil }); err != nil {
			t.Errorf("Delete of %v: %v", c.doc, err)
		}
	}
}

func show(t todo.Todo) string {
	d := "null"
	if t.Description != nil {
		d = *t.Description
	}
	t.Description = nil
	return fmt.Sprintf("%+v description %s", t, d)
}

// TestDuplicatesInOldData: duplicates are reported with examples and are not fatal. Every
// method uses the first one as the record. A delete removes all of them.
func TestDuplicatesInOldData(t *testing.T) {
	m := testserver.Mongo(t)
	s := mustOpen(t, m.URI(), Options{Existing: true})
	doc := func(id, name string) bson.D {
		return bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "id", Value: id}, {Key: "name", Value: name}}
	}
	mustInsertRaw(t, s.todos, doc("1", "one"), doc("twice", "first"), doc("2", "two"), doc("twice", "second"), doc("twice", "third"))

	var said testsync.Buffer
	s = mustOpen(t, m.URI(), Options{Logger: storetest.Logger(&said)})
	if state := waitForIndex(t, s); state != indexPlain {
		t.Fatalf("state of the index: %d; %s", state, said.String())
	}
	if !strings.Contains(said.String(), "twice (3 times)") || !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("the log does not name the duplicates: %s", said.String())
	}

	if got, err := s.Get(t.Context(), "twice"); err != nil || got.Name != "first" {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if got, err := s.GetMany(t.Context(), []string{"twice", "1"}); err != nil || len(got) != 2 || got["twice"].Name != "first" {
		t.Errorf("GetMany: %+v, %v", got, err)
	}
	for _, limit := range []int{1, 2, 3, 10} {
		var got []string
		for after := ""; ; {
			page, err := s.List(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Todos {
				got = append(got, x.ID+" "+x.Name)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if want := "[1 one 2 two twice first]"; fmt.Sprint(got) != want {
			t.Errorf("List in pages of %d: %v, want %s", limit, got, want)
		}
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "twice", Name: "fourth"}); err != todo.ErrExists {
		t.Errorf("Insert: %v", err)
	}
	rename := func(c todo.Todo) (todo.Todo, error) { c.Name = "renamed"; return c, nil }
	if got, err := s.Update(t.Context(), "twice", rename); err != nil || got.Name != "renamed" {
		t.Errorf("Update: %+v, %v", got, err)
	}
	if got, err := s.Get(t.Context(), "twice"); err != nil || got.Name != "renamed" {
		t.Errorf("Get after Update: %+v, %v", got, err)
	}
	if err := s.Delete(t.Context(), "twice", func(todo.Todo) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if n, err := s.todos.CountDocuments(t.Context(), bson.D{{Key: "id", Value: "twice"}}); err != nil || n != 0 {
		t.Errorf("%d documents are left after Delete (%v)", n, err)
	}

	// The duplicates are gone, so the next start makes the index unique.
	s = mustOpen(t, m.URI(), Options{Logger: storetest.Logger(&said)})
	if state := waitForIndex(t, s); state != indexUnique {
		t.Errorf("state of the index after the duplicates went: %d; %s", state, said.String())
	}
	found, err := s.lookForIndex(t.Context())
	if err != nil || !found.unique || found.plain {
		t.Errorf("indexes: %+v, %v", found, err)
	}
}

// TestUsersOwnIndex: an existing unique index on id is used.
func TestUsersOwnIndex(t *testing.T) {
	m := testserver.Mongo(t)
	s := mustOpen(t, m.URI(), Options{Existing: true})
	if err := s.createIndex(t.Context(), "by_id", true); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, m.URI(), Options{})
	if state := waitForIndex(t, s); state != indexUnique {
		t.Errorf("state of the index: %d", state)
	}
	n := 0
	cursor, err := s.todos.Indexes().List(t.Context())
	if err := each(t.Context(), cursor, err, func(bson.Raw) bool { n++; return true }); err != nil || n != 2 {
		t.Errorf("%d indexes (%v), want _id_ and by_id", n, err)
	}
}

// TestKeyOfAnotherRecord: a document with another id may have the _id of a new record.
func TestKeyOfAnotherRecord(t *testing.T) {
	for _, existing := range []bool{false, true} {
		s := mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: existing})
		waitForIndex(t, s)
		mustInsertRaw(t, s.todos, bson.D{{Key: "_id", Value: "5"}, {Key: "id", Value: "7"}, {Key: "name", Value: "n"}})
		if err := s.Insert(t.Context(), todo.Todo{ID: "5", Name: "five"}); err != nil {
			t.Errorf("existing %v: Insert: %v", existing, err)
		}
		if got, err := s.Get(t.Context(), "5"); err != nil || got.Name != "five" {
			t.Errorf("existing %v: Get: %+v, %v", existing, got, err)
		}
		if err := s.Insert(t.Context(), todo.Todo{ID: "5", Name: "again"}); err != todo.ErrExists {
			t.Errorf("existing %v: second Insert: %v", existing, err)
		}
	}
}

// TestInsertManyOfDocuments: a restore keeps documents unchanged and can be repeated, with
// and without the unique index.
func TestInsertManyOfDocuments(t *testing.T) {
	for _, existing := range []bool{false, true} {
		t.Run(fmt.Sprintf("existing=%v", existing), func(t *testing.T) {
			s := mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: existing})
			waitForIndex(t, s)
			key := bson.NewObjectID()
			record := func(key bson.ObjectID, id string) todo.Record {
				raw, err := bson.Marshal(bson.D{
					{Key: "_id", Value: key}, {Key: "id", Value: id}, {Key: "name", Value: "n"}, {Key: "extra", Value: "kept"},
				})
				if err != nil {
					t.Fatal(err)
				}
				return todo.Record{Todo: todo.Todo{ID: id, Name: "n"}, BSON: raw}
			}
			rs := []todo.Record{record(key, "1"), record(bson.NewObjectID(), "2"), {Todo: todo.Todo{ID: "3", Name: "n"}}}
			if res, err := s.InsertMany(t.Context(), rs); err != nil || res.Inserted != 3 || res.Existing != 0 {
				t.Fatalf("InsertMany: %+v, %v", res, err)
			}
			raw := mustFindRaw(t, s.todos, bson.D{{Key: "id", Value: "1"}})
			if raw["_id"] != key || raw["extra"] != "kept" {
				t.Errorf("the document became %v", raw)
			}
			rs = append(rs,
				record(bson.NewObjectID(), "1"), // the ID is taken
				record(key, "other"),            // the _id is taken
				record(bson.NewObjectID(), "4"))
			if res, err := s.InsertMany(t.Context(), rs); err != nil || res.Inserted != 1 || res.Existing != 5 {
				t.Errorf("InsertMany again: %+v, %v", res, err)
			}
			if n, err := s.Count(t.Context()); err != nil || n != 4 {
				t.Errorf("Count: %d, %v", n, err)
			}
		})
	}
}

func TestBatchOf(t *testing.T) {
	small := make([]todo.Record, insertBatch+1)
	if n := batchOf(small); n != insertBatch {
		t.Errorf("%d small records: a batch of %d", len(small), n)
	}
	large := make([]todo.Record, 5)
	for i := range large {
		large[i].BSON = make([]byte, insertBytes/2)
	}
	if n := batchOf(large); n != 2 {
		t.Errorf("records of half a batch each: a batch of %d", n)
	}
	large[0].BSON = make([]byte, 2*insertBytes)
	if n := batchOf(large); n != 1 {
		t.Errorf("a record larger than a batch: a batch of %d", n)
	}
}

// An existing collection is used as it is, and a missing one is not made. Caught: the index
// made it.
func TestExisting(t *testing.T) {
	s := mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: true})
	_, err := s.Update(t.Context(), "1", func(t todo.Todo) (todo.Todo, error) { return t, nil })
	if !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("%v, want %v", err, todo.ErrNotFound)
	}
	if names, err := s.todos.Database().ListCollectionNames(t.Context(), bson.D{{Key: "name", Value: "todos"}}); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}
