package load_test

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

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func openJSONLines(t testing.TB, in string) *load.JSONLines {
	t.Helper()
	j, err := load.OpenJSONLines(strings.NewReader(in), int64(len(in)))
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
		{"field names are exact", `{"ID":"7","name":"n"}`, todo.Todo{}, `id is missing`},
		{"id is a number", `{"id":7,"name":"n"}`, todo.Todo{}, "id must be a string, is a number"},
		{"id is null", `{"id":null,"name":"n"}`, todo.Todo{}, "id must be a string, is null"},
		{"id is an ObjectId", `{"id":{"$oid":"6b033538f214e895a0c4285e"},"name":"n"}`, todo.Todo{}, "id must be a string, is not a text or a number"},
		{"empty id", `{"id":"","name":"n"}`, todo.Todo{}, "id must not be empty"},
		{"half a surrogate pair", `{"id":"\ud800","name":"n"}`, todo.Todo{}, "id must be valid UTF-8"},
		{"too large", `{"id":"1","name":"` + strings.Repeat("n", todo.MaxRecordBytes) + `"}`, todo.Todo{}, "id, name and description have 66817 bytes together"},
		{"id twice", `{"id":"1","id":"2","name":"n"}`, todo.Todo{}, "id is given twice"},
		{"a string", `"x"`, todo.Todo{}, "is not a JSON object"},
		{"cut", `{"id":"1","na`, todo.Todo{}, "ends inside the object"},
		{"not closed", `{"id":"1","name":"n"`, todo.Todo{}, "ends inside the object"},
		{"garbage", `{"id":"1",,}`, todo.Todo{}, "is not valid JSON"},
		{"two on one line", `{"id":"1","name":"n"}{"id":"2","name":"n"}`, todo.Todo{}, "unexpected data after the object"},
		{"broken UTF-8", "{\"id\":\"1\",\"name\":\"a\xff\"}", todo.Todo{}, "is not valid UTF-8"},
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

// All forms of Extended JSON that MongoDB's tools have ever written are read correctly,
// without unusual values. Caught: every line of mongoexport was refused.
func TestExtendedJSON(t *testing.T) {
	at := time.Date(2020, 12, 12, 2, 1, 0, 123e6, time.UTC)
	for _, v := range []string{
		`{"$date":"2020-12-12T02:01:00.123Z"}`, `{"$date":"2020-12-12T03:01:00.123+01:00"}`, `{"$date":"2020-12-12T02:01:00.123+0000"}`,
		`{"$date":{"$numberLong":"1607738460123"}}`, `{"$date":1607738460123}`, `{"$date":{"$numberLong":1607738460123}}`, `{ "$date" : "2020-12-12T02:01:00.123Z" }`,
		`"2020-12-12T02:01:00.123Z"`,
	} {
		j := openJSONLines(t, `{"id":"1","name":"n","created_at":`+v+`}`)
		todos, faults, _, err := drain(j)
		if err != io.EOF || len(faults) != 0 || !todos[0].CreatedAt.Equal(at) || len(j.Odd()) != 0 {
			t.Errorf("%s: %+v, %q, %v, %v", v, todos, faults, j.Odd(), err)
		}
	}
	for v, want := range map[string]int64{
		`2`: 2, `2.0`: 2, `2e3`: 2000, `{"$numberLong":"2"}`: 2, `{"$numberInt":"2"}`: 2, `{"$numberDouble":"2.0"}`: 2, `{"$numberDecimal":"2.00"}`: 2,
		`{"$numberLong":"9223372036854775807"}`: 1<<63 - 1, `9007199254740993`: 1<<53 + 1,
	} {
		j := openJSONLines(t, `{"id":"1","name":"n","version":`+v+`}`)
		todos, _, _, err := drain(j)
		if err != io.EOF || todos[0].Version != want || len(j.Odd()) != 0 {
			t.Errorf("%s: %+v, %v, %v", v, todos, j.Odd(), err)
		}
	}
	// These are read and reported.
	for field, values := range map[string]map[string]string{
		"completed":   {`{"$numberInt":"1"}`: "true a number", `0`: "false a number", `"true"`: "true text", `"yes"`: "false not a boolean", `{"$numberDouble":"NaN"}`: "false not a boolean"},
		"created_at":  {`{"$date":{"$numberLong":"253402304399000"}}`: "0 a date out", `{"$timestamp":{"t":1607738460,"i":1}}`: "2020 not a BSON date", `"now"`: "0 not a date", `{"$date":"now"}`: "0 not a date", `1607738460123`: "0 not a date", `{"$date":{"$numberLong":"x"}}`: "0 not a date", `"9999-12-31T23:59:59-01:00"`: "0 a date out", `"0000-06-01T00:00:00Z"`: "0 a date out"},
		"version":     {`-1`: "0 not an integer", `{"$numberDecimal":"0.5"}`: "0 not an integer", `1e400`: "0 not an integer", `"7"`: "7 text", `{"$numberLong":"9223372036854775808"}`: "0 not an integer", `2.5`: "0 not an integer"},
		"description": {`5`: "5 not a text", `[1, "a"]`: `[1,"a"] not a text`, `{"$oid":"6b033538f214e895a0c4285e"}`: "6b033538f214e895a0c4285e not a text", `{"$symbol":"s"}`: "s ", `{"$undefined":true}`: "<nil> ", `"a\ud800b"`: "a\ufffdb not valid"},
		"name":        {`null`: " null", `{"en":"n"}`: `{"en":"n"} not a text`},
	} {
		for v, want := range values {
			j := openJSONLines(t, `{"id":"1","`+field+`":`+v+map[bool]string{true: "", false: `,"name":"n"`}[field == "name"]+`}`)
			todos, faults, _, err := drain(j)
			if err != io.EOF || len(todos) != 1 {
				t.Errorf("%s %s: %q, %v", field, v, faults, err)
				continue
			}
			td := todos[0]
			got := map[string]any{"completed": td.Completed, "version": td.Version, "name": td.Name, "description": "<nil>", "created_at": 0}[field]
			if field == "created_at" && !td.CreatedAt.IsZero() {
				got = td.CreatedAt.Year()
			}
			if field == "description" && td.Description != nil {
				got = *td.Description
			}
			what := ""
			for _, o := range j.Odd() {
				what += strings.TrimPrefix(o.What, field+": ")
			}
			if s := fmt.Sprintf("%v %s", got, what); !strings.HasPrefix(s, want) || strings.HasSuffix(want, " ") && what != "" {
				t.Errorf("%s %s: %q, want %q", field, v, s, want)
			}
		}
	}
}

// The forms of mongoexport: an array on one or several lines, and objects on several lines.
// Caught: arrays were refused, although mongoexport writes them.
func TestArraysAndPrettyJSON(t *testing.T) {
	one, two := `{"_id":1,"id":"1","name":"n [}\" \\"}`, `{"id":"2","name":"m","created_at":{"$date":"2020-12-12T02:01:00Z"}}`
	pretty := strings.NewReplacer(`{"`, "{\n\t\"", `,"`, ",\n\t\"").Replace
	for name, in := range map[string]string{
		"on one line":       "[" + one + "," + two + "]",
		"an element a line": "[" + one + ",\n" + two + "]\n",
		"pretty array":      "\ufeff \n[\n" + pretty(one) + "\n,\r\n" + pretty(two) + "\n]\n \n",
		"pretty":            pretty(one) + "\n" + pretty(two) + "\n",
		"pretty, no space":  pretty(one) + pretty(two),
		"lines":             one + "\n" + two,
	} {
		for _, in := range []string{in, string(gzipped(t, []byte(in)))} {
			j := openJSONLines(t, in)
			todos, faults, _, err := drain(j)
			if err != io.EOF || len(faults) != 0 || len(todos) != 2 || todos[0].Name != `n [}" \` || todos[1].CreatedAt.Year() != 2020 {
				t.Errorf("%s: %+v, %q, %v", name, todos, faults, err)
			}
		}
	}
	for in, want := range map[string]string{
		`[]`: "0  EOF", ` [ ] `: "0  EOF", `[`: "0  cannot read all of element 1: unexpected EOF",
		`[` + one: "1  cannot read all of element 2: unexpected EOF", `[` + one + `,`: "1  cannot read all of element 2", `[` + one + "\n" + two + `]`: "1  the JSON is broken: expected , or ] after element 1, found '{'",
		`[` + one + `,]`: "1  the JSON is broken: expected element 2, found ']'", `[,]`: "0  the JSON is broken: expected element 1, found ','",
		`[` + one + `] x`:                       "1  unexpected data after the JSON array of 1 elements: 'x'",
		`[1, "a,]", null,[2,{}],` + two + `]`:   "1 element 1: is not a JSON object|element 2: is not a JSON object|element 3: is not a JSON object|element 4: is not a JSON object EOF",
		`[{"id":7},{"id":"1","na},` + two + `]`: "0 element 1: id must be a string, is a number cannot read all of element 2",
		"{\n\"id\":7}\n{\"id\":\"1\"":           "0 element 1: id must be a string, is a number cannot read all of element 2",
		`[{"id":"1" "name":"n"},` + two + `]`:   "1 element 1: is not valid JSON",
	} {
		todos, faults, _, err := drain(openJSONLines(t, in))
		for i, f := range faults {
			faults[i] = strings.TrimPrefix(f, "record at ")
		}
		if err == nil {
			t.Fatal("no error")
		}
		if got := fmt.Sprintf("%d %s %v", len(todos), strings.Join(faults, "|"), err); !strings.HasPrefix(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
	// An element that is too long needs no memory, and the next one is read.
	in := "[" + `{"id":"1","x":"` + strings.Repeat("x", load.MaxLine) + `"},` + two + "]"
	todos, faults, _, err := drain(openJSONLines(t, in))
	if err != io.EOF || len(todos) != 1 || len(faults) != 1 || !strings.Contains(faults[0], "element 1: is longer than") {
		t.Errorf("%d todos, %.200q, %v", len(todos), faults, err)
	}
}

// TestLineNumbers: blank lines count, a byte order mark and carriage returns are ignored, and
// the last line may lack its newline.
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

// TestLongLines: the longest allowed line is read. A longer one is one fault, and the next
// line is read.
func TestLongLines(t *testing.T) {
	const frame = `{"id":"1","name":"n","extra":""}`
	fits := strings.Replace(frame, `""`, `"`+strings.Repeat("x", load.MaxLine-len(frame)-1)+`"`, 1) + "\n"
	if len(fits) != load.MaxLine {
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
	j, err := load.OpenJSONLines(io.MultiReader(strings.NewReader("{\"id\":\"1\",\"name\":\"n\"}\n{\"id\""), iotest.ErrReader(boom)), 0)
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

// TestExtraNamesAreBounded: any number of unknown names needs little memory.
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

// FuzzJSONLines: no input causes a panic, and every accepted record is valid.
func FuzzJSONLines(f *testing.F) {
	f.Add(`{"id":"1","name":"n","description":null,"version":1}`)
	f.Add(`[{"id":"1","name":"n","created_at":{"$date":{"$numberLong":"1"}}},{"id":"2","version":{"$numberDecimal":"1"}}]`)
	f.Add("{\n\"id\":\"1\"\n}\n{\n}")
	f.Add("{\"id\":7}\n\n[]\n{\"id\":\"1\",\"name\":\"n\",\"created_at\":\"2026-01-02T03:04:05Z\"}")
	f.Fuzz(func(t *testing.T, in string) {
		j, err := load.OpenJSONLines(strings.NewReader(in), 0)
		if err != nil {
			return // an invalid gzip header
		}
		todos, _, _, err := drain(j)
		start := strings.TrimLeft(strings.TrimPrefix(in, "\ufeff"), " \t\r\n")
		if err != io.EOF && !strings.HasPrefix(in, "\x1f\x8b") && !strings.HasPrefix(start, "[") && !strings.HasPrefix(start, "{") {
			t.Fatalf("got %v, want io.EOF", err)
		}
		for _, td := range todos {
			if err := td.Check(); err != nil {
				t.Errorf("accepted %+v: %v", td, err)
			}
		}
	})
}
