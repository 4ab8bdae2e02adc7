package aside

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// collectPushes is how long the keys of one fill are collected, which come in
	// one push after the other.
	collectPushes = time.Millisecond
	maxPolled     = 16
)

// pick returns the jobs of keys, or all of them if keys is nil.
func pick[K comparable, V any](left map[K][]*job[K, V], keys []K) (jobs []*job[K, V]) {
	if keys == nil {
		for _, js := range left {
			jobs = append(jobs, js...)
		}
		return jobs
	}
	for _, k := range keys {
		jobs = append(jobs, left[k]...)
	}
	return jobs
}

// sample returns a few of the jobs, at random.
func sample[K comparable, V any](left map[K][]*job[K, V]) (jobs []*job[K, V]) {
	for _, js := range left { // in an order that differs from time to time
		if jobs = append(jobs, js...); len(jobs) >= maxPolled {
			break
		}
	}
	return jobs
}

// waiters wakes the reads that wait for the leases of other nodes when keys change.
type waiters[K comparable, V any] struct {
	n  atomic.Int64 // keys waited for
	mu sync.Mutex
	by map[K][]*leaseWait[K, V]
}

// leaseWait is one awaitLeases, as waiters sees it.
type leaseWait[K comparable, V any] struct {
	woken chan struct{}

	mu   sync.Mutex
	keys map[K]struct{} // that have changed
	all  bool           // or all of them
}

func (w *waiters[K, V]) add(jobs []*job[K, V]) *leaseWait[K, V] {
	l := &leaseWait[K, V]{woken: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[K][]*leaseWait[K, V])
	}
	for _, j := range jobs {
		w.by[j.key] = append(w.by[j.key], l)
	}
	w.n.Add(int64(len(jobs)))
	return l
}

func (w *waiters[K, V]) remove(l *leaseWait[K, V], jobs []*job[K, V]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range jobs {
		ls := slices.DeleteFunc(w.by[j.key], func(x *leaseWait[K, V]) bool { return x == l })
		if w.by[j.key] = ls; len(ls) == 0 {
			delete(w.by, j.key)
		}
	}
	w.n.Add(int64(-len(jobs)))
}

func (w *waiters[K, V]) wake(k K) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.by[k] {
		l.wake(k, false)
	}
}

func (w *waiters[K, V]) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, ls := range w.by {
		for _, l := range ls {
			l.wake(k, true)
		}
	}
}

func (l *leaseWait[K, V]) wake(k K, all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = make(map[K]struct{})
	}
	l.keys[k] = struct{}{}
	l.all = l.all || all
	select {
	case l.woken <- struct{}{}:
	default: // it has a wake-up already
	}
}

// take returns the jobs whose keys have changed.
func (l *leaseWait[K, V]) take(left map[K][]*job[K, V]) []*job[K, V] {
	l.mu.Lock()
	keys, all := slices.Collect(maps.Keys(l.keys)), l.all
	l.keys, l.all = nil, false
	l.mu.Unlock()
	if all {
		return pick(left, nil)
	}
	return pick(left, keys)
}

// poll is the safety net under the pushes: they come at once, but a lost
// connection loses them. Jitter keeps nodes that wait for one key apart.
type poll struct {
	every time.Duration
	timer *time.Timer
}

const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

func (p *poll) next() <-chan time.Time {
	p.every = min(max(firstPoll, 2*p.every), lastPoll)
	d := p.every/2 + rand.N(p.every)
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	return p.timer.C
}

func (p *poll) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
