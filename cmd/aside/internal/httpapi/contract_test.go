package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

func TestCreate(t *testing.T) {
	f := serve(t, nil)
	for _, path := range []string{"/todos", "/todos/"} {
		id := "a" + path[len("/todos"):] + "é,%" // a slash, a comma, a percent sign, not ASCII
		body, _ := json.Marshal(map[string]any{"id": id, "name": "n", "description": nil})
		a := f.want(f.do("POST", path, string(body)), 201)
		if got, want := a.Header.Get("Location"), "/todos/"+url.PathEscape(id); got != want {
			t.Errorf("Location = %q, want %q", got, want)
		}
		var got todo.Todo
		a.json(t, &got)
		if got.ID != id || got.Version != 1 || got.CreatedAt.IsZero() || !got.CreatedAt.Equal(got.UpdatedAt) {
			t.Errorf("created %s", a.body)
		}
		read := f.want(f.do("GET", a.Header.Get("Location"), ""), 200)
		if string(read.body) != string(a.body) || read.Header.Get("ETag") != a.Header.Get("ETag") || a.Header.Get("ETag") == "" {
			t.Errorf("read after create: %s %s, want %s %s", read.Header.Get("ETag"), read.body, a.Header.Get("ETag"), a.body)
		}
		f.want(f.do("POST", path, string(body)), 409)
	}
	// Without an id the record gets a UUIDv7.
	var got todo.Todo
	f.want(f.do("POST", "/todos", `{"name":"n"}`), 201).json(t, &got)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got.ID) {
		t.Errorf("id %q is not a UUIDv7", got.ID)
	}
	// Without Content-Type the body is read as JSON.
	f.want(f.do("POST", "/todos", `{"name":"n"}`, "Content-Type: "), 201)
	f.want(f.do("POST", "/todos", `{"name":"n"}`, "Content-Type: application/json; charset=UTF-8"), 201)
}

