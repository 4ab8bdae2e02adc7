// Package httpapi is the HTTP API of the todo service: routes, decoding, error responses,
// conditional requests, health, metrics and documentation. It uses todo.Service, and
// knows no store.
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
	// CacheStats returns the state of the cache, for /readyz. Nil if there is no cache.
	CacheStats func() aside.Stats
	// StoreLatency is what is added to the time of each call of the store. /readyz says it.
	StoreLatency time.Duration
	// StoreTrouble returns what is known of the store's failures, for /readyz. Nil means that
	// only a ping says so.
	StoreTrouble func() StoreTrouble
	// FeedRequired: without the feed of the store's changes the service is degraded.
	FeedRequired bool
	// Registry receives the HTTP metrics, and /metrics shows it. Nil means a new one.
	Registry *prometheus.Registry
	// Log receives one line per request at level debug, and server errors at warn and
	// error. Nil means no log.
	Log *slog.Logger
	// Version is shown in the API's description.
	Version string
	// MaxBody is the maximum size of a request body in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	// RequestTimeout is the timeout for processing a request; 0 means
	// DefaultRequestTimeout, negative means none.
	RequestTimeout time.Duration
	// SendTimeout is the timeout for sending a large response; 0 means
	// DefaultSendTimeout. For small responses the http.Server's WriteTimeout applies.
	SendTimeout time.Duration

	// Hosts are the host names that requests may use. Nil means any.
	Hosts *Hosts
	// Connections is the connection limit of the http.Server that uses this handler.
	// Nil means none.
	Connections *Connections
	// MaxRequests is the maximum number of concurrent requests, without those to the
	// health endpoints; 0 means DefaultMaxRequests, negative means no limit.
	MaxRequests int
	// MaxLists is the maximum number of concurrent pages and batches; 0 means
	// DefaultMaxLists, negative means no limit.
	MaxLists int
	// MaxPage is the maximum size of the records in a page or batch, in bytes. A page
	// has at least one record, which may be larger. 0 means DefaultMaxPage.
	MaxPage int64
	// StrongLoads is the maximum number of store reads per second that strong reads may
	// cause; 0 means DefaultStrongLoads, negative means no limit. It has no effect
	// without a cache, since then every read goes to the store.
	StrongLoads int
	// IgnoreStrong treats strong reads like default reads.
	IgnoreStrong bool

	// NoDocs removes /docs and /openapi.json. NoMetrics removes /metrics.
	NoDocs, NoMetrics bool

	// Observe is called after each request to the API, and after each that was refused
	// before its path was looked at. It delays the request's connection. Nil means nobody
	// looks.
	Observe func(status int, took time.Duration)
	// Finished is called after each request, with the pattern of its route. Nil means
	// nobody looks.
	Finished func(r *http.Request, pattern string, status int, took time.Duration)
	Mounts
}

// Server is the service's http.Handler.
type Server struct {
	svc        *todo.Service
	cacheStats func() aside.Stats
	// feedRequired and storeTrouble: see Options
	feedRequired bool
	storeTrouble func() StoreTrouble
	latency      time.Duration // added to the store's

	log      *slog.Logger
	metrics  *metrics
	observe  func(status int, took time.Duration)                                  // may be nil
	finished func(r *http.Request, pattern string, status int, took time.Duration) // may be nil
	ids      *requestIDs
	warnings perSecond
	maxBody  int64
	maxPage  int64
	timeout  time.Duration
	send     time.Duration
	forms    *forms
	mux      *http.ServeMux
	origin   *http.CrossOriginProtection
	hosts    *Hosts
	conns    *Connections
	requests slots
	lists    slots
	strong   *strongLoads // nil: no bound
	noStrong bool
	hasDocs  bool
	largest  atomic.Int64 // size of the largest recent records in bytes; see pages.go
	leaving  atomic.Bool
}

