package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
)

func (s *Server) routes(o Options, reg *prometheus.Registry) error {
	api := jsonAPI{humago.New(humaMux{s.mux}, humaConfig(o.Version))}
	// All errors of huma go through NewErrorWithContext, in problem.go. Panics are
	// answered elsewhere.
	const item = "/todos/{id}"
	huma.Register(api, huma.Operation{
		OperationID: "list-todos", Method: http.MethodGet, Path: "/todos", Tags: []string{"todos"},
		Summary:                      "List todos, or read several by id",
		Description:                  "Without ids, the response is a page, read from the store. With ids, the response has these items, from the cache if it has them. Items that do not exist are in missing. Items that cannot be read now are in failed. If no item can be read, the response is an error.",
		RejectUnknownQueryParameters: true,
		Errors:                       []int{400, 403, 421, 503},
	}, s.listTodos)
	huma.Register(api, huma.Operation{
		OperationID: "create-todo", Method: http.MethodPost, Path: "/todos", Tags: []string{"todos"},
		Summary:       "Create a todo",
		DefaultStatus: http.StatusCreated,
		Errors:        []int{400, 403, 408, 409, 413, 415, 421, 422, 503, 504},
	}, s.createTodo)
	huma.Register(api, huma.Operation{
		OperationID: "replace-todo", Method: http.MethodPut, Path: item, Tags: []string{"todos"},
		Summary:     "Replace a todo",
		Description: "Fields that are left out become empty. If nothing changes, nothing is written.",
		Errors:      []int{400, 403, 404, 408, 412, 413, 415, 421, 503, 504},
	}, s.replaceTodo)
	huma.Register(api, huma.Operation{
		OperationID: "patch-todo", Method: http.MethodPatch, Path: item, Tags: []string{"todos"},
		Summary:     "Change fields of a todo",
		Description: "The body is a JSON merge patch (RFC 7396). Fields that are left out stay the same. null removes a field. If nothing changes, nothing is written.",
		Errors:      []int{400, 403, 404, 408, 412, 413, 415, 421, 503, 504},
	}, s.patchTodo)
	huma.Register(api, huma.Operation{
		OperationID: "delete-todo", Method: http.MethodDelete, Path: item, Tags: []string{"todos"},
		Summary:       "Delete a todo",
		DefaultStatus: http.StatusNoContent,
		Errors:        []int{400, 403, 404, 412, 421, 503, 504},
	}, s.deleteTodo)
	s.handle("GET "+item, s.getTodo)
	s.handle("GET /healthz", s.healthz)
	s.handle("GET /readyz", s.readyz)
	readOnly := append([]string{"/healthz", "/readyz"}, s.mount(o.Mounts)...)
	if !o.NoMetrics {
		show := metricsHandler(reg)
		s.handle("GET /metrics", func(ex *exchange, r *http.Request) {
			if foreign(r) {
				ex.writeProblem(crossSite())
				return
			}
			show.ServeHTTP(ex, r)
		})
		readOnly = append(readOnly, "/metrics")
	}
	if !o.NoDocs {
		document(api.OpenAPI(), !o.NoMetrics)
		spec, err := json.Marshal(api.OpenAPI())
		if err != nil {
			return fmt.Errorf("httpapi: encoding the OpenAPI document: %w", err)
		}
		if err := s.docsRoutes(escapeInvisible(spec)); err != nil { // the pattern of ids has such characters
			return err
		}
		readOnly = append(readOnly, "/openapi.json", "/docs", "/docs/{file}")
	}

	s.allow("/todos", "GET, HEAD, POST")
	s.allow(item, "GET, HEAD, PUT, PATCH, DELETE")
	for _, path := range readOnly {
		s.allow(path, "GET, HEAD")
	}
	s.handle("/", func(ex *exchange, r *http.Request) { ex.writeProblem(s.noSuchPath()) })
	return nil
}

// jsonAPI answers in JSON and ignores Accept, as the plain handlers do. With huma's own
// negotiation, a record would be sent as application/problem+json to a client that
// accepts this type, and some values cause a panic.
type jsonAPI struct{ huma.API }

func (jsonAPI) Negotiate(string) (string, error) { return mimeJSON, nil }

// Marshal encodes todo.Todo and the types of this package. It ignores write errors, on
// which huma would panic: the client has closed the connection or does not read.
func (jsonAPI) Marshal(w io.Writer, _ string, v any) error {
	_, _ = w.Write(mustEncode(v))
	return nil
}

// humaConfig is huma's default without its documentation routes, which load scripts from
// other sites, and without $schema links, which add a member to the records and cost a
// tenth of the requests per second.
func humaConfig(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	c := huma.DefaultConfig("aside todo service", version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Formats = map[string]huma.Format{mimeJSON: {}} // see jsonAPI
	c.Info.Description = "A todo service on a database, with a cache in two tiers. The header Cache-Status of a read tells which tier answered it. " +
		"Every path may end with a slash. Errors are problem details (RFC 9457). Use their code to tell errors apart."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Tags = []*huma.Tag{
		{Name: "todos", Description: "The records."},
		{Name: "operation", Description: "Endpoints for operators."},
	}
	return c
}