func TestRefusedBodies(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		faults                   []string // "location: part of the detail"
	}{
		{"several faults at once", "POST", "/todos", `{"id":5,"description":[],"completed":"x","other":1}`, nil, 422,
			[]string{"body.id: not a number", "body.name: is required", "body.description: not an array", "body.completed: true or false", "body.other: unknown field"}},
		{"read-only field", "POST", "/todos", `{"name":"n","version":3}`, nil, 422, []string{"body.version: set by the server"}},
		{"name of another case", "POST", "/todos", `{"Name":"n"}`, nil, 422, []string{"body.Name: unknown field", "body.name: is required"}},
		{"duplicate key", "POST", "/todos", `{"name":"a","name":"b"}`, nil, 422, []string{"body.name: more than once"}},
		{"blank name", "POST", "/todos", `{"name":" "}`, nil, 422, []string{"body.name: empty or blank"}},
		{"null name", "POST", "/todos", `{"name":null}`, nil, 422, []string{"body.name: must be a string, not null"}},
		{"long name", "POST", "/todos", `{"name":"` + strings.Repeat("x", 1025) + `"}`, nil, 422, []string{"body.name: at most 1024 bytes, is 1025"}},
		{"long description", "POST", "/todos", `{"name":"n","description":"` + strings.Repeat("x", 65537) + `"}`, nil, 422, []string{"body.description: at most 65536"}},
		{"empty id", "POST", "/todos", `{"id":"","name":"n"}`, nil, 422, []string{"body.id: empty"}},
		{"null id", "POST", "/todos", `{"id":null,"name":"n"}`, nil, 422, []string{"body.id: must be a string, not null"}},
		{"dot id", "POST", "/todos", `{"id":"..","name":"n"}`, nil, 422, []string{"body.id: cannot contain them"}},
		{"long id", "POST", "/todos", `{"id":"` + long + `","name":"n"}`, nil, 422, []string{"body.id: at most 256"}},
		{"id with a control character", "POST", "/todos", `{"id":"a\nb","name":"n"}`, nil, 422, []string{"body.id: control"}},
		{"half a surrogate pair", "POST", "/todos", `{"name":"a\ud800"}`, nil, 422, []string{"body.name: surrogate"}},
		{"array", "POST", "/todos", `[]`, nil, 422, []string{"body: must be a JSON object, not an array"}},
		{"null", "POST", "/todos", `null`, nil, 422, []string{"body: not null"}},
		{"syntax", "POST", "/todos", `{"name":}`, nil, 400, []string{"body: at byte"}},
		{"cut short", "POST", "/todos", `{"name":"a`, nil, 400, []string{"body: ends at byte 10"}},
		{"trailing data", "POST", "/todos", `{"name":"a"} {}`, nil, 400, []string{"body: data after the JSON object, at byte 13"}},
		{"invalid UTF-8", "POST", "/todos", "{\"name\":\"a\xff\"}", nil, 400, []string{"body: invalid UTF-8 at byte 10"}},
		{"empty", "POST", "/todos", "", nil, 400, []string{"body: empty"}},
		{"blank", "POST", "/todos", " \n", nil, 400, []string{"body: empty"}},
		{"form", "POST", "/todos", "name=a", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, []string{"header.Content-Type: application/json"}},
		{"charset", "POST", "/todos", `{"name":"a"}`, []string{"Content-Type: application/json; charset=latin1"}, 415, []string{"header.Content-Type: application/json"}},
		{"compressed", "POST", "/todos", `{"name":"a"}`, []string{"Content-Encoding: gzip"}, 415, []string{"header.Content-Encoding: left out"}},
		{"patch sent to PUT", "PUT", "/todos/1", `{"name":"a"}`, []string{"Content-Type: application/merge-patch+json"}, 415, []string{"header.Content-Type: application/json"}},
		{"too large", "POST", "/todos", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, nil},
		{"too large PATCH", "PATCH", "/todos/1", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, nil},
		{"other id", "PUT", "/todos/1", `{"id":"2","name":"n"}`, nil, 422, []string{"body.id: cannot change"}},
		{"other id in a patch", "PATCH", "/todos/1", `{"id":"2"}`, nil, 422, []string{"body.id: cannot change"}},
		{"name removed", "PATCH", "/todos/1", `{"name":null}`, nil, 422, []string{"body.name: cannot be removed"}},
		{"patch is a string", "PATCH", "/todos/1", `"x"`, nil, 422, []string{"body: not a string"}},
		{"bad id in the path", "PUT", "/todos/%00", `{"name":"n"}`, nil, 422, []string{"path.id: control"}},
		{"not UTF-8 in the path", "GET", "/todos/%ff", "", nil, 400, []string{"path.id: UTF-8"}},
		{"dots in the path", "GET", "/todos/%2e%2e", "", nil, 422, []string{"path.id: cannot contain them"}},
		{"long id in the path", "GET", "/todos/" + long, "", nil, 422, []string{"path.id: at most 256 bytes, is 300"}},
		{"malformed If-Match", "DELETE", "/todos/1", "", []string{`If-Match: v1`}, 400, []string{"header.If-Match: double quotes"}},
		{"limit 0", "GET", "/todos?limit=0", "", nil, 422, []string{"query.limit: >= 1"}},
		{"limit 201", "GET", "/todos?limit=201", "", nil, 422, []string{"query.limit: <= 200"}},
		{"limit x", "GET", "/todos?limit=x", "", nil, 422, []string{"query.limit: integer"}},
		{"two limits", "GET", "/todos?limit=1&limit=2", "", nil, 422, []string{"query.limit: more than once"}},
		{"foreign cursor", "GET", "/todos?cursor=abc", "", nil, 422, []string{"query.cursor: not a cursor"}},
		{"empty cursor", "GET", "/todos?cursor=", "", nil, 422, []string{"query.cursor: empty"}},
		{"unknown parameter", "GET", "/todos?cursr=x", "", nil, 422, []string{"query.cursr: unknown"}},
		{"malformed query", "GET", "/todos?limit=%zz", "", nil, 400, nil},
		{"empty ids", "GET", "/todos?ids=", "", nil, 422, []string{"query.ids: position 1 must not be empty"}},
		{"too many ids", "GET", "/todos?ids=" + manyIDs(201), "", nil, 422, []string{"query.ids: at most 200"}},
		{"ids and limit", "GET", "/todos?ids=1&limit=3", "", nil, 422, []string{"query.limit: together"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.t = t
			a := f.want(f.do(tt.method, tt.path, tt.body, tt.headers...), tt.status)
			var p httpapi.Problem
			a.json(t, &p)
			if len(p.Errors) != len(tt.faults) {
				t.Errorf("%d faults, want %d: %s", len(p.Errors), len(tt.faults), a.body)
			}
			for _, want := range tt.faults {
				where, what, _ := strings.Cut(want, ": ")
				found := false
				for _, e := range p.Errors {
					found = found || e.Location == where && strings.Contains(e.Detail, what)
				}
				if !found {
					t.Errorf("no fault %q in %s", want, a.body)
				}
			}
		})
	}
	if n := f.store.Calls("insert") + f.store.Calls("update"); n != 0 {
		t.Errorf("%d writes reached the store", n)
	}
}

