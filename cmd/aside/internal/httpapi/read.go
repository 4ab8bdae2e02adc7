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
	// Clients may keep an answer for themselves, and must ask before each use;
	// with the ETag that costs a 304.
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
		return "", newProblem(http.StatusUnprocessableEntity, "invalid", "The id in the path cannot be the id of an item; see errors.",
			Fault{Location: "path.id", Detail: err.Error()})
	}
	return id, nil
}

// level is the level at which r reads, or why it may not.
func (s *Server) level(r *http.Request) (aside.Level, *Problem) {
	level := levelOf(r.Header)
	if level != aside.Strong || s.noStrong {
		return aside.Default, nil
	}
	if foreign(r) {
		return level, crossSite()
	}
	if s.strong != nil && s.svc.Cached() && !s.strong.allow(time.Now()) {
		p := newProblem(http.StatusServiceUnavailable, "strong_reads_limited",
			"Too many reads that ask for the newest value (Cache-Control: no-cache or max-age=0) had to go to the store. Try again later, or without that header. Its operator sets the bound (aside serve --max-strong-loads).")
		p.retryAfter = time.Second
		return level, p
	}
	return level, nil
}

// paid counts the loads that strong reads made themselves.
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
		"A browser sent this request on behalf of another site. This service works for its own pages and for programs only.")
}

// getTodo answers GET and HEAD of one record. It is the hot path, hence a plain
// handler: huma's would cost about a fifth of the requests per second.
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

// conditional evaluates the request's conditions on a record in the order of
// RFC 9110, section 13.2.2, and returns 304, 412, or 0 to go on. A malformed
// condition of a read is as if absent: the client gets the record.
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
