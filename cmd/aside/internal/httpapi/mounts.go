package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/sse"
)

// Mounts are handlers of other packages that the Server offers beside the API. Those that
// are nil do not exist.
type Mounts struct {
	// Page answers GET / and GET /page/{file}.
	Page http.Handler
	// Dashboard answers GET /page/config and GET /page/events.
	Dashboard http.Handler
	// Ops answers /ops/..., Story answers /story and /story/{name}. Both are refused for
	// requests of other sites. Who else may use them is up to the handlers.
	Ops, Story http.Handler
}

func (s *Server) mount(m Mounts) (readOnly []string) {
	if m.Page != nil {
		page := func(ex *exchange, r *http.Request) { m.Page.ServeHTTP(ex, r) }
		s.handle("GET /{$}", page)
		readOnly = append(readOnly, "/{$}")
		// Without a method, since "/page/config" and "GET /page/{file}" cannot both be in
		// one mux: neither is a part of the other.
		s.handle("/page/{file}", func(ex *exchange, r *http.Request) {
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				s.wrongMethod(ex, "GET, HEAD")
				return
			}
			page(ex, r)
		})
	}
	if m.Dashboard != nil {
		for _, path := range []string{"/page/config", "/page/events"} {
			s.handle("GET "+path, func(ex *exchange, r *http.Request) {
				if foreign(r) {
					ex.writeProblem(crossSite())
					return
				}
				m.Dashboard.ServeHTTP(ex, r)
			})
			readOnly = append(readOnly, path)
		}
	}
	if m.Ops != nil {
		s.handle("/ops/", func(ex *exchange, r *http.Request) {
			switch {
			case otherSite(r):
				ex.writeProblem(crossSite())
			case r.URL.Path == "/ops/watch": // a stream, for which the timeout of requests is not meant
				m.Ops.ServeHTTP(ex, r)
			default:
				m.Ops.ServeHTTP(ex, r.WithContext(ex.ctx))
			}
		})
	}
	if m.Story != nil {
		story := func(ex *exchange, r *http.Request) {
			if otherSite(r) {
				ex.writeProblem(crossSite())
				return
			}
			// It tells its steps as they happen, for as long as that takes.
			out := http.NewResponseController(ex.ResponseWriter)
			_, _ = out.SetReadDeadline(time.Time{}), out.SetWriteDeadline(time.Time{})
			m.Story.ServeHTTP(ex, r)
		}
		s.handle("/story", story)
		s.handle("/story/", story)
	}
	return readOnly
}

// otherSite reports whether a web page of another site sent r, even if the user followed a
// link.
func otherSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return foreign(r) || site == "cross-site" || site == "same-site"
}

// isStream reports whether a response went on for as long as there was something to tell. Its
// duration says nothing of how fast the service is.
func isStream(h http.Header) bool {
	mime := h.Get("Content-Type")
	return mime == "text/event-stream" || strings.HasPrefix(mime, "application/x-ndjson")
}

// WriteProblem sends problem details, with the id of the request if w is of this package's
// Server. It is for the handlers of Mounts.
func WriteProblem(w http.ResponseWriter, status int, code, detail string, faults ...Fault) {
	writeProblem(w, newProblem(status, code, detail, faults...))
}

// WriteError is WriteProblem for the error of a call of the service. write tells whether it
// changes something. The text of an error that has no problem of its own is not sent.
func WriteError(w http.ResponseWriter, err error, write bool) {
	writeProblem(w, problemOf(err, write))
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	ex, ok := w.(*exchange)
	if !ok {
		ex = &exchange{ResponseWriter: w}
	}
	ex.writeProblem(p)
}

// WriteJSON sends v.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	ex, ok := w.(*exchange)
	if !ok {
		ex = &exchange{ResponseWriter: w}
	}
	ex.writeJSON(status, v)
}

// StreamProblem sends the problem that kept a stream from starting; err is of
// sse.Streams.Serve.
func StreamProblem(w http.ResponseWriter, streams *sse.Streams, err error) {
	var p *Problem
	switch {
	case err == nil:
		return
	case errors.Is(err, sse.ErrLeaving):
		p = newProblem(http.StatusServiceUnavailable, "shutting_down", "This server is shutting down. Try again.")
	default:
		p = newProblem(http.StatusServiceUnavailable, "too_many_streams",
			fmt.Sprintf("This server already sends %d such streams, which is its maximum. Close a page that shows them, or try again later.", streams.Max()))
	}
	p.retryAfter = time.Second
	writeProblem(w, p)
}