func manyIDs(n int) string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	return strings.Join(ids, ",")
}

func TestFaultPointer(t *testing.T) {
	f := serve(t, nil)
	var p httpapi.Problem
	f.want(f.do("POST", "/todos", `{"name":"n","a/b~c d%":1}`), 422).json(t, &p)
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/a~1b~0c%20d%25" {
		t.Errorf("errors = %+v", p.Errors)
	}
}

// The response to a large invalid body must be small: it does not repeat the body, and lists
// only some faults.
func TestErrorAnswersStaySmall(t *testing.T) {
	f := serve(t, nil)
	var b strings.Builder
	b.WriteString(`{"name":"n"`)
	for i := range 10_000 {
		fmt.Fprintf(&b, `,"%s%d":1`, strings.Repeat("k", 80), i)
	}
	b.WriteString("}")
	a := f.want(f.do("POST", "/todos", b.String()), 422)
	if len(a.body) > 10_000 {
		t.Errorf("answer of %d bytes", len(a.body))
	}
	a = f.want(f.do("GET", "/todos?"+strings.Repeat("q", 5000)+"=1", ""), 422)
	if len(a.body) > 1000 {
		t.Errorf("answer of %d bytes", len(a.body))
	}
}

func TestRoutes(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), legacy("a/b", "slash")})
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/todos/1", 200, ""},
		{"GET", "/todos/1/", 200, ""},
		{"HEAD", "/todos/1", 200, ""},
		{"HEAD", "/todos/1/", 200, ""},
		{"GET", "/todos/a%2Fb", 200, ""},
		{"GET", "/todos/a%2Fb/", 200, ""},
		{"GET", "/todos/a/b", 404, ""},
		{"GET", "/todos", 200, ""},
		{"GET", "/todos/", 200, ""},
		{"HEAD", "/todos", 200, ""},
		{"GET", "/todos//", 404, ""},
		{"GET", "//todos", 404, ""},
		{"GET", "/todos/./1", 404, ""},
		{"GET", "/todos/../todos/1", 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"PUT", "/todos", 405, "GET, HEAD, POST"},
		{"DELETE", "/todos/", 405, "GET, HEAD, POST"},
		{"OPTIONS", "/todos", 405, "GET, HEAD, POST"},
		{"POST", "/todos/1", 405, "GET, HEAD, PUT, PATCH, DELETE"},
		{"BREW", "/todos/1/", 405, "GET, HEAD, PUT, PATCH, DELETE"},
		{"POST", "/healthz", 405, "GET, HEAD"},
		{"GET", "/healthz", 200, ""},
		{"GET", "/readyz/", 200, ""},
		{"GET", "/metrics", 200, ""},
		{"GET", "/openapi.json", 200, ""},
		{"GET", "/docs", 200, ""},
		{"GET", "/docs/", 200, ""},
		{"GET", "/docs/swagger-ui-bundle.js", 200, ""},
		{"GET", "/docs/fetch.sh", 404, ""},
		{"GET", "/debug/pprof/", 404, ""},
		{"POST", "/flush", 404, ""},
	} {
		a := f.want(f.do(tt.method, tt.path, ""), tt.status)
		if got := a.Header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow = %q, want %q", tt.method, tt.path, got, tt.allow)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no nosniff", tt.method, tt.path)
		}
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), {ID: "big", Name: strings.Repeat("x", 5000)}})
	for _, path := range []string{"/todos/1", "/todos/big", "/todos/none"} {
		f.settled(path) // so both come from L1
		get, head := f.do("GET", path, ""), f.do("HEAD", path, "")
		if len(head.body) != 0 || head.StatusCode != get.StatusCode {
			t.Errorf("HEAD %s: %d with %d bytes", path, head.StatusCode, len(head.body))
		}
		names := []string{"Content-Length", "Content-Type", "ETag", "Cache-Control", "Cache-Status"}
		for _, name := range names {
			if path == "/todos/none" && name == "Content-Length" {
				continue // the request id is in the body
			}
			if g, h := get.Header.Get(name), head.Header.Get(name); g != h || g == "" && name != "ETag" {
				t.Errorf("HEAD %s: %s = %q, GET has %q", path, name, h, g)
			}
		}
	}
}

