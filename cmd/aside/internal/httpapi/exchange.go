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

// exchange is one request and its response. Handlers get it as their ResponseWriter.
type exchange struct {
	http.ResponseWriter
	id     string
	ctx    context.Context // of the request, with the server's deadline
	start  time.Time
	status int // 0 until the header is written
	bytes  int64
	cause  error  // of an error response; for the log
	body   *body  // of the request; nil if it has none
	item   string // the id in the path /todos/{id}
	send   time.Duration
	after  func() // nil, or called when the response has been sent

	// header values, kept here to save an allocation each
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

// sentAtOnce is the size up to which a response can be sent even if the client does not
// read: the buffers of the system hold it. Larger responses need a timeout of their own.
const sentAtOnce = 16 << 10

// fail adds the request's id to p and keeps the cause for the log.
func (ex *exchange) fail(p *Problem) *Problem {
	p.RequestID = ex.id
	ex.cause = p.cause
	return p
}

// writeProblem sends p as the response.
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

// requestIDs creates request ids: a random prefix per process and a counter. They are
// cheap, and unique among processes.
type requestIDs struct {
	prefix string
	count  atomic.Uint64
}

func newRequestIDs() *requestIDs {
	var b [5]byte
	rand.Read(b[:]) // never fails
	return &requestIDs{prefix: strings.ToLower(base32.StdEncoding.EncodeToString(b[:])) + "-"}
}

// of returns the id that the client sent if it is printable, otherwise a new one.
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

// Header values that all responses share. net/http only reads them.
var (
	valueNoStore = []string{"no-store"}
	valueNoSniff = []string{"nosniff"}
)

// ServeHTTP implements http.Handler. It gives every request an id, a deadline, metrics, a
// log line and a recovery from panics, and then calls its route.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := &exchange{ResponseWriter: w, id: s.ids.of(r), start: time.Now(), send: s.send}
	h := w.Header()
	ex.idValue[0] = ex.id
	h["X-Request-Id"] = ex.idValue[:]
	h["X-Content-Type-Options"] = valueNoSniff
	// Handlers whose response may be stored replace this.
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
			s.log.Error("panic in a handler", "request_id", ex.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if !begun {
				ex.writeProblem(problemOf(fmt.Errorf("panic: %v", v), false))
			}
		}
		s.finish(ex, r, pattern)
		if begun || v == http.ErrAbortHandler {
			// A part of the response is sent: only a closed connection tells the
			// client that the rest is missing.
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
		status = http.StatusOK // net/http sends it if the handler wrote nothing
	}
	s.metrics.observe(pattern, r.Method, status, took, isStream(ex.Header()))
	if s.observe != nil && (pattern == "" || strings.HasPrefix(pattern, "/todos")) {
		s.observe(status, took)
	}
	if s.finished != nil {
		s.finished(r, pattern, status, took)
	}

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
	// While the store is down every request fails: do not flood the log.
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
	if timing := ex.Header()["Server-Timing"]; len(timing) > 0 {
		attrs = append(attrs, slog.String("server_timing", timing[0]))
	}
	if ex.cause != nil {
		attrs = append(attrs, slog.String("error", ex.cause.Error()))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// perSecond allows limit events in each second of the clock.
type perSecond struct {
	limit  uint32
	second atomic.Int64
	count  atomic.Uint32
}

func (l *perSecond) allow(now time.Time) bool {
	// Two goroutines may both reset the count at a new second. Then the log has a few
	// more lines, which is harmless.
	if s := now.Unix(); l.second.Swap(s) != s {
		l.count.Store(0)
	}
	return l.count.Add(1) <= l.limit
}
