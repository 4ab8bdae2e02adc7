package httpapi

import (
	"io"
	"net/http"
	"time"
)

// body is a request's body as handlers see it. It notes how far it was read,
// which decides how the answer must end.
type body struct {
	io.ReadCloser
	of    *http.Request
	limit int64 // bytes
	end   bool  // all of it was read
	err   error
}

// withBody returns a copy of r whose body is bounded by limit. It is a copy
// since net/http looks at the body of its own request to see whether the client
// waits for a "100 Continue": given another there, it waits itself, for bytes
// that the client will not send.
func withBody(w http.ResponseWriter, r *http.Request, limit int64) (*http.Request, *body) {
	// Given the real writer, it also closes the connection of a client that
	// goes on sending.
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
	// A body that no handler read is read to its end if it is short and at hand,
	// so that the connection can be kept.
	strayBytes = 64 << 10
	strayWait  = 20 * time.Millisecond
	// lingerTime is how long the rest is waited for behind the answer.
	lingerTime = time.Second
)

// leave is called before the header of an answer is written. If the body is not
// at its end the answer closes the connection: otherwise net/http would wait for
// the rest before it lets the answer go, up to the read timeout.
func (b *body) leave(w http.ResponseWriter) {
	if b.end || b.of.ProtoMajor > 1 { // in HTTP/2 a stream is left alone
		return
	}
	c := http.NewResponseController(w)
	if b.err == nil && b.of.Header.Get("Expect") == "" {
		limit := int64(strayBytes)
		if b.of.ContentLength > limit {
			limit = 0
		}
		_ = c.SetReadDeadline(time.Now().Add(strayWait))
		// Past the limit, net/http notes that the client is still sending, and lets
		// it read the answer before it resets the connection.
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