func TestBadPercentEncoding(t *testing.T) {
	f := serve(t, nil)
	u, _ := url.Parse(f.url)
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /todos/%%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestReplaceAndPatch(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	get := func() (got todo.Todo, etag string) {
		a := f.want(f.do("GET", "/todos/1", ""), 200)
		a.json(t, &got)
		return got, a.Header.Get("ETag")
	}
	before, etag0 := get()
	if before.Version != 0 || before.Name != "one" {
		t.Fatalf("old record read as %+v", before)
	}

	a := f.want(f.do("PUT", "/todos/1", `{"id":"1","name":"two","completed":true}`), 200)
	got, etag1 := get()
	if got.Name != "two" || got.Description != nil || !got.Completed || got.Version != 1 || got.UpdatedAt.IsZero() || !got.CreatedAt.IsZero() {
		t.Errorf("after PUT: %+v", got)
	}
	if etag1 == etag0 || a.Header.Get("ETag") != etag1 {
		t.Errorf("ETags: %s before, %s answered, %s after", etag0, a.Header.Get("ETag"), etag1)
	}

	f.want(f.do("PATCH", "/todos/1/", `{"description":"<b> & \ud83d\ude00"}`, "Content-Type: application/merge-patch+json"), 200)
	got, _ = get()
	if got.Name != "two" || got.Description == nil || *got.Description != "<b> & 😀" || !got.Completed || got.Version != 2 {
		t.Errorf("after PATCH: %+v", got)
	}
	f.want(f.do("PATCH", "/todos/1", `{"description":null,"completed":null,"name":"three"}`), 200)
	got, etag3 := get()
	if got.Name != "three" || got.Description != nil || got.Completed || got.Version != 3 {
		t.Errorf("after PATCH with nulls: %+v", got)
	}

	// If nothing changes, the version stays the same, with each method.
	f.want(f.do("PATCH", "/todos/1", `{}`), 200)
	a = f.want(f.do("PUT", "/todos/1", `{"name":"three"}`), 200)
	if got, etag := get(); got.Version != 3 || etag != etag3 || a.Header.Get("ETag") != etag3 {
		t.Errorf("after changes that change nothing: %+v", got)
	}

	f.want(f.do("PUT", "/todos/none", `{"name":"n"}`), 404)
	f.want(f.do("PATCH", "/todos/none", `{"name":"n"}`), 404)
	f.want(f.do("DELETE", "/todos/none", ""), 404)
	a = f.want(f.do("DELETE", "/todos/1", ""), 204)
	if len(a.body) != 0 {
		t.Errorf("204 with a body: %q", a.body)
	}
	f.want(f.do("GET", "/todos/1", ""), 404)
}

func TestPatchAcceptPatch(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	a := f.want(f.do("PATCH", "/todos/1", `[]`, "Content-Type: application/json-patch+json"), 415)
	if got := a.Header.Get("Accept-Patch"); got != "application/merge-patch+json, application/json" {
		t.Errorf("Accept-Patch = %q", got)
	}
}

func TestConditionalReads(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	etag := f.want(f.do("GET", "/todos/1", ""), 200).Header.Get("ETag")
	if !regexp.MustCompile(`^"v0-[0-9a-z]+"$`).MatchString(etag) {
		t.Errorf("ETag = %s", etag)
	}
	for _, tt := range []struct {
		header string
		status int
	}{
		{"If-None-Match: " + etag, 304},
		{"If-None-Match: W/" + etag, 304},
		{"If-None-Match: *", 304},
		{`If-None-Match: "x", W/"y" ,, ` + etag, 304},
		{`If-None-Match: "a,b", ` + etag, 304},
		{`If-None-Match: "x"`, 200},
		{"If-None-Match: malformed", 200},
		{`If-None-Match: "open`, 200},
		{"If-Match: " + etag, 200},
		{"If-Match: *", 200},
		{"If-Match: W/" + etag, 412},
		{`If-Match: "x"`, 412},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := f.want(f.do(method, "/todos/1", "", tt.header), tt.status)
			if tt.status == 304 && (len(a.body) > 0 || a.Header.Get("ETag") != etag || a.Header.Get("Cache-Status") == "" || a.Header.Get("Cache-Control") != "private, no-cache") {
				t.Errorf("%s with %s: %v %q", method, tt.header, a.Header, a.body)
			}
		}
	}
	f.want(f.do("GET", "/todos/none", "", "If-None-Match: *"), 404)
}

