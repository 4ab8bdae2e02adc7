package ops

import (
	"sync"
	"time"
)

// limiter allows most events per second.
type limiter struct {
	most int

	mu     sync.Mutex
	second int64
	count  int
}

func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := now.Unix(); s != l.second {
		l.second, l.count = s, 0
	}
	l.count++
	return l.count <= l.most
}
