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
	// Every answer of huma's own shape goes through NewErrorWithContext, in
	// problem.go; nothing else may tell a client about a panic.
	const item = "/todos/{id}"
	huma.Register(api, huma.Operation{
		OperationID: "list-todos", Method: http.MethodGet, Path: "/todos", Tags: []string{"todos"},
		Summary:                      "List todos, or read several by id",
		Description:                  "Without ids: a page, read from the store. With ids: those items, from the cache where it has them; items that do not exist are in missing, items that cannot be read now in failed. If none can be read the answer is an error.",
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
		Description: "Fields that are left out become empty. Nothing is written if nothing changes.",
		Errors:      []int{400, 403, 404, 408, 412, 413, 415, 421, 503, 504},
	}, s.replaceTodo)
	huma.Register(api, huma.Operation{
		OperationID: "patch-todo", Method: http.MethodPatch, Path: item, Tags: []string{"todos"},
		Summary:     "Change fields of a todo",
		Description: "A JSON merge patch (RFC 7396): what is left out stays, null removes. Nothing is written if nothing changes.",
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
	readOnly := []string{"/healthz", "/readyz"}
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
		if err := s.docsRoutes(spec); err != nil {
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

// jsonAPI answers in JSON whatever Accept says, as the plain handlers do: there
// is nothing else to choose. huma's own reading of that header would send a
// record as a problem to a client that names that type, and panics on some
// values.
type jsonAPI struct{ huma.API }

func (jsonAPI) Negotiate(string) (string, error) { return mimeJSON, nil }

// Marshal takes types of this package, todo.Todo and *Problem. A client that is
// gone, or does not read, is no failure of ours: huma would panic on it.
func (jsonAPI) Marshal(w io.Writer, _ string, v any) error {
	_, _ = w.Write(mustEncode(v))
	return nil
}

// humaConfig is huma's without the routes that load scripts from elsewhere, and
// without its $schema links, which cost a tenth of the requests per second and
// add a member to records that is not theirs.
func humaConfig(version string) huma.Config {
	if version == "" {
		version = "dev"
	}
	c := huma.DefaultConfig("aside todo service", version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Formats = map[string]huma.Format{mimeJSON: {}} // see jsonAPI
	c.Info.Description = "Todos over a primary store, served cache-aside. Every read says in Cache-Status how it was answered. " +
		"All paths may end in a slash. Errors are problem details (RFC 9457); their code tells cases apart."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Tags = []*huma.Tag{
		{Name: "todos", Description: "The records."},
		{Name: "operation", Description: "For those who run the service."},
	}
	return c
}
