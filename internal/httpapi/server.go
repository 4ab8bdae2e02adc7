// Package httpapi is the HTTP side of the todo service: routes, decoding, error
// answers, conditional requests, health, metrics and documentation. It knows
// todo.Service and no store.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/todo"
)

// Defaults of Options.
const (
	DefaultMaxBody        = 1 << 20 // bytes
	DefaultRequestTimeout = 15 * time.Second
)

// Options of a Server; Service is required.
type Options struct {
	Service *todo.Service
	// CacheStats tells the state of the cache for /readyz. Nil if there is no
	// cache.
	CacheStats func() aside.Stats
	// Registry receives the HTTP metrics and is what /metrics shows. Nil means
	// a new one.
	Registry *prometheus.Registry
	// Log receives one line per request at debug, failures of the server at
	// warn and error. Nil means no log.
	Log *slog.Logger
	// Version is shown in the API's description.
	Version string
	// MaxBody bounds a request's body in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	// RequestTimeout bounds the work for one request; 0 means
	// DefaultRequestTimeout, negative means no bound.
	RequestTimeout time.Duration
}

// Server is the service's http.Handler.
type Server struct {
	svc        *todo.Service
	cacheStats func() aside.Stats
	log        *slog.Logger
	metrics    *metrics
	ids        *requestIDs
	warnings   perSecond
	maxBody    int64
	timeout    time.Duration
	forms      *forms
	mux        *http.ServeMux
	origin     *http.CrossOriginProtection
}

// New makes a Server. It fails if Registry has metrics of the same names already.
func New(o Options) (*Server, error) {
	if o.Service == nil {
		return nil, errors.New("httpapi: Options.Service is required")
	}
	s := &Server{
		svc: o.Service, cacheStats: o.CacheStats, log: o.Log,
		ids: newRequestIDs(), forms: newForms(), maxBody: o.MaxBody, timeout: o.RequestTimeout,
		mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
	}
	s.warnings.limit = 10
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.maxBody == 0 {
		s.maxBody = DefaultMaxBody
	}
	if s.timeout == 0 {
		s.timeout = DefaultRequestTimeout
	}
	reg := o.Registry
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	var err error
	if s.metrics, err = newMetrics(reg); err != nil {
		return nil, err
	}
	if err := s.routes(o.Version, reg); err != nil {
		return nil, err
	}
	return s, nil
}

// route hands the request to its handler and returns the pattern that matched.
func (s *Server) route(ex *exchange, w http.ResponseWriter, r *http.Request) string {
	if r.Body != nil && r.Body != http.NoBody {
		r, ex.body = withBody(w, r, s.maxBody)
	}
	if err := s.origin.Check(r); err != nil {
		ex.writeProblem(newProblem(http.StatusForbidden, "cross_origin",
			"A browser sent this request on behalf of another site. This service takes changes from its own pages and from programs only."))
		return ""
	}
	// The mux answers a path that is not in its shortest form with a redirect;
	// here such a path is not a resource. One slash at the end is welcome.
	escaped := r.URL.EscapedPath()
	if trimmed, ok := strings.CutSuffix(escaped, "/"); ok && trimmed != "" {
		escaped = trimmed
		r = withPath(r, strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.RawPath, "/"))
	}
	if strings.Contains(escaped, "//") || strings.Contains(escaped, "/.") {
		if clean := path.Clean(escaped); clean != escaped {
			ex.writeProblem(noSuchPath())
			return ""
		}
	}
	if segment, ok := strings.CutPrefix(escaped, itemPrefix); ok && !strings.Contains(segment, "/") {
		id, err := url.PathUnescape(segment)
		if err != nil {
			ex.writeProblem(noSuchPath())
			return ""
		}
		if ex.item = id; id == "/" {
			r = withPath(r, itemPrefix+"-", "") // the mux takes this segment for a slash at the end
		}
	}
	ex.ctx = r.Context()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// A write under way is finished even if its client leaves: cut off, it
		// would leave its outcome open, and its fence in place.
		ex.ctx = context.WithoutCancel(ex.ctx)
	}
	if s.timeout > 0 {
		within := deadline.With(ex.ctx, ex.start.Add(s.timeout), context.DeadlineExceeded)
		defer within.Stop()
		ex.ctx = within
	}
	s.mux.ServeHTTP(ex, r)
	pattern := r.Pattern
	if _, p, ok := strings.Cut(pattern, " "); ok {
		pattern = p
	}
	return pattern
}

// itemPrefix stands before the id in the path of one record.
const itemPrefix = "/todos/"

func withPath(r *http.Request, path, raw string) *http.Request {
	r2, u := *r, *r.URL
	u.Path, u.RawPath = path, raw
	r2.URL = &u
	return &r2
}

func noSuchPath() *Problem {
	return newProblem(http.StatusNotFound, "no_such_path", "There is nothing at this path. See /docs for what there is.")
}

// humaMux is the mux as huma sees it. Its handlers look for the request's deadline
// in the request, which costs a copy of that; others find it in the exchange.
type humaMux struct{ *http.ServeMux }

func (m humaMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(w, r.WithContext(w.(*exchange).ctx)) })
}

// handle registers a plain handler.
func (s *Server) handle(pattern string, h func(ex *exchange, r *http.Request)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(w.(*exchange), r) })
}

// allow answers all methods of a path that no other route takes.
func (s *Server) allow(pattern, methods string) {
	s.handle(pattern, func(ex *exchange, r *http.Request) {
		ex.Header().Set("Allow", methods)
		ex.writeProblem(newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "This path takes "+methods+"."))
	})
}
