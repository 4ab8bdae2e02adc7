package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// The patterns of the document accept what the server accepts. Caught: a document that
// allowed ids with control characters, new ids with invisible ones, and blank names.
func TestPatternsMatchTheServer(t *testing.T) {
	id, newID, name, tags, cursor := regexp.MustCompile(idPattern), regexp.MustCompile(newIDPattern), regexp.MustCompile(namePattern), regexp.MustCompile(tagsPattern), regexp.MustCompile(cursorPattern)
	checkID := func(s string) {
		t.Helper()
		if said, is := id.MatchString(s), todo.CheckID(s) == nil; said != is && utf8.ValidString(s) && len(s) <= todo.MaxIDBytes {
			t.Errorf("id %q: the document says %v, the server %v", s, said, is)
		}
		// Beyond U+FFFF the description of the field says it, not the pattern.
		beyond := strings.ContainsFunc(s, func(r rune) bool { return r > 0xffff && todo.Invisible(r) })
		if said, is := newID.MatchString(s), todo.CheckNewID(s) == nil; said != is && !beyond && utf8.ValidString(s) && len(s) <= todo.MaxIDBytes {
			t.Errorf("new id %q: the document says %v, the server %v", s, said, is)
		}
	}
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		if checkID("a" + string(r)); r > 0x3000 {
			continue // the patterns treat the other positions alike
		}
		for _, s := range []string{string(r), "." + string(r), ".." + string(r), "..." + string(r)} {
			checkID(s)
		}
		if said, is := name.MatchString(" "+string(r)), strings.TrimSpace(" "+string(r)) != ""; said != is {
			t.Errorf("name %q: the document says %v, the server %v", r, said, is)
		}
	}
	for _, s := range []string{"", ".", "..", "...", "....", ".a.", "a..", "..a", "/", " "} {
		checkID(s)
	}
	pieces := []string{"*", ",", " ", "\t", `"x"`, `W/"y"`, `""`, `"a,b"`, `"`, "W/", "z", "w/\"z\""}
	var all func(prefix string, depth int)
	all = func(prefix string, depth int) {
		parsed, err := parseTags([]string{prefix})
		if said, is := tags.MatchString(strings.Trim(prefix, " \t")), err == nil && parsed != nil; said != is {
			t.Errorf("If-Match %q: the document says %v, the server %v (%v)", prefix, said, is, err)
		}
		if depth > 0 {
			for _, p := range pieces {
				all(prefix+p, depth-1)
			}
		}
	}
	all("", 4)
	for n := range 12 {
		for _, c := range []string{encodeCursor(strings.Repeat("é", n)), encodeCursor(strings.Repeat("a", n)), strings.Repeat("M", n), "MQ" + strings.Repeat("x", n), "Mf" + strings.Repeat("_", n), "MP" + strings.Repeat("x", n),
			base64.RawURLEncoding.EncodeToString([]byte("2" + strings.Repeat("a", n))), encodeCursor("aaa") + strings.Repeat("\n", n)} {
			_, err := decodeCursor(c)
			if said, is := cursor.MatchString(c), err == nil; said != is {
				t.Errorf("cursor %q: the document says %v, the server %v", c, said, is)
			}
		}
	}
}

// The document has the pattern of new ids where a POST needs it, readable in any editor.
// Caught: the pattern of all ids there; invisible characters as they are.
func TestDocumentOfNewIDs(t *testing.T) {
	s, err := New(Options{Service: todo.NewService(todo.ServiceOptions{Store: todotest.New()})})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/openapi.json", nil))
	body := w.Body.String()
	for i, r := range body {
		if todo.Invisible(r) {
			t.Fatalf("%U at byte %d of the document", r, i)
		}
	}
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Pattern, Description string }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	id := doc.Components.Schemas["NewTodo"].Properties["id"]
	if id.Pattern != newIDPattern || !strings.Contains(id.Description, "invisible") {
		t.Errorf("id of a new todo: pattern %q, description %q", id.Pattern, id.Description)
	}
	if id := doc.Components.Schemas["Replacement"].Properties["id"]; id.Pattern != idPattern {
		t.Errorf("id of an existing todo: pattern %q", id.Pattern)
	}
}

// The JSON of a record is never larger than sizeOf says.
func FuzzSizeOf(f *testing.F) {
	f.Add("1", "name", "text", false)
	f.Add("\x00\x1f\"\\\u2028", "\xff<&>", strings.Repeat("é\n", 10), true)
	f.Fuzz(func(t *testing.T, id, name, description string, completed bool) {
		r := todo.Todo{ID: id, Name: name, Description: &description, Completed: completed, Version: -1 << 63}
		if size, is := sizeOf(&r), int64(len(encodeTodo(&r))); size < is || size > 6*is+recordBytes {
			t.Errorf("%d counted, %d sent", size, is)
		}
	})
}
