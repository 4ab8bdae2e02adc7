package aside

import (
	"sync"
	"sync/atomic"
	"time"
)

// moments remembers keys until a moment. The zero value is ready. While it is empty,
// which is nearly always, a look costs one atomic load.
type moments[K comparable] struct {
	n     atomic.Int64
	mu    sync.Mutex
	until map[K]time.Time
}

// maxMoments bounds how many keys are remembered. Further ones are not.
const maxMoments = 10_000

func (m *moments[K]) add(k K, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.until == nil {
		m.until = make(map[K]time.Time)
	}
	if _, ok := m.until[k]; !ok && len(m.until) >= maxMoments {
		now := time.Now()
		for k, t := range m.until {
			if !t.After(now) {
				delete(m.until, k)
			}
		}
		if len(m.until) >= maxMoments {
			return
		}
	}
	m.until[k] = until
	m.n.Store(int64(len(m.until)))
}

func (m *moments[K]) has(k K) bool {
	if m.n.Load() == 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.until[k]
	if ok && !t.After(time.Now()) {
		m.removeLocked(k)
		ok = false
	}
	return ok
}

func (m *moments[K]) remove(k K) {
	if m.n.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(k)
}

func (m *moments[K]) removeLocked(k K) {
	delete(m.until, k)
	m.n.Store(int64(len(m.until)))
}
