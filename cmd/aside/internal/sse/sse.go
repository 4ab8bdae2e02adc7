// Package sse sends server-sent events: a bounded number of streams, which end at once
// when the server shuts down, and a timeout for each event, so that a client that does not
// read holds nobody up.
package sse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Errors of Open.
var (
	ErrFull    = errors.New("sse: too many streams")
	ErrLeaving = errors.New("sse: the server is shutting down")
)

const (
	// sendTimeout is how long a client may take to accept an event.
	sendTimeout = 10 * time.Second
	// endTimeout is how long after the start of the shutdown.
	endTimeout = 250 * time.Millisecond
)

// Streams limits the streams that are open at the same time.
type Streams struct {
	max  int64
	used atomic.Int64
	done <-chan struct{}
	send time.Duration
}

// New returns a limit of max streams. They end when done is closed.
func New(max int, done <-chan struct{}) *Streams {
	return &Streams{max: int64(max), done: done, send: sendTimeout}
}

// Max returns the limit.
func (s *Streams) Max() int { return int(s.max) }

// Open returns the number of open streams.
func (s *Streams) Open() int { return int(s.used.Load()) }

// Stream is the answer to one request. It is used by the request's goroutine only.
type Stream struct {
	out    io.Writer
	header *http.ResponseController
	within time.Duration
	buf    []byte
}

// Serve answers r with a stream and calls run, whose context ends when the client leaves or
// the server shuts down. It returns ErrFull or ErrLeaving if it has sent nothing.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, run func(ctx context.Context, st *Stream) error) error {
	select {
	case <-s.done:
		return ErrLeaving
	default:
	}
	if s.used.Add(1) > s.max {
		s.used.Add(-1)
		return ErrFull
	}
	defer s.used.Add(-1)

	st := &Stream{out: w, header: http.NewResponseController(w), within: s.send}
	finish := func() error { return nil }
	defer func() {
		// The rest must not wait for a client that does not read.
		_ = st.header.SetWriteDeadline(time.Now().Add(endTimeout))
		_ = finish()
	}()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the events
	h.Set("Vary", "Accept-Encoding")
	if AcceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		// Each event is compressed for itself, so a stream needs no memory between them.
		packed, _ := gzip.NewWriterLevel(w, gzip.StatelessCompression)
		st.out, finish = packed, packed.Close
	}
	// The server's timeout for reading a request would end the context of this one.
	_ = st.header.SetReadDeadline(time.Time{})
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ended:
			return
		}
		select {
		case <-time.After(endTimeout):
			// The client does not read.
			_ = st.header.SetWriteDeadline(time.Now())
		case <-ended:
		}
	}()
	if st.write("retry: 2000\n\n") != nil { // ms until the client connects again
		return nil
	}
	_ = run(ctx, st) // it has ended, and the client sees that
	return nil
}

// Send sends an event. data has no line breaks. An error means that the client is gone, or
// does not read.
func (st *Stream) Send(event string, data []byte) error {
	st.buf = append(st.buf[:0], "event: "...)
	st.buf = append(st.buf, event...)
	st.buf = append(st.buf, "\ndata: "...)
	st.buf = append(st.buf, data...)
	st.buf = append(st.buf, "\n\n"...)
	return st.send(st.buf)
}

// Beat sends a comment, which shows both sides that the connection lives.
func (st *Stream) Beat() error { return st.write(":\n\n") }

func (st *Stream) write(text string) error { return st.send([]byte(text)) }

func (st *Stream) send(b []byte) error {
	if err := st.header.SetWriteDeadline(time.Now().Add(st.within)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := st.out.Write(b); err != nil {
		return err
	}
	return st.header.Flush()
}

// AcceptsGzip reads Accept-Encoding. q=0 means no.
func AcceptsGzip(h http.Header) bool {
	for coding := range strings.SplitSeq(h.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.ReplaceAll(coding, " ", ""), ";")
		if strings.EqualFold(name, "gzip") || name == "*" {
			v, err := strconv.ParseFloat(strings.TrimPrefix(q, "q="), 64)
			return q == "" || err == nil && v > 0
		}
	}
	return false
}