func TestConditionalWrites(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	etag := f.do("GET", "/todos/1", "").Header.Get("ETag")
	stale := []string{`If-Match: "v9-x"`, "If-Match: W/" + etag, "If-None-Match: *", "If-None-Match: " + etag}
	for _, h := range stale {
		f.want(f.do("PUT", "/todos/1", `{"name":"n"}`, h), 412)
		f.want(f.do("PATCH", "/todos/1", `{"name":"n"}`, h), 412)
		f.want(f.do("DELETE", "/todos/1", "", h), 412)
	}
	var got todo.Todo
	f.want(f.do("GET", "/todos/1", ""), 200).json(t, &got)
	if got.Name != "one" {
		t.Fatalf("a refused write was applied: %+v", got)
	}
	etag = f.want(f.do("PUT", "/todos/1", `{"name":"two"}`, "If-Match: "+etag), 200).Header.Get("ETag")
	etag = f.want(f.do("PATCH", "/todos/1", `{"name":"three"}`, `If-Match: "other", `+etag), 200).Header.Get("ETag")
	f.want(f.do("DELETE", "/todos/1", "", "If-Match: "+etag), 204)
	f.want(f.do("DELETE", "/todos/1", "", "If-Match: *"), 404)
}

// A record that is created again with its old id starts at version 1 again. With only the
// version as the tag, a client would get 304 for a record that it never saw. Seen to fail
// with `"v1"` from etagOf.
func TestETagTellsARecreatedRecordApart(t *testing.T) {
	f := serve(t, nil)
	first := f.want(f.do("POST", "/todos", `{"id":"1","name":"a"}`), 201).Header.Get("ETag")
	f.want(f.do("DELETE", "/todos/1", ""), 204)
	f.want(f.do("POST", "/todos", `{"id":"1","name":"b"}`), 201)
	f.want(f.do("GET", "/todos/1", "", "If-None-Match: "+first), 200)
	f.want(f.do("DELETE", "/todos/1", "", "If-Match: "+first), 412)
}

