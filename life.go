package aside

import (
	"math"
	"sync"
	"sync/atomic"
)

// life counts the operations that run, so that Close can wait for them: in one
// word, since every read that misses L1 is one.
type life struct {
	n       atomic.Int64  // of them; negative once closed
	closing chan struct{} // closed with it
	idle    chan struct{} // closed when nothing runs any more
	once    sync.Once
}

const lifeClosed = math.MinInt64

func (l *life) init() { l.closing, l.idle = make(chan struct{}), make(chan struct{}) }

// enter registers an operation, which must leave, unless the cache is closed.
func (l *life) enter() bool {
	if l.n.Add(1) > 0 {
		return true
	}
	l.leave(1)
	return false
}

// more registers n operations on behalf of one that runs.
func (l *life) more(n int) { l.n.Add(int64(n)) }

func (l *life) leave(n int) {
	if l.n.Add(int64(-n)) == lifeClosed {
		l.once.Do(func() { close(l.idle) })
	}
}

// close lets nobody enter any more. It reports whether it was the first to.
func (l *life) close() bool {
	n := l.n.Or(lifeClosed)
	if n < 0 {
		return false
	}
	close(l.closing)
	if n == 0 {
		l.once.Do(func() { close(l.idle) })
	}
	return true
}
