package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Limits of GET /todos.
const (
	defaultPage = 50
	maxPage     = 200
	maxBatch    = 200
)

// listInput is the request of GET /todos: a page, or, with ids, a batch.
type listInput struct {
	Limit        int      `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Maximum number of items in a page. A page with large items may have fewer. If there are more items, the page has a next_cursor."`
	Cursor       string   `query:"cursor" doc:"Start of the page: the next_cursor of the previous page. It is opaque."`
	IDs          []string `query:"ids,explode" nullable:"false" doc:"The ids of a batch read, 1 to 200. Repeat the parameter, or separate the ids with commas. Write a comma inside an id as %2C. Cannot be used with limit or cursor."`
	CacheControl string   `header:"Cache-Control" doc:"no-cache asks for a strong read: the response includes every write that any node acknowledged before the request."`

	after   string
	request *http.Request
	ex      *exchange
}

// listOutput is the response of GET /todos.
type listOutput struct {
	CacheStatus  string `header:"Cache-Status" doc:"Which tier answered (RFC 9211)."`
	ServerTiming string `header:"Server-Timing" doc:"How long each step took, in milliseconds."`
	CacheControl string `header:"Cache-Control"`
	Link         string `header:"Link" doc:"The next page, rel=next (RFC 8288)."`
	Body         todoList
}

// todoList is a page or a batch.
type todoList struct {
	Todos      []todo.Todo `json:"todos" nullable:"false" doc:"The items. A page is sorted by the bytes of the ids. A batch has the order of the request."`
	NextCursor string      `json:"next_cursor,omitempty" doc:"In a page: the cursor of the next page. The last page has none."`
	Missing    []string    `json:"missing,omitempty" nullable:"false" doc:"In a batch: the ids of items that do not exist."`
	Rest       []string    `json:"rest,omitempty" nullable:"false" doc:"In a batch: ids that were not read because the response is full. Request them again."`
	Failed     []failedID  `json:"failed,omitempty" nullable:"false" doc:"Items that could not be read. In a batch they may or may not exist. In a page they exist, but cannot be shown."`
}

// failedID is an item that could not be read.
type failedID struct {
	ID     string `json:"id"`
	Status int    `json:"status" doc:"The status that a read of this item alone would get."`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

var _ huma.Resolver = (*listInput)(nil)

// Resolve implements huma.Resolver. It checks what struct tags cannot express.
func (in *listInput) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	in.request, in.ex = r, w.(*exchange)
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return []error{newProblem(http.StatusBadRequest, "bad_request", "The query of the URL is malformed: it must be percent-encoded, with & between parameters.")}
	}
	var errs []error
	fault := func(name, format string, args ...any) {
		errs = append(errs, &huma.ErrorDetail{Location: "query." + name, Message: fmt.Sprintf(format, args...)})
	}
	for _, name := range []string{"limit", "cursor"} {
		switch values := query[name]; {
		case len(values) == 0:
		case query.Has("ids"):
			fault(name, "cannot be used together with ids")
		case len(values) > 1:
			fault(name, "is given more than once")
		case values[0] == "":
			fault(name, "must not be empty; leave the parameter out instead")
		}
	}
	if in.Cursor != "" {
		if in.after, err = decodeCursor(in.Cursor); err != nil {
			fault("cursor", "%v", err)
		}
	}
	in.IDs = nil
	if query.Has("ids") {
		if in.IDs, err = batchIDs(r.URL.RawQuery); err != nil {
			fault("ids", "%v", err)
		}
	}
	return errs
}

// batchIDs reads the ids parameters of a raw query. It splits at commas before it decodes
// percent-encoding, so an id can contain a comma. It drops repeated ids.
func batchIDs(rawQuery string) ([]string, error) {
	var ids []string
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(key); err != nil || k != "ids" {
			continue
		}
		for part := range strings.SplitSeq(value, ",") {
			id, err := url.QueryUnescape(part)
			if err != nil {
				return nil, errors.New("must be percent-encoded")
			}
			if err := todo.CheckID(id); err != nil {
				return nil, fmt.Errorf("the id in position %d %w", len(seen)+1, err)
			}
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
			if len(ids) > maxBatch {
				return nil, fmt.Errorf("must be at most %d ids", maxBatch)
			}
		}
	}
	return ids, nil
}

