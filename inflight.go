package aside

import (
	"math"
	"sync"
	"sync/atomic"
)

// inflight counts the operations that run, so that Close can wait for them. The count
// is one atomic word, since every read that misses L1 is such an operation.
type inflight struct {
	n       atomic.Int64  // of them; negative once closed
	closing chan struct{} // closed with it
	idle    chan struct{} // closed when nothing runs any more
	once    sync.Once
}

const inflightClosed = math.MinInt64

func (l *inflight) init() { l.closing, l.idle = make(chan struct{}), make(chan struct{}) }

// begin registers an operation, which must be done, unless the cache is closed.
func (l *inflight) begin() bool {
	if l.n.Add(1) > 0 {
		return true
	}
	l.done(1)
	return false
}

// add registers n operations on behalf of one that runs.
func (l *inflight) add(n int) { l.n.Add(int64(n)) }

func (l *inflight) done(n int) {
	if l.n.Add(int64(-n)) == inflightClosed {
		l.once.Do(func() { close(l.idle) })
	}
}

// closed reports whether operations are refused.
func (l *inflight) closed() bool { return l.n.Load() < 0 }

// close refuses operations from now on. It reports whether it was the first to.
func (l *inflight) close() bool {
	n := l.n.Or(inflightClosed)
	if n < 0 {
		return false
	}
	close(l.closing)
	if n == 0 {
		l.once.Do(func() { close(l.idle) })
	}
	return true
}
