package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// A page lists a record that cannot be shown in failed, with any page size, and has the other
// records. A read of this record returns the reason. Caught: the record was silently missing.
func TestUnreadableRecordsAreNamed(t *testing.T) {
	large := strings.Repeat("x", todo.MaxRecordBytes+1)
	var records []todo.Todo
	for i := range 30 {
		r := todo.Todo{ID: fmt.Sprintf("k%02d", i), Name: "n", Version: 1, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(1, 0)}
		if i%3 == 1 {
			r.Description = &large
		}
		records = append(records, r)
	}
	f := serve(t, records)
	seen := map[string]bool{}
	for path, pages := "/todos?limit=7", 0; path != ""; pages++ {
		if pages > 20 {
			t.Fatal("pages without an end")
		}
		a := f.do(http.MethodGet, path, "")
		if a.StatusCode != 200 {
			t.Fatalf("%s: %d", path, a.StatusCode)
		}
		var body struct {
			Todos      []struct{ ID string }
			Failed     []struct{ ID, Code string }
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &body); err != nil {
			t.Fatal(err)
		}
		if n := len(body.Todos) + len(body.Failed); n > 7 {
			t.Errorf("%s: %d records", path, n)
		}
		for _, r := range body.Todos {
			seen[r.ID] = true
		}
		for _, r := range body.Failed {
			if r.Code != "unreadable" {
				t.Errorf("%s: %s", r.ID, r.Code)
			}
			seen[r.ID] = true
		}
		path = ""
		if body.NextCursor != "" {
			path = "/todos?limit=7&cursor=" + body.NextCursor
		}
	}
	if len(seen) != len(records) {
		t.Errorf("%d of %d records were named", len(seen), len(records))
	}
	if a := f.do(http.MethodGet, "/todos/k01", ""); a.StatusCode != 500 || !strings.Contains(string(a.body), `"unreadable"`) {
		t.Errorf("its own read: %d %s", a.StatusCode, a.body)
	}
}
