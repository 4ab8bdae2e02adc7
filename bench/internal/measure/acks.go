package measure

import (
	"sync"
	"time"
)

// acks is what writers were told: for one key, when each version was acknowledged.
type acks struct {
	mu     sync.Mutex
	newest int64 // version
	at     map[int64]time.Time
}

// acknowledge notes that the write which made version has returned.
func (a *acks) acknowledge(version int64) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[int64]time.Time{}
	}
	a.at[version] = now
	a.newest = max(a.newest, version)
}

// known is the newest version acknowledged by now: a read that begins now must
// not return an older one.
func (a *acks) known() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newest
}

// staleness is for how long, when a read began, a version newer than the one
// that it returned had been acknowledged. floor is known at that time.
func (a *acks) staleness(began time.Time, floor, returned int64) (d time.Duration, stale bool) {
	if returned >= floor {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for v := returned + 1; v <= floor; v++ {
		if at, ok := a.at[v]; ok {
			d = max(d, began.Sub(at))
		}
	}
	return d, true
}