func TestListPages(t *testing.T) {
	var records []todo.Todo
	for i := range 120 {
		records = append(records, legacy(fmt.Sprintf("id/%03d,é", i), "n"))
	}
	f := serve(t, records)
	type list struct {
		Todos []todo.Todo `json:"todos"`
		Next  string      `json:"next_cursor"`
	}
	var ids []string
	next, pages := "/todos?limit=50", 0
	for next != "" {
		a := f.want(f.do("GET", next, ""), 200)
		var page list
		a.json(t, &page)
		for _, r := range page.Todos {
			ids = append(ids, r.ID)
		}
		if pages++; pages > 3 {
			t.Fatal("paging does not end")
		}
		if got := a.Header.Get("Cache-Status"); got != "aside; fwd=bypass" {
			t.Errorf("Cache-Status = %q", got)
		}
		link := regexp.MustCompile(`^<([^>]*)>; rel="next"$`).FindStringSubmatch(a.Header.Get("Link"))
		next = ""
		if page.Next != "" {
			if link == nil {
				t.Fatalf("Link = %q", a.Header.Get("Link"))
			}
			next = link[1]
			if u, _ := url.Parse(next); u.Query().Get("cursor") != page.Next {
				t.Errorf("Link %q and cursor %q differ", next, page.Next)
			}
		} else if link != nil {
			t.Errorf("the last page has a Link: %v", link)
		}
		// Creating or deleting a record before the cursor does not change later pages.
		f.store.Put(legacy("id/000", "late"))
	}
	if len(ids) != 120 {
		t.Errorf("%d ids in %d pages", len(ids), pages)
	}
	for i, id := range ids {
		if id != records[i].ID {
			t.Fatalf("id %d is %q, want %q", i, id, records[i].ID)
		}
	}
	empty := serve(t, nil)
	if a := empty.want(empty.do("GET", "/todos", ""), 200); strings.TrimSpace(string(a.body)) != `{"todos":[]}` {
		t.Errorf("empty list is %s", a.body)
	}
}

func TestBatch(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one"), legacy("a,b", "comma"), legacy("3", "three")})
	var got struct {
		Todos   []todo.Todo `json:"todos"`
		Missing []string    `json:"missing"`
		Failed  []struct {
			ID, Code string
			Status   int
		} `json:"failed"`
	}
	a := f.want(f.do("GET", "/todos/?ids=3,none,a%2Cb&ids=1,3", ""), 200)
	a.json(t, &got)
	var order []string
	for _, r := range got.Todos {
		order = append(order, r.ID)
	}
	if fmt.Sprint(order) != "[3 a,b 1]" || fmt.Sprint(got.Missing) != "[none]" || got.Failed != nil {
		t.Errorf("batch: %s", a.body)
	}
	if n := f.store.Calls("get_many"); n != 1 {
		t.Errorf("%d bulk loads", n)
	}
	if cs := a.Header.Get("Cache-Status"); cs != `aside; fwd=miss; detail="L1=0 L2=0 load=4"` {
		t.Errorf("Cache-Status = %s", cs)
	}
	f.warm("1", "3", "none")
	a = f.want(f.do("GET", "/todos?ids=3,1", ""), 200)
	if cs := a.Header.Get("Cache-Status"); cs != `aside; hit; detail="L1=2 L2=0 load=0"` {
		t.Errorf("Cache-Status = %s", cs)
	}

	// The store is down: cached records are returned, the others are in failed.
	f.store.FailWith(todo.ErrUnavailable)
	got.Todos, got.Missing, got.Failed = nil, nil, nil
	a = f.want(f.do("GET", "/todos?ids=1,cold,none", ""), 200)
	a.json(t, &got)
	if len(got.Todos) != 1 || fmt.Sprint(got.Missing) != "[none]" || len(got.Failed) != 1 ||
		got.Failed[0].ID != "cold" || got.Failed[0].Status != 503 || got.Failed[0].Code != "store_unavailable" {
		t.Errorf("batch without the store: %s", a.body)
	}
	if a = f.want(f.do("GET", "/todos?ids=cold,colder", ""), 503); a.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After = %q", a.Header.Get("Retry-After"))
	}
}

