package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// slots bound how many of something there are at one time.
type slots struct {
	max  int64 // negative: any number
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

// strongLoads bounds how many reads of the store a second clients may cause by
// asking for the newest value. What a read costs shows afterwards: one that
// Redis answers costs the store nothing. So a load is paid for when it was made,
// and while there are debts no further one may begin.
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

// Connections bounds the connections of an http.Server. Those above the limit
// are told so, each at its first request, and closed; health endpoints answer
// on them too. Far above it they are closed at once.
type Connections struct {
	max  int64
	open atomic.Int64
}

// NewConnections makes a limit of max connections.
func NewConnections(max int) *Connections { return &Connections{max: int64(max)} }

// spareConnections are for health checks, and to say that the limit is reached.
const spareConnections = 64

type connectionKey struct{}

// Limit makes s keep to the limit. It sets ConnContext and ConnState.
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

// over reports whether r came on a connection above the limit, and the limit is
// still reached.
func (c *Connections) over(r *http.Request) bool {
	return c != nil && c.open.Load() > c.max && r.Context().Value(connectionKey{}) != nil
}
