package aside

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// awaitLeases waits until the nodes that hold the jobs' leases have filled the
// keys, or given up, and looks them up again; those that are still leased after
// LeaseWait, by this node's clock, it loads and stores nowhere. All jobs are of one
// bulk read, or all of single ones.
//
// A push wakes it for each key that changes, so a key costs one more lookup. Under
// the pushes is a net of polls, of a few keys at a time: where one of those has
// changed unheard, all are looked up.
func (c *Cache[K, V]) awaitLeases(jobs []*job[K, V]) {
	left := make(map[K][]*job[K, V], len(jobs)) // of one key there may be several flights
	for _, j := range jobs {
		left[j.key] = append(left[j.key], j)
	}
	w := c.waiters.add(jobs)
	defer c.waiters.remove(w, jobs)
	bound := time.NewTimer(c.opts.LeaseWait - time.Since(jobs[0].asked))
	defer bound.Stop()
	var p poll
	defer p.stop()

	// A push that came after the lookup, and before w was there to hear it, has
	// moved the key's generation.
	var next []*job[K, V]
	for k, js := range left { // by key: the flights of one may have begun in different generations
		if slices.ContainsFunc(js, func(j *job[K, V]) bool { return c.l1.Generation(k) != j.gen }) {
			next = append(next, js...)
		}
	}
	for polled := false; ; {
		if len(next) > 0 {
			for _, j := range next {
				delete(left, j.key)
			}
			r := c.lookUp(next)
			for _, j := range r.leased {
				left[j.key] = append(left[j.key], j)
			}
			r.leased = nil
			if len(left) == 0 {
				c.dispatch(r)
				return
			}
			if len(r.found)+len(r.load) > 0 {
				go c.dispatch(r)
				if polled {
					next, polled = pick(left, nil), false
					continue
				}
			}
		}
		polled = false
		select {
		case <-w.woken:
			if len(left) > 1 {
				time.Sleep(collectPushes)
			}
			next = w.take(left)
		case <-p.next():
			next, polled = sample(left), true
		case <-bound.C:
			next = pick(left, nil)
			for _, j := range next {
				j.mode, j.ans.Miss = fillNothing, MissLeaseWait
				j.ans.L2Time = time.Since(j.asked)
			}
			c.n.leaseWaits.Add(uint64(len(next)))
			c.startLoads(next)
			return
		case <-c.inflight.closing:
			c.failAll(pick(left, nil), ErrClosed)
			return
		}
	}
}

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

// waiters wakes those who wait for other nodes' leases when keys change.
type waiters[K comparable, V any] struct {
	n  atomic.Int64 // keys waited for
	mu sync.Mutex
	by map[K][]*leaseWait[K, V]
}

// leaseWait is the ear of one awaitLeases.
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
