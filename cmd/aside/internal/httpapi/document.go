package httpapi

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The server's rules as patterns, so that the document does not allow what the server
// refuses. Regular expressions of JSON Schema, Go and Python must agree on them. Lengths
// are not exact: the server counts bytes, JSON Schema counts characters.
const (
	control = `\x00-\x1f\x7f-\x9f`
	// The characters of todo.Invisible up to U+FFFF. The others are missing: in a
	// regular expression of JavaScript without the flag u, which swagger-ui uses, a
	// range of them is a syntax error. The description of the field names them.
	invisible = "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f" +
		"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
	// todo.CheckID: no control characters, and neither "." nor "..".
	idPattern = `^(?:[^.` + control + `]|\.[^.` + control + `]|\.\.[^` + control + `])[^` + control + `]*$`
	// todo.CheckNewID: no invisible characters either.
	newIDPattern = `^(?:[^.` + control + invisible + `]|\.[^.` + control + invisible + `]|\.\.[^` + control + invisible + `])[^` + control + invisible + `]*$`
	// Not blank: at least one character that is not a space of Unicode.
	namePattern = "[^\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
	// parseTags, without spaces at the ends, which do not belong to a header's value.
	tagsPattern = `^(?:\*|(?:,[ \t]*)*(?:W/)?"[^"]*"(?:[ \t]*,[ \t]*(?:W/)?"[^"]*"|[ \t]*,)*)$`
	// base64url of a text that begins with cursorVersion.
	cursorPattern = `^M[Q-Za-f](?:[A-Za-z0-9_-]{1,2}|(?:[A-Za-z0-9_-]{4})+[A-Za-z0-9_-]{0,2})$`
)

func idSchema(s *huma.Schema) *huma.Schema {
	least, most := 1, todo.MaxIDBytes
	s.MinLength, s.MaxLength, s.Pattern = &least, &most, idPattern
	return s
}

func retryAfter() *huma.Header {
	return &huma.Param{Description: "Seconds to wait before a retry.", Schema: &huma.Schema{Type: huma.TypeInteger}}
}

