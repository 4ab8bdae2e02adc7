package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Problem is the body of every error response: problem details (RFC 9457) with three more
// members, code, request_id and errors. It never contains values that the client sent, or
// the text of an internal error.
type Problem struct {
	Type      string  `json:"type" format:"uri-reference" doc:"Always about:blank. Use code to tell errors apart."`
	Title     string  `json:"title" doc:"The text of the status code."`
	Status    int     `json:"status" doc:"The HTTP status code."`
	Detail    string  `json:"detail" doc:"What went wrong, and what to do."`
	Code      string  `json:"code" doc:"Name of this kind of error, for programs. It does not change between releases."`
	RequestID string  `json:"request_id,omitempty" doc:"Id of the request in the server's log, as in the header X-Request-Id."`
	Errors    []Fault `json:"errors,omitempty" nullable:"false" doc:"Every fault found in the request."`

	retryAfter time.Duration
	cause      error // for the log only
}

// Fault is one fault of a request.
type Fault struct {
	Location string `json:"location" doc:"Place of the fault: body.NAME, path.NAME, query.NAME or header.NAME. body alone means the whole body."`
	Pointer  string `json:"pointer,omitempty" doc:"The same place in the body as a JSON Pointer in URI fragment form."`
	Detail   string `json:"detail" doc:"What is wrong there."`
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// Unwrap returns the internal cause.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemJSON }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	return h
}

func newProblem(status int, code, detail string, faults ...Fault) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: detail, Errors: faults,
	}
}

// bodyFault returns a fault of one member of the JSON body. Field "" is the whole body.
func bodyFault(field, detail string) Fault {
	if field == "" {
		return Fault{Location: "body", Pointer: "#", Detail: detail}
	}
	return Fault{Location: "body." + field, Pointer: "#/" + pointerToken(field), Detail: detail}
}

// pointerToken escapes a member name for a JSON Pointer (RFC 6901, section 3)
// in a URI fragment (section 6).
func pointerToken(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '~':
			b.WriteString("~0")
		case c == '/':
			b.WriteString("~1")
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._!$&'()*+,;=:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// statusClientGone is the status in the log and the metrics if the client closed the
// connection before the response. It is never sent.
const statusClientGone = 499

// statuses maps errors to statuses. The first match counts, so ErrUnknownOutcome comes
// before the errors that it may wrap.
var statuses = []struct {
	err        error
	status     int
	code       string
	detail     string
	retryAfter time.Duration
}{
	{todo.ErrUnknownOutcome, http.StatusGatewayTimeout, "unknown_outcome",
		"The store did not confirm the write. The write may or may not have been applied, or may still be applied. Read the item before you try again.", 0},
	{aside.ErrUnacknowledged, http.StatusGatewayTimeout, "unacknowledged",
		"The write was applied, but the cache did not confirm it. Other nodes may answer with the older item for a short time.", 0},
	{todo.ErrInvalid, http.StatusUnprocessableEntity, "invalid",
		"The request has invalid fields; see errors.", 0},
	{todo.ErrNotFound, http.StatusNotFound, "not_found",
		"Item not found", 0},
	{todo.ErrUnreadable, http.StatusInternalServerError, "unreadable",
		"This item is in the store but cannot be shown, for example because it is too large. You can delete or replace it.", 0},
	{todo.ErrExists, http.StatusConflict, "already_exists",
		"An item with this id already exists. Choose another id, leave the id out to get a new one, or change the item with PUT or PATCH.", 0},
	{todo.ErrPrecondition, http.StatusPreconditionFailed, "precondition_failed",
		"The item has another version than the request expects. Read it again, then repeat the change with the new ETag.", 0},
	{todo.ErrUnavailable, http.StatusServiceUnavailable, "store_unavailable",
		"The store is unreachable. Nothing was written. Try again later.", time.Second},
	{aside.ErrOverloaded, http.StatusServiceUnavailable, "overloaded",
		"Too many reads are waiting for the store. Try again later.", time.Second},
	{aside.ErrL2Unavailable, http.StatusServiceUnavailable, "cache_unavailable",
		"The shared cache is unreachable, and this server is configured to refuse writes without it. Nothing was written. Try again later.", time.Second},
	{aside.ErrClosed, http.StatusServiceUnavailable, "shutting_down",
		"This server is shutting down. Try again.", time.Second},
}

// problemOf returns the response to an error. write tells whether the request changes a
// record: then the outcome is unknown after a timeout.
func problemOf(err error, write bool) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	for _, s := range statuses {
		if !errors.Is(err, s.err) {
			continue
		}
		p := newProblem(s.status, s.code, s.detail)
		p.retryAfter, p.cause = s.retryAfter, err
		var invalid *todo.ValidationError
		if errors.As(err, &invalid) {
			for _, f := range invalid.Fields {
				p.Errors = append(p.Errors, bodyFault(f.Field, f.Message))
			}
		}
		return p
	}
	switch timedOut := errors.Is(err, context.DeadlineExceeded); {
	case write && (timedOut || errors.Is(err, context.Canceled)):
		return problemOf(fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, err), write)
	case timedOut:
		p = newProblem(http.StatusServiceUnavailable, "timeout", "The store did not answer in time. Try again later.")
		p.retryAfter = time.Second
	case errors.Is(err, context.Canceled):
		p = newProblem(statusClientGone, "client_gone", "The request was cancelled.")
	default:
		p = newProblem(http.StatusInternalServerError, "internal", "An internal error occurred. The server's log has the reason under this request id.")
	}
	p.cause = err
	return p
}

// readProblem is problemOf for a read under ctx. If the read was cancelled, but not by
// its client, the server is shutting down.
func readProblem(ctx context.Context, err error) *Problem {
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", aside.ErrClosed, err)
	}
	return problemOf(err, false)
}

// huma creates errors through these two variables, so that a program can set its own
// error type. Problem does not repeat the submitted values, as huma's own type does.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return problemFromHuma(nil, status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		_, w := humago.Unwrap(ctx)
		ex, _ := w.(*exchange)
		return problemFromHuma(ex, status, msg, errs)
	}
}

// problemFromHuma returns the problem that a resolver of this package found, or translates
// the faults that huma found in parameters.
func problemFromHuma(ex *exchange, status int, msg string, errs []error) *Problem {
	cause := errors.Join(errs...)
	var p *Problem
	switch {
	case errors.As(cause, &p):
	case status >= 500:
		p = problemOf(cause, false)
	default:
		code := "bad_request"
		if status == http.StatusUnprocessableEntity {
			code = "invalid"
		}
		p = newProblem(status, code, msg)
		for _, err := range errs {
			var d *huma.ErrorDetail
			if errors.As(err, &d) {
				p.Errors = append(p.Errors, Fault{Location: cut(d.Location), Detail: d.Message})
			}
		}
		if len(p.Errors) > 0 {
			p.Detail = "The request has invalid parameters; see errors."
		}
	}
	if ex != nil {
		ex.fail(p)
	}
	return p
}
