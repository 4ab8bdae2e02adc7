package deadline

import (
	"sync"
	"time"
)

// Queue ends what takes longer than the same time for all: with one timer, where
// one for each would cost more than most of the work. The zero value is ready.
type Queue struct {
	mu     sync.Mutex
	front  *Entry // the one that is due first
	back   *Entry
	timer  *time.Timer // nil while nobody waits for it
	closed bool
}

// Entry is a place in a Queue.
type Entry struct {
	// End is called in a goroutine of its own: with late, when the entry is due,
	// without, when the queue is closed. Unless Remove comes first.
	End func(late bool)

	Owner any // see Queue.End

	due        time.Time
	prev, next *Entry
	in         bool
}

// Add puts an entry into the queue. They must be added in the order in which they
// are due, give or take the callers' race for the lock.
func (q *Queue) Add(e *Entry, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		go e.End(false)
		return
	}
	e.due, e.in, e.prev = due, true, q.back
	if q.back != nil {
		q.back.next = e
	} else {
		q.front = e
	}
	q.back = e
	if q.timer == nil {
		q.timer = time.AfterFunc(time.Until(due), q.expire)
	}
}

// Remove takes an entry out, if it is still there.
func (q *Queue) Remove(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removeLocked(e)
}

func (q *Queue) removeLocked(e *Entry) {
	if !e.in {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.back = e.prev
	}
	e.prev, e.next, e.in = nil, nil, false
}

// The timer is left alone by Remove, so it comes once for whoever was in the queue
// when it was set, and then for the one in front.
func (q *Queue) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for q.front != nil && !q.front.due.After(now) {
		e := q.front
		q.removeLocked(e)
		go e.End(true)
	}
	q.timer = nil
	if q.front != nil {
		q.timer = time.AfterFunc(q.front.due.Sub(now), q.expire)
	}
}

// End ends those whose owners are chosen, as Close does.
func (q *Queue) End(choose func(owner any) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for e := q.front; e != nil; {
		next := e.next
		if choose(e.Owner) {
			q.removeLocked(e)
			go e.End(false)
		}
		e = next
	}
}

// Close ends all that are in the queue, and all that are added from now on.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.front != nil {
		e := q.front
		q.removeLocked(e)
		go e.End(false)
	}
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}
