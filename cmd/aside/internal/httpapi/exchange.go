package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// exchange is one request and its answer; handlers find it as their
// ResponseWriter.
type exchange struct {
	http.ResponseWriter
	id     string
	ctx    context.Context // of the work: it has the server's deadline
	start  time.Time
	status int // 0 until the header is written
	bytes  int64
	cause  error  // of an error answer; for the log
	body   *body  // of the request; nil if it has none
	item   string // the id in the path /todos/{id}
	send   time.Duration
	after  func() // nil or what to do when the answer has been sent

	// header values, here to spare each an allocation
	idValue, timing [1]string
}

// Unwrap lets http.ResponseController reach the connection.
func (ex *exchange) Unwrap() http.ResponseWriter { return ex.ResponseWriter }

func (ex *exchange) WriteHeader(status int) {
	if ex.status == 0 && status >= 200 {
		ex.status = status
		if ex.body != nil {
			ex.body.leave(ex.ResponseWriter)
		}
	}
	ex.ResponseWriter.WriteHeader(status)
}

func (ex *exchange) Write(p []byte) (int, error) {
	if ex.status == 0 {
		ex.WriteHeader(http.StatusOK)
	}
	if len(p) > sentAtOnce {
		_ = http.NewResponseController(ex.ResponseWriter).SetWriteDeadline(time.Now().Add(ex.send))
	}
	n, err := ex.ResponseWriter.Write(p)
	ex.bytes += int64(n)
	return n, err
}

// sentAtOnce is how much of an answer goes out whether or not its client reads:
// the buffers of the system hold it. Up to there the server's own time limit
// will do.
const sentAtOnce = 16 << 10

// fail gives p the request's id and keeps its cause for the log.
func (ex *exchange) fail(p *Problem) *Problem {
	p.RequestID = ex.id
	ex.cause = p.cause
	return p
}

// writeProblem answers with p.
func (ex *exchange) writeProblem(p *Problem) {
	ex.fail(p)
	h := ex.Header()
	for name, values := range p.GetHeaders() {
		h[name] = values
	}
	body := mustEncode(p)
	h["Content-Type"] = []string{problemJSON}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	ex.WriteHeader(p.Status)
	ex.Write(body)
}

// requestIDs makes ids that are unique among processes and cheap: a random
// prefix per process and a counter.
type requestIDs struct {
	prefix string
	count  atomic.Uint64
}

func newRequestIDs() *requestIDs {
	var b [5]byte
	rand.Read(b[:]) // never fails
	return &requestIDs{prefix: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])) + "-"}
}

// of returns the id that the client gave, if it is one we would print, or a new one.
func (ids *requestIDs) of(r *http.Request) string {
	if given := r.Header["X-Request-Id"]; len(given) == 1 && printableID(given[0]) {
		return given[0]
	}
	return ids.prefix + strconv.FormatUint(ids.count.Add(1), 36)
}

func printableID(s string) bool {
	if len(s) < 1 || len(s) > 128 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("-_.:/+=", c) < 0 {
			return false
		}
	}
	return true
}

// Shared header values: net/http only reads them.
var (
	valueNoStore = []string{"no-store"}
	valueNoSniff = []string{"nosniff"}
)

// ServeHTTP implements http.Handler: it wraps the routes in what every request
// gets, an id, a deadline, metrics, the log, and a net for panics.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := &exchange{ResponseWriter: w, id: s.ids.of(r), start: time.Now(), send: s.send}
	h := w.Header()
	ex.idValue[0] = ex.id
	h["X-Request-Id"] = ex.idValue[:]
	h["X-Content-Type-Options"] = valueNoSniff
	// Handlers of what may be kept say so themselves.
	h["Cache-Control"] = valueNoStore

	s.requests.used.Add(1)
	var pattern string
	defer func() {
		v := recover()
		if v == nil {
			s.finish(ex, r, pattern)
			return
		}
		begun := ex.status != 0
		if v != http.ErrAbortHandler {
			s.log.Error("panic while serving", "request_id", ex.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if !begun {
				ex.writeProblem(problemOf(fmt.Errorf("panic: %v", v), false))
			}
		}
		s.finish(ex, r, pattern)
		if begun || v == http.ErrAbortHandler {
			// Half an answer is out: only cutting the connection tells the client.
			panic(http.ErrAbortHandler)
		}
	}()

	pattern = s.route(ex, w, r)
}

func (s *Server) finish(ex *exchange, r *http.Request, pattern string) {
	s.requests.used.Add(-1)
	if ex.after != nil {
		ex.after()
	}
	took := time.Since(ex.start)
	status := ex.status
	if status == 0 {
		status = http.StatusOK // what net/http sends for a handler that wrote nothing
	}
	s.metrics.observe(pattern, r.Method, status, took)

	level := slog.LevelDebug
	switch {
	case status == http.StatusInternalServerError:
		level = slog.LevelError
	case status >= 500:
		level = slog.LevelWarn
	}
	ctx := r.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	// A store that is down fails every request: the log must not be next.
	if level == slog.LevelWarn && !s.warnings.allow(ex.start) {
		level = slog.LevelDebug
		if !s.log.Enabled(ctx, level) {
			return
		}
	}
	attrs := []slog.Attr{
		slog.String("request_id", ex.id),
		slog.String("method", r.Method),
		slog.String("path", r.URL.EscapedPath()),
		slog.String("route", pattern),
		slog.Int("status", status),
		slog.Int64("bytes", ex.bytes),
		slog.Float64("took_ms", float64(took.Microseconds())/1000),
		slog.String("remote", r.RemoteAddr),
	}
	if cs := ex.Header()["Cache-Status"]; len(cs) > 0 {
		attrs = append(attrs, slog.String("cache_status", cs[0]))
	}
	if ex.cause != nil {
		attrs = append(attrs, slog.String("error", ex.cause.Error()))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// perSecond lets through so many events in each second of the clock.
type perSecond struct {
	limit  uint32
	second atomic.Int64
	count  atomic.Uint32
}

func (l *perSecond) allow(now time.Time) bool {
	// Two goroutines that see a new second at once may both reset the count;
	// a few more lines in the log do no harm.
	if s := now.Unix(); l.second.Swap(s) != s {
		l.count.Store(0)
	}
	return l.count.Add(1) <= l.limit
}