// Each id that a POST accepts can be used with every method at its Location. Caught: the id
// "/" could be created, but not be read.
func TestEveryIDHasItsPath(t *testing.T) {
	f := serve(t, nil)
	created := 0
	for _, id := range []string{
		"/", "//", "a/", "/a", "a//b", "/.", "./a", "../a", "a/..", "/../", ".", "..", "...", ".a", "%2F", "%2f", "%", "%25", "%2E", "%zz",
		"?", "#", "a?b#c", ";", "a;b=c", "&", "=", "+", " ", "a b", ":", "@", "*", "\\", "a\\b", "'", "\"", "<b>", "é", "日本", "😀", ",", "-", "_", "{id}", "$", "docs",
		"healthz", "todos", "x/todos/y", "\u200b", "\u202e", strings.Repeat("/", 256), strings.Repeat("é", 128),
	} {
		body, _ := json.Marshal(map[string]string{"id": id, "name": "n"})
		a := f.do("POST", "/todos", string(body))
		if a.StatusCode == 422 {
			f.want(a, 422)
			continue
		}
		f.want(a, 201)
		created++
		at := a.Header.Get("Location")
		for _, path := range []string{at, at + "/"} {
			f.want(f.do("HEAD", path, ""), 200)
			var got todo.Todo
			f.want(f.do("GET", path, ""), 200).json(t, &got)
			if got.ID != id {
				t.Errorf("%q is %q at %s", id, got.ID, path)
			}
			f.want(f.do("PUT", path, `{"name":"m"}`), 200)
			f.want(f.do("PATCH", path, `{"name":"o"}`), 200)
		}
		f.want(f.do("DELETE", at, ""), 204)
		f.want(f.do("GET", at, ""), 404)
		f.want(f.do("POST", at, `{"name":"n"}`), 405)
	}
	if created < 40 {
		t.Errorf("only %d of the ids were accepted", created)
	}
}

// The service sends only JSON, so it ignores Accept. Errors are problem details. Caught: a
// page as application/problem+json for a client that accepts this type; a 500 for a header
// on which huma panics.
func TestAccept(t *testing.T) {
	f := serve(t, []todo.Todo{legacy("1", "one")})
	for _, accept := range []string{
		"*/*", "application/json", "application/problem+json", "application/problem+json;q=0.9, */*", "application/problem+json, application/json",
		"application/merge-patch+json", "json", "application/json;q=0", "text/html", "application/xml;q=0.1", "a;,b", "a;,", ";", ",", ";q", ";;q=1", "*", "é",
	} {
		h := "Accept: " + accept
		for _, tt := range []struct {
			status             int
			method, path, body string
		}{
			{200, "GET", "/todos?limit=1", ""},
			{200, "GET", "/todos?ids=1", ""},
			{200, "GET", "/todos/1", ""},
			{201, "POST", "/todos", `{"name":"n"}`},
			{200, "PUT", "/todos/1", `{"name":"n"}`},
			{200, "PATCH", "/todos/1", `{"name":"n"}`},
			{200, "GET", "/readyz", ""},
			{200, "GET", "/openapi.json", ""},
			{422, "GET", "/todos?limit=0", ""},
			{404, "PUT", "/todos/none", `{"name":"n"}`},
		} {
			a := f.want(f.do(tt.method, tt.path, tt.body, h), tt.status)
			if got := a.Header.Get("Content-Type"); tt.status < 400 && got != "application/json" {
				t.Errorf("%s %s with %s: Content-Type %q", tt.method, tt.path, h, got)
			}
		}
	}
}
