package httpwire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	bufferSize = 8 << 10 // also the limit of a response header
	maxBody    = 64 << 20
)

// Conn is a connection. It is opened when it is first needed, and kept as long as it
// works. Only one goroutine may use it, except for Abort.
type Conn struct {
	// Request is the request that the next Do sends. Host and User-Agent are set, and
	// Do sets the length of the body.
	Request fasthttp.Request

	endpoint Endpoint
	timeout  time.Duration
	dialed   int64
	resp     fasthttp.Response
	r        *bufio.Reader
	w        *bufio.Writer
	line     line

	mu     sync.Mutex
	open   net.Conn // what Abort closes
	closed bool     // by Abort, for good
}

// NewConn returns a connection to e that is not open yet. timeout applies to each
// request, including the time to open its connection.
func NewConn(e Endpoint, userAgent string, timeout time.Duration) *Conn {
	c := &Conn{endpoint: e, timeout: timeout}
	c.Request.Header.SetHost(e.host)
	c.Request.Header.SetUserAgent(userAgent)
	c.resp.KeepBodyBuffer = true
	c.r = bufio.NewReaderSize(&c.line, bufferSize)
	c.w = bufio.NewWriterSize(&c.line, bufferSize)
	return c
}

// line records what fasthttp's errors do not tell: whether a request was sent, whether a
// response had begun, and why it ended.
type line struct {
	net.Conn
	sent int64 // bytes of the current request
	got  int64 // bytes of its response
	err  error
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.got += int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}

func (l *line) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	l.sent += int64(n)
	if err != nil {
		l.err = err
	}
	return n, err
}

// Answer is a response. It is valid until the next Do.
type Answer struct {
	Status int
	// Began is the time just before the request was written, Ended the time just after
	// the response was read.
	Began, Ended time.Time

	resp *fasthttp.Response
}

// Header returns the value of a header, or nil.
func (a Answer) Header(name string) []byte { return a.resp.Header.Peek(name) }

// Body returns the body of the response.
func (a Answer) Body() []byte { return a.resp.Body() }

// Do sends the Request once and reads the response, whatever its status. After a Failure
// the next call opens a new connection.
func (c *Conn) Do(ctx context.Context) (Answer, *Failure) {
	deadline := time.Now().Add(c.timeout)
	if c.line.Conn == nil {
		if f := c.dial(ctx, deadline); f != nil {
			return Answer{}, f
		}
	}
	c.line.sent, c.line.got, c.line.err = 0, 0, nil
	err := c.line.SetDeadline(deadline)
	began := time.Now()
	if err == nil {
		// fasthttp would send a GET with the length of the previous body, and the server
		// would wait for a body.
		c.Request.Header.Del("Content-Length")
		err = c.Request.Write(c.w)
	}
	if err == nil {
		err = c.w.Flush()
	}
	if err == nil {
		err = c.resp.ReadLimitBody(c.r, maxBody)
	}
	ended := time.Now()
	if err == nil && c.r.Buffered() > 0 {
		err = errExcess
	}
	if err != nil {
		f := c.explain(err)
		f.Began = began
		c.Close()
		return Answer{}, f
	}
	if c.resp.ConnectionClose() {
		c.Close()
	}
	return Answer{c.resp.StatusCode(), began, ended, &c.resp}, nil
}

var errExcess = errors.New("unexpected bytes after the end of the response")

func (c *Conn) dial(ctx context.Context, deadline time.Time) *Failure {
	var nc net.Conn
	var err error
	d := net.Dialer{Deadline: deadline}
	if c.endpoint.tls {
		nc, err = (&tls.Dialer{NetDialer: &d}).DialContext(ctx, "tcp", c.endpoint.address)
	} else {
		nc, err = d.DialContext(ctx, "tcp", c.endpoint.address)
	}
	if err != nil {
		return dialFailure(err)
	}
	c.dialed++
	c.mu.Lock()
	c.open = nc
	if c.closed {
		_ = nc.Close()
	}
	c.mu.Unlock()
	c.line.Conn = nc
	c.r.Reset(&c.line)
	c.w.Reset(&c.line)
	return nil
}

// explain uses the first error of the connection: fasthttp reports a reset, for example,
// as the end of input.
func (c *Conn) explain(err error) *Failure {
	f := &Failure{Kind: Malformed, Detail: err.Error(), Sent: c.line.sent > 0}
	switch e := c.line.err; {
	case e == nil:
		// All bytes came, but they are not a response.
	case isTimeout(e):
		f.Kind, f.Detail = TimedOut, "no complete response within "+c.timeout.String()
	case c.line.got > 0:
		f.Kind, f.Detail = Truncated, "the connection ended during the response: "+e.Error()
	case errors.Is(e, io.EOF):
		f.Kind, f.Detail = Closed, "the server closed the connection without a response"
	default:
		f.Kind, f.Detail = Closed, e.Error()
	}
	return f
}

// Dialed returns how many connections were opened.
func (c *Conn) Dialed() int64 { return c.dialed }

// Close closes the connection. A later Do opens a new one.
func (c *Conn) Close() {
	if c.line.Conn != nil {
		_ = c.line.Close()
		c.line.Conn = nil
	}
}

// Abort aborts the running request and all later ones. Any goroutine may call it.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.open != nil {
		_ = c.open.Close()
	}
}
