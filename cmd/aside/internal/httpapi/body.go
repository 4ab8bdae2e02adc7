package httpapi

import (
	"io"
	"net/http"
	"time"
)

// body is a request's body as handlers see it. It records how far it was read. This
// decides whether the connection can stay open after the response.
type body struct {
	io.ReadCloser
	of    *http.Request
	limit int64 // bytes
	end   bool  // all of it was read
	err   error
}

// withBody returns a copy of r with a body of at most limit bytes. It must be a copy:
// net/http uses the body of its own request to see whether the client waits for "100
// Continue". With another body there, it would wait for bytes that never come.
func withBody(w http.ResponseWriter, r *http.Request, limit int64) (*http.Request, *body) {
	// With the real writer, it also closes the connection of a client that continues
	// to send.
	b := &body{ReadCloser: http.MaxBytesReader(w, r.Body, limit), of: r, limit: limit}
	r2 := *r
	r2.Body = b
	return &r2, b
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.end = true
	default:
		b.err = err
	}
	return n, err
}

const (
	// If no handler read the body, it is read to its end when it is short and already
	// here, so that the connection can stay open.
	strayBytes = 64 << 10
	strayWait  = 20 * time.Millisecond
	// lingerTime is how long to wait for the rest after the response.
	lingerTime = time.Second
)

// leave is called before the header of a response is written. If the body was not read
// to its end, the response closes the connection. Otherwise net/http would wait for the
// rest of the body before it sends the response, until the read timeout.
func (b *body) leave(w http.ResponseWriter) {
	if b.end || b.of.ProtoMajor > 1 { // HTTP/2 streams do not need this
		return
	}
	c := http.NewResponseController(w)
	if b.err == nil && b.of.Header.Get("Expect") == "" {
		limit := int64(strayBytes)
		if b.of.ContentLength > limit {
			limit = 0
		}
		_ = c.SetReadDeadline(time.Now().Add(strayWait))
		// With a body over the limit, net/http knows that the client is still sending, and lets
		// it read the response before it resets the connection.
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, b, limit))
		if b.end {
			_ = c.SetReadDeadline(time.Time{})
			return
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	w.Header()["Connection"] = valueClose
}

var valueClose = []string{"close"}
