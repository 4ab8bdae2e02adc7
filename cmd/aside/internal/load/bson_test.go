package load_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func openArchive(t *testing.T, in []byte, sel load.Selection) *load.Archive {
	t.Helper()
	a, err := load.OpenArchive(bytes.NewReader(in), int64(len(in)), sel)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDocumentsDecode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	oid := bson.NewObjectID()
	text := "d"
	empty := ""
	for _, c := range []struct {
		name string
		doc  []byte
		want todo.Todo
		says string // part of the fault instead
	}{
		{"as the old system wrote it", dumptest.Doc("_id", oid, "id", "1", "name", "n", "description", "d"),
			todo.Todo{ID: "1", Name: "n", Description: &text}, ""},
		{"as the service writes it", dumptest.Doc("_id", oid, "id", "1", "name", "n", "description", "d", "completed", true, "created_at", at, "updated_at", at, "version", int64(3)),
			todo.Todo{ID: "1", Name: "n", Description: &text, Completed: true, CreatedAt: at, UpdatedAt: at, Version: 3}, ""},
		{"only what is required", dumptest.Doc("id", "1", "name", ""), todo.Todo{ID: "1"}, ""},
		{"null for what is not", dumptest.Doc("id", "1", "name", "n", "description", nil, "completed", nil, "created_at", nil, "updated_at", nil, "version", nil),
			todo.Todo{ID: "1", Name: "n"}, ""},
		{"empty description", dumptest.Doc("id", "1", "name", "n", "description", ""), todo.Todo{ID: "1", Name: "n", Description: &empty}, ""},
		{"other types of number", dumptest.Doc("id", "1", "name", "n", "version", 4.0), todo.Todo{ID: "1", Name: "n", Version: 4}, ""},
		{"id of any path segment", dumptest.Doc("id", "ž/😀 x", "name", "n"), todo.Todo{ID: "ž/😀 x", Name: "n"}, ""},
		{"name beyond the limit for new ones", dumptest.Doc("id", "1", "name", strings.Repeat("n", 5000)), todo.Todo{ID: "1", Name: strings.Repeat("n", 5000)}, ""},

		{"no id", dumptest.Doc("name", "n"), todo.Todo{}, `: id is missing`},
		{"empty document", dumptest.Doc(), todo.Todo{}, `: id is missing`},
		{"id is a number", dumptest.Doc("id", 7, "name", "n"), todo.Todo{}, `: id must be a string, is a number`},
		{"id is null", dumptest.Doc("id", nil, "name", "n"), todo.Todo{}, `: id must be a string, is null`},
		{"empty id", dumptest.Doc("id", "", "name", "n"), todo.Todo{}, `: id must not be empty`},
		{"long id", dumptest.Doc("id", strings.Repeat("i", 257), "name", "n"), todo.Todo{}, `id must be at most 256 bytes, is 257`},
		{"id that no URL can name", dumptest.Doc("id", "..", "name", "n"), todo.Todo{}, `id must not be "."`},
		{"too large", dumptest.Doc("id", "1", "name", strings.Repeat("n", todo.MaxRecordBytes)), todo.Todo{}, `(id "1"): is too large: id, name and description have 66817 bytes together, the maximum is 66816`},
		{"id twice", dumptest.Doc("id", "1", "id", "2", "name", "n"), todo.Todo{}, `id is given twice`},
		{"broken UTF-8", dumptest.Doc("id", "1\xff", "name", "n"), todo.Todo{}, `id must be valid UTF-8`},
		{"not BSON inside", append([]byte{17, 0, 0, 0, 2}, "id\x00\xff\x00\x00\x001\x00..\x00"...), todo.Todo{}, `is not valid BSON`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := openArchive(t, dumptest.New("test.todos").Add("test.todos", c.doc).End("test.todos").Bytes(), load.Selection{Collection: "todos"})
			todos, faults, _, err := drain(a)
			if err != io.EOF {
				t.Fatal(err)
			}
			if c.says != "" {
				if len(todos) != 0 || len(faults) != 1 || !strings.Contains(faults[0], c.says) {
					t.Fatalf("got %v and %q, want a fault that says %q", todos, faults, c.says)
				}
				return
			}
			if len(faults) != 0 || !reflect.DeepEqual(todos, []todo.Todo{c.want}) {
				t.Fatalf("got %+v and %q, want %+v", todos, faults, c.want)
			}
		})
	}
}

