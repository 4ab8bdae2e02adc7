package mongostore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

// A document of another program does not affect other records. Dates that JSON does not
// support are omitted. A record that is too large is an error of its own. A document with an
// invalid id is not a todo. Caught: one date after the year 9999 failed each page and batch
// with it; a change of the name removed the date from the document.
func TestUnreadableDocuments(t *testing.T) {
	s := mustOpen(t, testserver.Mongo(t).URI(), Options{Existing: true})
	late := bson.DateTime(253402304399000) // 10000-01-01T00:59:59Z
	doc := func(id any, more ...bson.E) bson.D {
		return append(bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "id", Value: id}}, more...)
	}
	mustInsertRaw(t, s.todos,
		doc("a", bson.E{Key: "name", Value: "n"}, bson.E{Key: "extra", Value: strings.Repeat("x", 1<<20)}),
		doc("b", bson.E{Key: "name", Value: "n"}, bson.E{Key: "created_at", Value: late}, bson.E{Key: "completed", Value: int32(1)}),
		doc("c", bson.E{Key: "name", Value: strings.Repeat("x", todo.MaxRecordBytes)}),
		doc("d", bson.E{Key: "name", Value: "n"}),
		doc(".."), doc("a\x1b[31m"), doc(strings.Repeat("i", 257)), doc(""),
	)
	page, err := s.List(t.Context(), "", 4)
	if err != nil || page.Next != "" || len(page.Todos) != 3 || len(page.Unreadable) != 1 || page.Unreadable[0].ID != "c" || !errors.Is(page.Unreadable[0].Err, todo.ErrUnreadable) {
		t.Errorf("List: %d records, next %q, %v, %v", len(page.Todos), page.Next, page.Unreadable, err)
	}
	if _, err := json.Marshal(page.Todos); err != nil {
		t.Error(err)
	}
	if page, err := s.List(t.Context(), "b", 1); err != nil || len(page.Todos) != 0 || len(page.Unreadable) != 1 || page.Next != "c" {
		t.Errorf("List of c alone: %+v, %v", page, err)
	}
	found, err := s.GetMany(t.Context(), []string{"a", "b", "c", "d", "..", "e"})
	var unreadable todo.UnreadableRecords
	if !errors.As(err, &unreadable) || len(unreadable) != 1 || unreadable[0].ID != "c" || len(found) != 3 {
		t.Errorf("GetMany: %d records, %v", len(found), err)
	}
	if _, err := s.Get(t.Context(), "c"); !errors.Is(err, todo.ErrUnreadable) {
		t.Errorf("Get of the large one: %v", err)
	}
	for _, id := range []string{"..", "a\x1b[31m", ""} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, todo.ErrNotFound) {
			t.Errorf("Get of %q: %v, want ErrNotFound", id, err)
		}
	}
	got, err := s.Update(t.Context(), "b", func(c todo.Todo) (todo.Todo, error) {
		c.Name, c.Version, c.UpdatedAt = "new", c.Version+1, time.UnixMilli(1_700_000_000_000).UTC()
		return c, nil
	})
	if err != nil || !got.CreatedAt.IsZero() || !got.Completed {
		t.Errorf("Update: %+v, %v", got, err)
	}
	if raw := mustFindRaw(t, s.todos, bson.D{{Key: "id", Value: "b"}}); raw["created_at"] != late || raw["name"] != "new" || raw["completed"] != int32(1) {
		t.Errorf("the document is now %v", raw)
	}
	if raw := mustFindRaw(t, s.todos, bson.D{{Key: "id", Value: "a"}}); len(raw["extra"].(string)) != 1<<20 {
		t.Errorf("a field that is not ours is gone")
	}
	if err := s.Delete(t.Context(), "c", func(todo.Todo) error { return nil }); err != nil {
		t.Errorf("Delete: %v", err)
	}
}
