package httpapi

import (
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

var (
	valueJSON = []string{mimeJSON}
	// A client may store a response, but must revalidate it before each use. With the
	// ETag it then gets a 304.
	valueRevalidate = []string{"private, no-cache"}
)

// pathID returns the id in the request's path.
func (ex *exchange) pathID() (string, *Problem) {
	id := ex.item
	if !utf8.ValidString(id) {
		return "", newProblem(http.StatusBadRequest, "bad_request", "The id in the path is malformed; see errors.",
			Fault{Location: "path.id", Detail: "must be percent-encoded UTF-8"})
	}
	if err := todo.CheckID(id); err != nil {
		return "", newProblem(http.StatusUnprocessableEntity, "invalid", "The id in the path is invalid, so no item can have it; see errors.",
			Fault{Location: "path.id", Detail: err.Error()})
	}
	return id, nil
}

// level returns the consistency level of r, or a problem if the level is not allowed.
func (s *Server) level(r *http.Request) (aside.Mode, *Problem) {
	level := levelOf(r.Header)
	if level != aside.Strong || s.noStrong {
		return aside.Default, nil
	}
	if foreign(r) {
		return level, crossSite()
	}
	if s.strong != nil && s.svc.Cached() && !s.strong.allow(time.Now()) {
		p := newProblem(http.StatusServiceUnavailable, "strong_reads_limited",
			"Too many strong reads (Cache-Control: no-cache or max-age=0) had to read the store. Try again later, or without this header. The operator sets the limit (aside serve --max-strong-loads).")
		p.retryAfter = time.Second
		return level, p
	}
	return level, nil
}

// paid counts the loads that strong reads made.
func (s *Server) paid(reads ...aside.Info) {
	if s.strong == nil {
		return
	}
	loads := 0
	for _, r := range reads {
		if (r.Source == aside.SourceLoad || r.LoadTime > 0) && !r.Coalesced {
			loads++
		}
	}
	if loads > 0 {
		s.strong.spend(loads)
	}
}

func crossSite() *Problem {
	return newProblem(http.StatusForbidden, "cross_origin",
		"A web page of another site sent this request. This service answers only its own pages and programs.")
}

// getTodo answers GET and HEAD of one record. It is the hot path, so it is a plain
// handler: with huma it would serve about a fifth fewer requests per second.
func (s *Server) getTodo(ex *exchange, r *http.Request) {
	id, p := ex.pathID()
	if p != nil {
		ex.writeProblem(p)
		return
	}
	level, p := s.level(r)
	if p != nil {
		ex.writeProblem(p)
		return
	}
	before := time.Now()
	found, err := s.svc.Get(ex.ctx, id, level)
	if level == aside.Strong {
		s.paid(found.Info)
	}
	h := ex.Header()
	h["Cache-Status"] = cacheStatusOf(found, level)
	ex.timing[0] = serverTiming(ex.start, time.Since(before), found.L2Time, found.LoadTime)
	h["Server-Timing"] = ex.timing[:]
	if err != nil {
		ex.writeProblem(readProblem(ex.ctx, err))
		return
	}
	f := s.forms.of(&found)
	h["Etag"] = f.etag[:]
	h["Cache-Control"] = valueRevalidate
	if status := conditional(r.Header, f.etag[0]); status != 0 {
		if status == http.StatusPreconditionFailed {
			ex.writeProblem(problemOf(todo.ErrPrecondition, false))
			return
		}
		ex.WriteHeader(status)
		return
	}
	h["Content-Type"] = valueJSON
	h["Content-Length"] = f.length[:]
	ex.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		ex.Write(f.body)
	}
}

// conditional evaluates the conditions of the request in the order of RFC 9110, section
// 13.2.2. It returns 304, 412, or 0 to answer with the record. It ignores a malformed
// condition of a read.
func conditional(h http.Header, etag string) int {
	if lines := h["If-Match"]; len(lines) > 0 {
		if t, err := parseTags(lines); err == nil && !t.matchStrong(etag) {
			return http.StatusPreconditionFailed
		}
	}
	if lines := h["If-None-Match"]; len(lines) > 0 {
		if t, err := parseTags(lines); err == nil && t.matchWeak(etag) {
			return http.StatusNotModified
		}
	}
	return 0
}
