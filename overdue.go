package aside

import (
	"slices"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
)

// overdue are the keys of writes with unknown outcome, each with the end of its
// fence. That end is the safe one if the primary applies a write in time. For a
// write that it applied later (a process that was paused in the middle, a
// deadline that was not heeded) readers may have stored the record from before
// it, so the keys are released once more when their fences have ended. Until
// then L2 has the fence, so reads need nothing of this list. It is bounded: what
// does not fit is left to the entry's TTL.
type overdue[K comparable] struct {
	mu   sync.Mutex
	list []fencedUntil[K] // by due
}

type fencedUntil[K comparable] struct {
	key   K
	token driver.Token
	due   time.Time
}

const maxOverdue = 8192

// add reports whether there was room.
func (o *overdue[K]) add(f fencedUntil[K]) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) >= maxOverdue {
		return false
	}
	i, _ := slices.BinarySearchFunc(o.list, f.due, func(e fencedUntil[K], t time.Time) int {
		if e.due.After(t) {
			return 1
		}
		return -1 // behind its equals
	})
	o.list = slices.Insert(o.list, i, f)
	return true
}

// take removes up to limit keys whose time has come. next is when that of
// another comes, zero if there is none.
func (o *overdue[K]) take(now time.Time, limit int) (batch []fencedUntil[K], next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < min(limit, len(o.list)) && !o.list[n].due.After(now) {
		n++
	}
	batch = slices.Clone(o.list[:n])
	o.list = slices.Delete(o.list, 0, n)
	if len(o.list) > 0 {
		next = o.list[0].due
	}
	return batch, next
}

func (o *overdue[K]) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list)
}