// cursorVersion begins a cursor, so that a later release can change the format.
const cursorVersion = "1"

func encodeCursor(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorVersion + after))
}

func decodeCursor(cursor string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	after, ok := strings.CutPrefix(string(b), cursorVersion)
	if err != nil || !ok || after == "" || strings.ContainsAny(cursor, "\r\n") { // the decoder ignores line breaks
		return "", errors.New("is not a cursor of this service; use the next_cursor of a page, or leave it out to get the first page")
	}
	return after, nil
}

// listTodos answers a page or a batch.
func (s *Server) listTodos(ctx context.Context, in *listInput) (*listOutput, error) {
	if p := s.begin(in.ex, in.request); p != nil {
		return nil, in.ex.fail(p)
	}
	if in.IDs != nil {
		return s.batch(ctx, in)
	}
	before := time.Now()
	page, err := s.page(ctx, in.after, in.Limit)
	if err != nil {
		return nil, in.ex.fail(readProblem(ctx, err))
	}
	took := time.Since(before)
	out := &listOutput{
		CacheStatus:  statusBypass[0],
		ServerTiming: serverTiming(in.ex.start, took, 0, took),
		CacheControl: valueRevalidate[0],
		Body:         todoList{Todos: page.Todos},
	}
	if out.Body.Todos == nil {
		out.Body.Todos = []todo.Todo{}
	}
	for _, u := range page.Unreadable {
		p := readProblem(ctx, u.Err)
		out.Body.Failed = append(out.Body.Failed, failedID{u.ID, p.Status, p.Code, p.Detail})
		in.ex.cause = u.Err
	}
	if page.Next != "" {
		out.Body.NextCursor = encodeCursor(page.Next)
		q := url.Values{"cursor": {out.Body.NextCursor}}
		if in.request.URL.Query().Has("limit") {
			q.Set("limit", strconv.Itoa(in.Limit))
		}
		out.Link = "</todos?" + q.Encode() + `>; rel="next"`
	}
	return out, nil
}

func (s *Server) batch(ctx context.Context, in *listInput) (*listOutput, error) {
	level, p := s.level(in.request)
	if p != nil {
		return nil, in.ex.fail(p)
	}
	before := time.Now()
	found, rest, err := s.many(ctx, in.IDs, level)
	if err != nil {
		return nil, in.ex.fail(readProblem(ctx, err))
	}
	out := &listOutput{
		CacheStatus:  cacheStatusOfMany(found, level),
		CacheControl: valueRevalidate[0],
		Body:         todoList{Todos: []todo.Todo{}, Rest: rest},
	}
	took := time.Since(before)
	var failure error
	var l2, load time.Duration // of the slowest
	ids := in.IDs[:len(in.IDs)-len(rest)]
	for _, id := range ids {
		r := found.Results[id]
		if level == aside.Strong {
			s.paid(r.Info)
		}
		l2, load = max(l2, r.L2Time), max(load, r.LoadTime)
		switch {
		case r.Err == nil:
			out.Body.Todos = append(out.Body.Todos, r.Value)
		case errors.Is(r.Err, todo.ErrNotFound):
			out.Body.Missing = append(out.Body.Missing, id)
		default:
			failure = r.Err
			p := readProblem(ctx, r.Err)
			out.Body.Failed = append(out.Body.Failed, failedID{id, p.Status, p.Code, p.Detail})
		}
	}
	if len(out.Body.Failed) == len(ids) {
		return nil, in.ex.fail(readProblem(ctx, failure))
	}
	in.ex.cause = failure
	out.ServerTiming = serverTiming(in.ex.start, took, l2, load)
	return out, nil
}
