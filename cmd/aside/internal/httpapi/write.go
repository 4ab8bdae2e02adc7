package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// todoOutput is the response to a write: the record after the write.
type todoOutput struct {
	Location     string `header:"Location" doc:"URL of the item, after it was created."`
	ETag         string `header:"ETag" doc:"The item's new entity tag."`
	CacheControl string `header:"Cache-Control"`
	Body         todo.Todo
}

func outputOf(t todo.Todo) *todoOutput {
	return &todoOutput{
		ETag:         etagOf(t.Version, encodeTodo(&t)),
		CacheControl: valueRevalidate[0],
		Body:         t,
	}
}

// Target is the common part of PUT, PATCH and DELETE. It is exported because huma ignores
// embedded structs with an unexported name.
type Target struct {
	ID          string `path:"id" maxLength:"256" doc:"The item's id, percent-encoded." example:"123"`
	IfMatch     string `header:"If-Match" doc:"Entity tags of the versions that may be changed, or * for any. The response is 412 if the item has another version."`
	IfNoneMatch string `header:"If-None-Match" doc:"Entity tags of versions that must not be changed. The response is 412 if the item has one of them."`

	pre todo.Precondition
	ex  *exchange
}

func (t *Target) resolve(ctx huma.Context) *Problem {
	r, w := humago.Unwrap(ctx)
	t.ex = w.(*exchange)
	var p *Problem
	if t.ID, p = t.ex.pathID(); p != nil {
		return p
	}
	t.pre, p = precondition(r.Header)
	return p
}

type createInput struct {
	draft todo.Draft
	ex    *exchange
}

type replaceInput struct {
	Target
	replacement todo.Replacement
}

type patchInput struct {
	Target
	patch todo.Patch
}

type deleteInput struct{ Target }

// Resolve implements huma.Resolver, here and below. It reads and decodes the body; see
// decode.go.
func (in *createInput) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	in.ex = w.(*exchange)
	body, p := readBody(in.ex, r, mimeJSON)
	if p == nil {
		in.draft, p = decodeDraft(body)
	}
	return asErrors(p)
}

func (in *replaceInput) Resolve(ctx huma.Context) []error {
	p := in.resolve(ctx)
	if p != nil {
		return asErrors(p)
	}
	r, _ := humago.Unwrap(ctx)
	body, p := readBody(in.ex, r, mimeJSON)
	if p == nil {
		in.replacement, p = decodeReplacement(body, in.ID)
	}
	return asErrors(p)
}

func (in *patchInput) Resolve(ctx huma.Context) []error {
	p := in.resolve(ctx)
	if p != nil {
		return asErrors(p)
	}
	r, _ := humago.Unwrap(ctx)
	body, p := readBody(in.ex, r, mimeMergePatch, mimeJSON)
	if p == nil {
		in.patch, p = decodePatch(body, in.ID)
	}
	return asErrors(p)
}

func (in *deleteInput) Resolve(ctx huma.Context) []error {
	return asErrors(in.resolve(ctx))
}

func asErrors(p *Problem) []error {
	if p == nil {
		return nil
	}
	return []error{p}
}

// readBody reads a body of one of the given media types. A body without Content-Type is
// read as JSON.
func readBody(ex *exchange, r *http.Request, types ...string) ([]byte, *Problem) {
	if given := r.Header.Get("Content-Type"); given != "" {
		mediaType, params, err := mime.ParseMediaType(given)
		charset, hasCharset := params["charset"]
		if err != nil || !slices.Contains(types, mediaType) || hasCharset && !strings.EqualFold(charset, "utf-8") {
			name := "Accept"
			if r.Method == http.MethodPatch {
				name = "Accept-Patch"
			}
			accepted := strings.Join(types, ", ")
			ex.Header().Set(name, accepted)
			return nil, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
				"The request body must be "+strings.Join(types, " or ")+" in UTF-8.",
				Fault{Location: "header.Content-Type", Detail: "must be " + strings.Join(types, " or ")})
		}
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		ex.Header().Set("Accept-Encoding", "identity")
		return nil, newProblem(http.StatusUnsupportedMediaType, "unsupported_media_type",
			"The request body must not be compressed.",
			Fault{Location: "header.Content-Encoding", Detail: "must be left out"})
	}
	tooLarge := func(limit int64) *Problem {
		return newProblem(http.StatusRequestEntityTooLarge, "too_large",
			fmt.Sprintf("The request body is larger than %d bytes, which is the maximum of this server.", limit))
	}
	if b := ex.body; b != nil && r.ContentLength > b.limit { // a client that waits for 100 Continue does not send the body at all
		return nil, tooLarge(b.limit)
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		return body, nil
	}
	var over *http.MaxBytesError
	var netErr net.Error
	var p *Problem
	switch {
	case errors.As(err, &over):
		p = tooLarge(over.Limit)
	case errors.As(err, &netErr) && netErr.Timeout():
		p = newProblem(http.StatusRequestTimeout, "slow_request", "The request body did not arrive in time.")
	default:
		p = newProblem(http.StatusBadRequest, "bad_request", "The request body ended before it was complete.")
	}
	p.cause = err
	return nil, p
}

func (s *Server) createTodo(ctx context.Context, in *createInput) (*todoOutput, error) {
	t, err := s.svc.Create(ctx, in.draft)
	if err != nil {
		return nil, in.ex.fail(problemOf(err, true))
	}
	out := outputOf(t)
	out.Location = "/todos/" + url.PathEscape(t.ID)
	return out, nil
}

func (s *Server) replaceTodo(ctx context.Context, in *replaceInput) (*todoOutput, error) {
	t, err := s.svc.Replace(ctx, in.ID, in.replacement, in.pre)
	if err != nil {
		return nil, in.ex.fail(problemOf(err, true))
	}
	return outputOf(t), nil
}

func (s *Server) patchTodo(ctx context.Context, in *patchInput) (*todoOutput, error) {
	t, err := s.svc.Patch(ctx, in.ID, in.patch, in.pre)
	if err != nil {
		return nil, in.ex.fail(problemOf(err, true))
	}
	return outputOf(t), nil
}

func (s *Server) deleteTodo(ctx context.Context, in *deleteInput) (*struct{}, error) {
	if err := s.svc.Delete(ctx, in.ID, in.pre); err != nil {
		return nil, in.ex.fail(problemOf(err, true))
	}
	return nil, nil
}
