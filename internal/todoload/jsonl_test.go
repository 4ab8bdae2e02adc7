package todoload_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/asidecache/aside/internal/todo"
	"github.com/asidecache/aside/internal/todoload"
)

func openJSONLines(t testing.TB, in string) *todoload.JSONLines {
	t.Helper()
	j, err := todoload.OpenJSONLines(strings.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestLinesDecode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := "d"
	full := todo.Todo{ID: "1", Name: "n", Description: &text, Completed: true, CreatedAt: at, UpdatedAt: at, Version: 3}
	written, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, line string
		want       todo.Todo
		says       string
	}{
		{"as the API writes it", string(written), full, ""},
		{"as mongoexport writes it", `{"_id":{"$oid":"6b033538f214e895a0c4285e"},"id":"1","name":"n","description":"d"}`, todo.Todo{ID: "1", Name: "n", Description: &text}, ""},
		{"only what is required", `{"id":"1","name":"n"}`, todo.Todo{ID: "1", Name: "n"}, ""},
		{"null for what is not", `{"id":"1","name":"n","description":null,"completed":null,"created_at":null,"updated_at":null,"version":null}`, todo.Todo{ID: "1", Name: "n"}, ""},

		{"no id", `{"name":"n"}`, todo.Todo{}, "record at line 1: id is missing"},
		{"no name", `{"id":"7"}`, todo.Todo{}, `(id "7"): name is missing`},
		{"field names are exact", `{"ID":"7","name":"n"}`, todo.Todo{}, `id is missing`},
		{"id is a number", `{"id":7,"name":"n"}`, todo.Todo{}, "id must be a string, is 7"},
		{"id is null", `{"id":null,"name":"n"}`, todo.Todo{}, "id must be a string, is null"},
		{"empty id", `{"id":"","name":"n"}`, todo.Todo{}, "id must not be empty"},
		{"wrong types", `{"id":"1","name":"n","description":1,"completed":"yes","created_at":"now","version":2.5}`, todo.Todo{},
			`description must be a string or null, is 1; completed must be a boolean, is "yes"; created_at must be a time as in RFC 3339, is "now"; version must be a whole number from 0, is 2.5`},
		{"version is negative", `{"id":"1","name":"n","version":-1}`, todo.Todo{}, "version must be a whole number from 0, is -1"},
		{"id twice", `{"id":"1","id":"2","name":"n"}`, todo.Todo{}, "id is there twice"},
		{"an array", `[{"id":"1","name":"n"}]`, todo.Todo{}, "is not a JSON object"},
		{"a string", `"x"`, todo.Todo{}, "is not a JSON object"},
		{"cut", `{"id":"1","na`, todo.Todo{}, "ends inside the object"},
		{"not closed", `{"id":"1","name":"n"`, todo.Todo{}, "ends inside the object"},
		{"garbage", `{"id":"1",,}`, todo.Todo{}, "is not valid JSON"},
		{"two on one line", `{"id":"1","name":"n"}{"id":"2","name":"n"}`, todo.Todo{}, "something after the object"},
		{"broken UTF-8", "{\"id\":\"1\",\"name\":\"a\xff\"}", todo.Todo{}, "is not valid UTF-8"},
		{"a long value is not repeated whole", `{"id":"1","name":[` + strings.Repeat("1,", 5000) + `1]}`, todo.Todo{}, `is [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1...`},
	} {
		t.Run(c.name, func(t *testing.T) {
			todos, faults, _, err := drain(openJSONLines(t, c.line))
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

// TestLineNumbers: blank lines count, a byte order mark and carriage returns do
// not matter, and the last line need not be ended.
func TestLineNumbers(t *testing.T) {
	in := "\ufeff" + `{"id":"1","name":"n"}` + "\r\n\n  \n" + `{"name":"n"}` + "\n" + `{"id":"2","name":"n"}`
	for name, in := range map[string]string{"plain": in, "gzip": string(gzipped(t, []byte(in)))} {
		todos, faults, _, err := drain(openJSONLines(t, in))
		if err != io.EOF || len(todos) != 2 || todos[0].ID != "1" || todos[1].ID != "2" {
			t.Errorf("%s: got %+v and %v, want todos 1 and 2", name, todos, err)
		}
		if len(faults) != 1 || !strings.HasPrefix(faults[0], "record at line 4:") {
			t.Errorf("%s: got faults %q, want one at line 4", name, faults)
		}
	}
}

// TestLongLines: the longest line allowed is read, a longer one is one fault, and
// the line after it is read.
func TestLongLines(t *testing.T) {
	const frame = `{"id":"1","name":"n","description":""}`
	fits := strings.Replace(frame, `""`, `"`+strings.Repeat("x", todoload.MaxLine-len(frame)-1)+`"`, 1) + "\n"
	if len(fits) != todoload.MaxLine {
		t.Fatalf("the line has %d bytes", len(fits))
	}
	in := fits + "x" + fits + `{"id":"3","name":"n"}` + "\n"
	todos, faults, _, err := drain(openJSONLines(t, in))
	if err != io.EOF || len(todos) != 2 || todos[1].ID != "3" {
		t.Errorf("got %d todos and %v, want the first and the last", len(todos), err)
	}
	if len(faults) != 1 || !strings.Contains(faults[0], "line 2: is longer than") {
		t.Errorf("got faults %.200q, want one, of line 2", faults)
	}
}

func TestLinesReadFailure(t *testing.T) {
	boom := errors.New("disk on fire")
	j, err := todoload.OpenJSONLines(io.MultiReader(strings.NewReader("{\"id\":\"1\",\"name\":\"n\"}\n{\"id\""), iotest.ErrReader(boom)), 0)
	if err != nil {
		t.Fatal(err)
	}
	todos, _, _, err := drain(j)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "line 2") || len(todos) != 1 {
		t.Errorf("got %d todos and %v, want 1 and the failure in line 2", len(todos), err)
	}
	zipped := gzipped(t, []byte(strings.Repeat("{\"id\":\"1\",\"name\":\"n\"}\n", 1000)))
	if _, _, _, err := drain(openJSONLines(t, string(zipped[:len(zipped)-9]))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut gzip: got %v, want io.ErrUnexpectedEOF", err)
	}
}

// TestExtraNamesAreBounded: unknown names cost no memory to speak of, however
// many there are.
func TestExtraNamesAreBounded(t *testing.T) {
	var in strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&in, `{"id":"%d","name":"n","%s%d":1}`+"\n", i, strings.Repeat("x", i), i)
	}
	j := openJSONLines(t, in.String())
	if todos, _, _, err := drain(j); err != io.EOF || len(todos) != 1000 {
		t.Fatalf("got %d todos and %v", len(todos), err)
	}
	total := int64(0)
	for name, n := range j.Extra() {
		total += n
		if len(name) > 80 {
			t.Errorf("a name of %d bytes is kept", len(name))
		}
	}
	if len(j.Extra()) > 21 || total != 1000 {
		t.Errorf("%d names for %d fields, want 21 at most for 1000", len(j.Extra()), total)
	}
}

// FuzzJSONLines: no input makes it panic, and what it accepts keeps the rules.
func FuzzJSONLines(f *testing.F) {
	f.Add(`{"id":"1","name":"n","description":null,"version":1}`)
	f.Add("{\"id\":7}\n\n[]\n{\"id\":\"1\",\"name\":\"n\",\"created_at\":\"2026-01-02T03:04:05Z\"}")
	f.Fuzz(func(t *testing.T, in string) {
		j, err := todoload.OpenJSONLines(strings.NewReader(in), 0)
		if err != nil {
			return // a broken gzip header
		}
		todos, _, _, err := drain(j)
		if err != io.EOF && !strings.HasPrefix(in, "\x1f\x8b") {
			t.Fatalf("got %v, want io.EOF", err)
		}
		for _, td := range todos {
			if err := todo.CheckID(td.ID); err != nil || td.Version < 0 {
				t.Errorf("accepted %+v: %v", td, err)
			}
		}
	})
}