// New creates a Server. It fails if Registry already has metrics of the same names.
func New(o Options) (*Server, error) {
	if o.Service == nil {
		return nil, errors.New("httpapi: Options.Service is required")
	}
	s := &Server{
		svc: o.Service, cacheStats: o.CacheStats, feedRequired: o.FeedRequired, storeTrouble: o.StoreTrouble, latency: o.StoreLatency, log: o.Log, observe: o.Observe, finished: o.Finished,
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

// route calls the handler of the request and returns the pattern that matched.
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
			p := newProblem(http.StatusServiceUnavailable, "busy", "This server has reached its maximum number of requests or connections. Try again later.")
			p.retryAfter = time.Second
			ex.writeProblem(p)
			return ""
		}
	}
	if err := s.hosts.check(r); err != nil {
		ex.writeProblem(newProblem(http.StatusMisdirectedRequest, "unknown_host",
			"The host name in the Host header is not allowed. The operator can add it (aside serve --allowed-hosts)."))
		return ""
	}
	if err := s.origin.Check(r); err != nil {
		ex.writeProblem(crossSite())
		return ""
	}
	// The mux would redirect a path such as /a//b. Here it gets 404 instead. One slash at
	// the end is allowed.
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
			r = withPath(r, itemPrefix+"-", "") // the mux treats this segment as a slash at the end
		}
	}
	ex.ctx = r.Context()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// A write is finished even if its client closes the connection. If it were
		// cancelled, its outcome would be unknown and its fence would stay.
		ex.ctx = context.WithoutCancel(ex.ctx)
	}
	if s.timeout > 0 {
		within := withLateDeadline(ex.ctx, ex.start.Add(s.timeout))
		defer within.stop()
		ex.ctx = within
	}
	s.mux.ServeHTTP(ex, r)
	pattern := r.Pattern
	if _, p, ok := strings.Cut(pattern, " "); ok {
		pattern = p
	}
	return pattern
}

// Leave makes /readyz answer 503, so that load balancers send no more requests. Requests
// that still come are answered, and their connections closed.
func (s *Server) Leave() { s.leaving.Store(true) }

// hangUp closes the connection after the response.
func (ex *exchange) hangUp() { ex.Header()["Connection"] = valueClose }

// isHealth reports whether r is for an endpoint that answers under any load.
func isHealth(r *http.Request) bool {
	switch strings.TrimSuffix(r.URL.Path, "/") {
	case "/healthz", "/readyz":
		return true
	}
	return false
}

// itemPrefix is the path of a record up to its id.
const itemPrefix = "/todos/"

func withPath(r *http.Request, path, raw string) *http.Request {
	r2, u := *r, *r.URL
	u.Path, u.RawPath = path, raw
	r2.URL = &u
	return &r2
}

func (s *Server) noSuchPath() *Problem {
	detail := "This path does not exist."
	if s.hasDocs {
		detail += " See /docs for the API."
	}
	return newProblem(http.StatusNotFound, "no_such_path", detail)
}

// humaMux is the mux that huma uses. Handlers of huma take the deadline from the request,
// which must be copied for that. Other handlers take it from the exchange.
type humaMux struct{ *http.ServeMux }

func (m humaMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.ServeMux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(w, r.WithContext(w.(*exchange).ctx)) })
}

// handle registers a plain handler.
func (s *Server) handle(pattern string, h func(ex *exchange, r *http.Request)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h(w.(*exchange), r) })
}

// allow answers the methods of a path that no other route handles, with 405.
func (s *Server) allow(pattern, methods string) {
	s.handle(pattern, func(ex *exchange, r *http.Request) { s.wrongMethod(ex, methods) })
}

func (s *Server) wrongMethod(ex *exchange, allowed string) {
	ex.Header().Set("Allow", allowed)
	ex.writeProblem(newProblem(http.StatusMethodNotAllowed, "method_not_allowed", "This path supports only "+allowed+"."))
}