// Every document that the MongoDB store serves can be restored. Unusual values are converted
// as the store does it, and each kind is reported once. Caught: 5 of 6 such documents were
// skipped; a date after the year 9999 was loaded, and made it impossible to show its page.
func TestOddDocumentsAreLoaded(t *testing.T) {
	late := time.Date(10000, 1, 1, 0, 59, 59, 0, time.UTC)
	docs := [][]byte{
		dumptest.Doc("id", "1", "name", "n"),
		dumptest.Doc("id", "2", "name", "n", "completed", 1),
		dumptest.Doc("id", "3", "name", "n", "created_at", "2026-01-01T00:00:00Z"),
		dumptest.Doc("id", "4", "name", 42, "completed", 1.0),
		dumptest.Doc("id", "5", "created_at", late, "updated_at", "now"),
		dumptest.Doc("id", 6, "name", 42), // not a todo: its unusual values do not count
		dumptest.Doc("id", "7\u202e", "name", "n"),
	}
	a := openArchive(t, dumptest.New("test.todos").Add("test.todos", docs...).End("test.todos").Bytes(), load.Selection{Collection: "todos"})
	todos, faults, _, err := drain(a)
	if err != io.EOF || len(todos) != 6 || len(faults) != 1 {
		t.Fatalf("got %d todos, %q and %v", len(todos), faults, err)
	}
	for _, td := range todos {
		if _, err := json.Marshal(td); err != nil || td.Check() != nil {
			t.Errorf("%+v cannot be shown: %v, %v", td, err, td.Check())
		}
	}
	if got := todos[3]; got.Name != "42" || !got.Completed {
		t.Errorf("got %+v", got)
	}
	var got strings.Builder
	for _, o := range a.Odd() {
		fmt.Fprintf(&got, "%s (%d, %s)\n", o.What, o.Count, o.First[strings.Index(o.First, "(id"):])
	}
	const want = `completed: a number, read as true or false (2, (id "2"))
created_at: not a BSON date, read as a date (1, (id "3"))
name: not a text, read as text (1, (id "4"))
created_at: a date outside of the years 1 to 9999, ignored (1, (id "5"))
updated_at: not a date, ignored (1, (id "5"))
name: missing, read as empty (1, (id "5"))
id: has invisible characters, or characters that change the direction of text (1, (id "7\u202e"))
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}

// TestFaultsSayWhere: the offset is that of the document in the decompressed stream.
func TestFaultsSayWhere(t *testing.T) {
	w := dumptest.New("test.users", "test.todos").
		Add("test.users", otherDocs(3)...).
		Add("test.todos", todoDocs(1)...)
	at := w.Len()
	in := w.Add("test.todos", dumptest.Doc("name", "n")).Add("test.todos", todoDocs(1)...).End("test.users", "test.todos").Bytes()
	for _, in := range [][]byte{in, gzipped(t, in)} {
		a := openArchive(t, in, load.Selection{})
		_, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Next()
		f, ok := err.(*load.Fault)
		if !ok || f.Unit != "byte" || f.At != at {
			t.Fatalf("got %v, want a fault at byte %d", err, at)
		}
		if _, err := a.Next(); err != nil {
			t.Errorf("after the fault: %v", err)
		}
	}
}

func TestExtraFieldsAreCounted(t *testing.T) {
	docs := [][]byte{
		dumptest.Doc("_id", 1, "id", "1", "name", "n", "tags", "x"),
		dumptest.Doc("_id", 2, "id", "2", "name", "n", "tags", "x", "done", true),
	}
	a := openArchive(t, dumptest.New("test.todos").Add("test.todos", docs...).End("test.todos").Bytes(), load.Selection{})
	if todos, _, _, err := drain(a); err != io.EOF || len(todos) != 2 {
		t.Fatalf("got %d todos and %v", len(todos), err)
	}
	if got, want := a.Extra(), map[string]int64{"tags": 2, "done": 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestRawDocumentIsKept: a store of BSON documents gets the document unchanged.
func TestRawDocumentIsKept(t *testing.T) {
	doc := dumptest.Doc("_id", bson.NewObjectID(), "id", "1", "name", "n", "tags", []string{"x"})
	a := openArchive(t, dumptest.New("test.todos").Add("test.todos", doc).End("test.todos").Bytes(), load.Selection{})
	store := &memory{}
	if _, err := load.Run(t.Context(), store, a, load.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := store.records["1"].BSON; !bytes.Equal(got, doc) {
		t.Errorf("got %x, want %x", got, doc)
	}
}

// FuzzDocuments: no document causes a panic, and every accepted record is valid.
func FuzzDocuments(f *testing.F) {
	for _, doc := range [][]byte{
		dumptest.Doc("_id", bson.NewObjectID(), "id", "1", "name", "n", "description", "d"),
		dumptest.Doc("id", "1", "name", "n", "completed", true, "created_at", time.Unix(0, 0), "version", int64(3)),
		dumptest.Doc("id", 1, "name", nil, "version", 1.5),
	} {
		f.Add(doc[4 : len(doc)-1])
	}
	f.Fuzz(func(t *testing.T, elements []byte) {
		doc := binary.LittleEndian.AppendUint32(nil, uint32(len(elements)+5))
		doc = append(append(doc, elements...), 0)
		in := dumptest.New("test.todos").Add("test.todos", doc).End("test.todos").Bytes()
		a, err := load.OpenArchive(bytes.NewReader(in), 0, load.Selection{Collection: "todos"})
		if err != nil {
			t.Fatal(err)
		}
		todos, faults, _, err := drain(a)
		if err != io.EOF || len(todos)+len(faults) != 1 {
			t.Fatalf("got %d todos, %d faults and %v, want one of either", len(todos), len(faults), err)
		}
		for _, td := range todos {
			if err := td.Check(); err != nil {
				t.Errorf("accepted %+v: %v", td, err)
			}
		}
	})
}
