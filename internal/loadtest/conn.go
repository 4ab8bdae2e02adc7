package loadtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	bufferSize = 8 << 10 // also the limit of an answer's header
	maxBody    = 64 << 20
	userAgent  = "aside-bench"
)

// conn is one user's keep-alive connection. fasthttp writes and reads its
// messages; its client is left out since that tries requests again in silence,
// shares connections among users, and cannot be interrupted.
type conn struct {
	target  target
	timeout time.Duration
	dialed  int64

	req  fasthttp.Request
	resp fasthttp.Response
	r    *bufio.Reader
	w    *bufio.Writer
	wire wire

	mu     sync.Mutex
	open   net.Conn // what abort closes
	closed bool     // by abort, for good
}

func newConn(t target, timeout time.Duration) *conn {
	c := &conn{target: t, timeout: timeout}
	c.req.Header.SetMethod(fasthttp.MethodGet)
	c.req.Header.SetHost(t.host)
	c.req.Header.SetUserAgent(userAgent)
	c.req.Header.Set("Accept", "application/json")
	c.resp.KeepBodyBuffer = true
	c.r = bufio.NewReaderSize(&c.wire, bufferSize)
	c.w = bufio.NewWriterSize(&c.wire, bufferSize)
	return c
}

// wire keeps what fasthttp's errors do not tell: whether an answer had begun,
// and why it ended.
type wire struct {
	net.Conn
	got int64 // bytes of the answer under way
	err error
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.got += int64(n)
	if err != nil {
		w.err = err
	}
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}

// answer is valid until the next get.
type answer struct {
	status      int
	cacheStatus []byte
	bytes       int // of the body
}

// get asks for a path that is percent-encoded. After an error the next call
// connects anew.
func (c *conn) get(ctx context.Context, path []byte) (answer, *failure) {
	deadline := time.Now().Add(c.timeout)
	if c.wire.Conn == nil {
		if f := c.dial(ctx, deadline); f != nil {
			return answer{}, f
		}
	}
	c.wire.got, c.wire.err = 0, nil
	err := c.wire.SetDeadline(deadline)
	if err == nil {
		c.req.Header.SetRequestURIBytes(path)
		err = c.req.Write(c.w)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err == nil {
		err = c.resp.ReadLimitBody(c.r, maxBody)
	}
	if err == nil && c.r.Buffered() > 0 {
		err = errExcess
	}
	if err != nil {
		f := c.explain(err)
		c.hangUp()
		return answer{}, f
	}
	if c.resp.ConnectionClose() {
		c.hangUp()
	}
	return answer{c.resp.StatusCode(), c.resp.Header.Peek("Cache-Status"), len(c.resp.Body())}, nil
}

var errExcess = errors.New("bytes follow the end of the answer")

func (c *conn) dial(ctx context.Context, deadline time.Time) *failure {
	var nc net.Conn
	var err error
	d := net.Dialer{Deadline: deadline}
	if c.target.tls {
		nc, err = (&tls.Dialer{NetDialer: &d}).DialContext(ctx, "tcp", c.target.address)
	} else {
		nc, err = d.DialContext(ctx, "tcp", c.target.address)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &failure{kind: Refused, detail: err.Error()}
	case isTimeout(err):
		return &failure{kind: TimedOut, detail: err.Error()}
	case err != nil:
		return &failure{kind: NotConnected, detail: err.Error()}
	}
	c.dialed++
	c.mu.Lock()
	c.open = nc
	if c.closed {
		_ = nc.Close()
	}
	c.mu.Unlock()
	c.wire.Conn = nc
	c.r.Reset(&c.wire)
	c.w.Reset(&c.wire)
	return nil
}

// explain judges by what the connection said first: fasthttp reports a reset,
// for one, as the end of input.
func (c *conn) explain(err error) *failure {
	f := &failure{kind: Malformed, detail: err.Error()}
	switch e := c.wire.err; {
	case e == nil:
		// All bytes came, and they are no answer.
	case isTimeout(e):
		f.kind, f.detail = TimedOut, "no complete answer within "+c.timeout.String()
	case c.wire.got > 0:
		f.kind, f.detail = Truncated, "the connection ended within the answer: "+e.Error()
	case errors.Is(e, io.EOF):
		f.kind, f.detail = Closed, "the connection was closed in place of an answer"
	default:
		f.kind, f.detail = Closed, e.Error()
	}
	return f
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (c *conn) hangUp() {
	if c.wire.Conn != nil {
		_ = c.wire.Close()
		c.wire.Conn = nil
	}
}

// abort breaks off the request under way, and all later ones. It may be called
// by any goroutine.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.open != nil {
		_ = c.open.Close()
	}
}