// document adds what huma does not know: the plain handlers, and the bodies that this
// package decodes itself.
func document(o *huma.OpenAPI, metrics bool) {
	reg := o.Components.Schemas
	schema := func(v any, name string) *huma.Schema { return reg.Schema(reflect.TypeOf(v), true, name) }
	record := schema(todo.Todo{}, "Todo")
	problem := schema(Problem{}, "Problem")

	body := func(op *huma.Operation, s *huma.Schema, types ...string) {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
		for _, t := range types {
			op.RequestBody.Content[t] = &huma.MediaType{Schema: s}
		}
	}
	body(o.Paths["/todos"].Post, schema(newTodo{}, "NewTodo"), mimeJSON)
	itemPath := o.Paths["/todos/{id}"]
	body(itemPath.Put, schema(replacement{}, "Replacement"), mimeJSON)
	body(itemPath.Patch, schema(mergePatch{}, "MergePatch"), mimeMergePatch, mimeJSON)
	for _, name := range []string{"NewTodo", "Replacement", "MergePatch"} {
		of := reg.Map()[name].Properties
		of[fieldID].Pattern, of[fieldName].Pattern = idPattern, namePattern
	}
	reg.Map()["NewTodo"].Properties[fieldID].Pattern = newIDPattern
	// These are new schemas: huma checks requests by the ones that it made.
	for _, op := range []*huma.Operation{itemPath.Put, itemPath.Patch, itemPath.Delete} {
		for _, p := range op.Parameters {
			switch {
			case p.In == "path":
				p.Schema = idSchema(&huma.Schema{Type: huma.TypeString})
			case p.Name == "If-Match" || p.Name == "If-None-Match":
				least := 1
				p.Schema = &huma.Schema{Type: huma.TypeString, MinLength: &least, Pattern: tagsPattern}
				p.Example = `"v3-1a2b"`
			}
		}
	}
	for _, p := range o.Paths["/todos"].Get.Parameters {
		switch p.Name {
		case "ids":
			least, most := 1, maxBatch
			p.Schema = &huma.Schema{Type: huma.TypeArray, MinItems: &least, MaxItems: &most, Items: idSchema(&huma.Schema{Type: huma.TypeString})}
		case "cursor":
			p.Schema = &huma.Schema{Type: huma.TypeString, Pattern: cursorPattern}
		}
	}

	text := func(description string) *huma.Param {
		return &huma.Param{Description: description, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	header := func(name, description string) *huma.Param {
		p := text(description)
		p.Name, p.In = name, "header"
		return p
	}
	failure := func(status int, description string) *huma.Response {
		if description == "" {
			description = http.StatusText(status)
		}
		r := &huma.Response{Description: description, Content: map[string]*huma.MediaType{problemJSON: {Schema: problem}}}
		if status == http.StatusServiceUnavailable {
			r.Headers = map[string]*huma.Header{"Retry-After": retryAfter()}
		}
		return r
	}
	answerHeaders := map[string]*huma.Header{
		"ETag":          text("The item's entity tag."),
		"Cache-Status":  text("Which tier answered (RFC 9211): hit, or fwd with the reason. detail is L1, L2 or load."),
		"Server-Timing": text("How long each step took, in milliseconds."),
		"Cache-Control": text("private, no-cache: a client may store the response, but must revalidate it before each use."),
	}
	read := func(id, method, summary string) *huma.Operation {
		op := &huma.Operation{
			OperationID: id, Method: method, Path: "/todos/{id}", Tags: []string{"todos"}, Summary: summary,
			Parameters: []*huma.Param{
				{Name: "id", In: "path", Required: true, Description: "The item's id, percent-encoded.", Example: "123", Schema: idSchema(&huma.Schema{Type: huma.TypeString})},
				header("Cache-Control", "no-cache asks for a strong read: the response includes every write that any node acknowledged before the request."),
				header("If-None-Match", "Entity tags that the client has. The response is 304 if one of them is current."),
				header("If-Match", "Entity tags that the client expects. The response is 412 if none of them is current."),
			},
			Responses: map[string]*huma.Response{
				"200": {Description: "OK", Headers: answerHeaders},
				"304": {Description: "Not Modified", Headers: answerHeaders},
				"404": failure(404, "There is no such item. detail is \"Item not found\"."),
				"422": failure(422, "The id is invalid, so no item can have it."),
			},
		}
		for _, status := range []int{400, 403, 412, 421, 500, 503} {
			op.Responses[fmt.Sprint(status)] = failure(status, "")
		}
		if method == http.MethodGet {
			op.Responses["200"].Content = map[string]*huma.MediaType{mimeJSON: {Schema: record}}
		}
		return op
	}
	o.AddOperation(read("get-todo", http.MethodGet, "Read a todo"))
	o.AddOperation(read("head-todo", http.MethodHead, "Read a todo's headers"))

	plain := func(path, id, summary, mime string, s *huma.Schema, others map[string]*huma.Response) {
		op := &huma.Operation{
			OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"operation"}, Summary: summary,
			Responses: map[string]*huma.Response{
				"200": {Description: "OK", Content: map[string]*huma.MediaType{mime: {Schema: s}}},
				"421": failure(421, ""),
			},
		}
		for status, r := range others {
			op.Responses[status] = r
		}
		o.AddOperation(op)
	}
	ready := schema(readiness{}, "Readiness")
	plain("/healthz", "healthz", "Liveness: the process runs", mimeJSON, schema(health{}, "Health"), nil)
	plain("/readyz", "readyz", "Readiness: the service can answer requests", mimeJSON, ready,
		map[string]*huma.Response{"503": {Description: "The store is unreachable, or the server is shutting down.", Content: map[string]*huma.MediaType{mimeJSON: {Schema: ready}}}})
	if metrics {
		plain("/metrics", "metrics", "Metrics for Prometheus", "text/plain", &huma.Schema{Type: huma.TypeString}, map[string]*huma.Response{"403": failure(403, ""), "503": failure(503, "")})
	}
	for _, path := range o.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil || op.Responses["503"] == nil || op.Responses["503"].Headers != nil {
				continue
			}
			op.Responses["503"].Headers = map[string]*huma.Header{"Retry-After": retryAfter()}
		}
	}
}
