package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// slots limit how many of something are in use at the same time.
type slots struct {
	max  int64 // negative: no limit
	used atomic.Int64
}

func (s *slots) take() bool {
	if n := s.used.Add(1); n > s.max && s.max >= 0 {
		s.used.Add(-1)
		return false
	}
	return true
}

func (s *slots) give() { s.used.Add(-1) }

// strongLoads limits how many store reads per second strong reads may cause. Only after
// a strong read is it known whether it read the store, since Redis may answer it. So
// loads are counted afterwards, and while too many were made no strong read may begin.
type strongLoads struct {
	perSecond float64

	mu    sync.Mutex
	saved float64 // loads; at most those of one second
	at    time.Time
}

func (l *strongLoads) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved = min(l.saved+now.Sub(l.at).Seconds()*l.perSecond, l.perSecond)
	l.at = now
	return l.saved > 0
}

func (l *strongLoads) spend(loads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saved -= float64(loads)
}

// Connections limits the connections of an http.Server. A connection above the limit
// gets 503 for its first request and is closed. The health endpoints answer on it too.
// Far above the limit, connections are closed at once.
type Connections struct {
	max  int64
	open atomic.Int64
}

// NewConnections returns a limit of max connections.
func NewConnections(max int) *Connections { return &Connections{max: int64(max)} }

// spareConnections are for health checks and for responses with 503.
const spareConnections = 64

type connectionKey struct{}

// Limit applies the limit to s. It sets ConnContext and ConnState.
func (c *Connections) Limit(s *http.Server) {
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		n := c.open.Add(1)
		if n > c.max+spareConnections {
			_ = conn.Close()
		}
		if n > c.max {
			ctx = context.WithValue(ctx, connectionKey{}, true)
		}
		return ctx
	}
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed || state == http.StateHijacked {
			c.open.Add(-1)
		}
	}
}

// over reports whether r came on a connection above the limit while the limit is still
// reached.
func (c *Connections) over(r *http.Request) bool {
	return c != nil && c.open.Load() > c.max && r.Context().Value(connectionKey{}) != nil
}
