// Package httpapi is the HTTP side of the todo service: routes, decoding, error
// answers, conditional requests, health, metrics and documentation. It knows
// todo.Service and no store.
package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Defaults of Options.
const (
	DefaultMaxBody        = 1 << 20 // bytes
	DefaultRequestTimeout = 15 * time.Second
	DefaultSendTimeout    = 30 * time.Second
	DefaultMaxRequests    = 1024
	DefaultMaxLists       = 32
	DefaultMaxPage        = 1 << 20 // bytes
	DefaultStrongLoads    = 1000    // a second
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
	// SendTimeout bounds how long a client may take to receive a large answer;
	// 0 means DefaultSendTimeout. The http.Server's WriteTimeout bounds the
	// others.
	SendTimeout time.Duration

	// Hosts are the names that requests may be for. Nil means any.
	Hosts *Hosts
	// Connections is the limit of the http.Server that the Server stands behind.
	// Nil means none.
	Connections *Connections
	// MaxRequests bounds the requests that are served at one time, health
	// endpoints left out; 0 means DefaultMaxRequests, negative means no bound.
	MaxRequests int
	// MaxLists bounds the pages and batches among them; 0 means DefaultMaxLists,
	// negative means no bound.
	MaxLists int
	// MaxPage is how many bytes of records a page or batch has; it ends before
	// the record that would pass it, but has one at least. 0 means
	// DefaultMaxPage.
	MaxPage int64
	// StrongLoads is how many reads of the store a second clients may cause by
	// asking for the newest value; 0 means DefaultStrongLoads, negative means
	// any number. Without a cache it means nothing: every read asks the store.
	StrongLoads int
	// IgnoreStrong answers such reads like all others.
	IgnoreStrong bool

	// NoDocs leaves out /docs and /openapi.json, NoMetrics leaves out /metrics.
	NoDocs, NoMetrics bool
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
	maxPage    int64
	timeout    time.Duration
	send       time.Duration
	forms      *forms
	mux        *http.ServeMux
	origin     *http.CrossOriginProtection
	hosts      *Hosts
	conns      *Connections
	requests   slots
	lists      slots
	strong     *strongLoads // nil: no bound
	noStrong   bool
	hasDocs    bool
	largest    atomic.Int64 // bytes of the largest records of late; see pages.go
	leaving    atomic.Bool
}

// New makes a Server. It fails if Registry has metrics of the same names already.
func New(o Options) (*Server, error) {
	if o.Service == nil {
		return nil, errors.New("httpapi: Options.Service is required")
	}
	s := &Server{
		svc: o.Service, cacheStats: o.CacheStats, log: o.Log,
		ids: newRequestIDs(), forms: newForms(), mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		maxBody: cmp.Or(o.MaxBody, DefaultMaxBody), maxPage: cmp.Or(o.MaxPage, DefaultMaxPage),
		timeout: cmp.Or(o.RequestTimeout, DefaultRequestTimeout), send: cmp.Or(o.SendTimeout, DefaultSendTimeout),
		hosts: cmp.Or(o.Hosts, AnyHost()), conns: o.Connections, noStrong: o.IgnoreStrong, hasDocs: !o.NoDocs,
	}
	s.largest.Store(likelyRecord)
	s.requests.max = int64(cmp.Or(o.MaxRequests, DefaultMaxRequests))
	s.lists.max = int64(cmp.Or(o.MaxLists, DefaultMaxLists))
	if n := cmp.Or(o.StrongLoads, DefaultStrongLoads); n > 0 {
		s.strong = &strongLoads{perSecond: float64(n)}
	}
	s.warnings.limit = 10
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	reg := o.Registry
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	var err error
	if s.metrics, err = newMetrics(reg, func() float64 { return float64(s.requests.used.Load()) }); err != nil {
		return nil, err
	}
	if err := s.routes(o, reg); err != nil {
		return nil, err
	}
	return s, nil
}

// route hands the request to its handler and returns the pattern that matched.
func (s *Server) route(ex *exchange, w http.ResponseWriter, r *http.Request) string {
	if r.Body != nil && r.Body != http.NoBody {
		r, ex.body = withBody(w, r, s.maxBody)
	}
	if s.leaving.Load() {
		ex.hangUp()
	}
	if over := s.conns.over(r); over || s.requests.max >= 0 && s.requests.used.Load() > s.requests.max {
		if over {
			ex.hangUp()
		}
		if !isHealth(r) {
			p := newProblem(http.StatusServiceUnavailable, "busy", "This server has as many requests or connections as it takes at one time. Try again later.")
			p.retryAfter = time.Second
			ex.writeProblem(p)
			return ""
		}
	}
	if err := s.hosts.check(r); err != nil {
		ex.writeProblem(newProblem(http.StatusMisdirectedRequest, "unknown_host",
			"This server does not answer under the name in the request's Host header. Its operator can add the name (aside serve --allowed-hosts)."))
		return ""
	}
	if err := s.origin.Check(r); err != nil {
		ex.writeProblem(crossSite())
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
			ex.writeProblem(s.noSuchPath())
			return ""
		}
	}
	if segment, ok := strings.CutPrefix(escaped, itemPrefix); ok && !strings.Contains(segment, "/") {
		id, err := url.PathUnescape(segment)
		if err != nil {
			ex.writeProblem(s.noSuchPath())
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
		ctx, cancel := context.WithDeadline(ex.ctx, ex.start.Add(s.timeout))
		defer cancel()
		ex.ctx = ctx
	}
	s.mux.ServeHTTP(ex, r)
	pattern := r.Pattern
	if _, p, ok := strings.Cut(pattern, " "); ok {
		pattern = p
	}
	return pattern
}

// Leave tells balancers, by /readyz, to send no further requests here. Those that
// come are answered, and their connections closed.
func (s *Server) Leave() { s.leaving.Store(true) }

// hangUp closes the connection after the answer.
func (ex *exchange) hangUp() { ex.Header()["Connection"] = valueClose }

// isHealth reports whether r asks for an endpoint that answers whatever the load.
func isHealth(r *http.Request) bool {
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/healthz", "/readyz":
		return true
	}
	return false
}

// itemPrefix stands before the id in the path of one record.
const itemPrefix = "/todos/"

func withPath(r *http.Request, path, raw string) *http.Request {
	r2, u := *r, *r.URL
	u.Path, u.RawPath = path, raw
	r2.URL = &u
	return &r2
}

func (s *Server) noSuchPath() *Problem {
	detail := "There is nothing at this path."
	if s.hasDocs {
		detail += " See /docs for what there is."
	}
	return newProblem(http.StatusNotFound, "no_such_path", detail)
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
