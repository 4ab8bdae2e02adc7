package bench

import (
	"bytes"
	"context"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// request is the next request of a user. Its buffers are reused.
type request struct {
	op   Op
	path []byte
	body []byte  // of Create and Update
	own  *record // set for a record that the run has created
}

// answer is a complete response.
type answer struct {
	status int
	size   int // of the body
	cache  cacheStatus
	ended  time.Time // when its last byte was read
}

// exchanger sends the requests of one user, one at a time.
type exchanger interface {
	exchange(ctx context.Context, r *request) (answer, *httpwire.Failure)
	// abort aborts the running request and all later ones. Any goroutine may call it.
	abort()
	close()
	dialed() int64
}

// line is the connection of one user.
type line struct {
	c   *httpwire.Conn
	has Op // the values for which the request header was built

	// Most responses have the same header as the previous one.
	header []byte
	cache  cacheStatus
}

func newLine(e httpwire.Endpoint, timeout time.Duration) *line {
	l := &line{c: httpwire.NewConn(e, "aside-bench", timeout)}
	l.c.Request.Header.SetMethod(Read.Method())
	l.c.Request.Header.Set("Accept", "application/json")
	return l
}

func (l *line) exchange(ctx context.Context, r *request) (answer, *httpwire.Failure) {
	h := &l.c.Request.Header
	if r.op != l.has {
		h.SetMethod(r.op.Method())
		h.Del("Content-Type")
		if r.op == Create || r.op == Update {
			h.SetContentType("application/json")
		}
		l.c.Request.ResetBody()
		l.has = r.op
	}
	h.SetRequestURIBytes(r.path)
	if len(r.body) > 0 {
		l.c.Request.SetBodyRaw(r.body)
	}
	a, failed := l.c.Do(ctx)
	if failed != nil {
		return answer{}, failed
	}
	got := answer{status: a.Status, size: len(a.Body()), ended: a.Ended}
	if r.op == Read {
		if h := a.Header("Cache-Status"); !bytes.Equal(h, l.header) {
			l.header, l.cache = append(l.header[:0], h...), parseCacheStatus(h)
		}
		got.cache = l.cache
	}
	return got, nil
}

func (l *line) abort()        { l.c.Abort() }
func (l *line) close()        { l.c.Close() }
func (l *line) dialed() int64 { return l.c.Dialed() }
