package aside

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// waiters wakes flights that wait for another node's lease when the key changes.
type waiters[K comparable] struct {
	n  atomic.Int64
	mu sync.Mutex
	by map[K][]chan struct{}
}

func (w *waiters[K]) add(k K) (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = make(map[K][]chan struct{})
	}
	w.by[k] = append(w.by[k], ch)
	w.n.Add(1)
	return ch, func() { w.remove(k, ch) }
}

func (w *waiters[K]) remove(k K, ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	chs := w.by[k]
	for i := range chs {
		if chs[i] == ch {
			chs = append(chs[:i], chs[i+1:]...)
			w.n.Add(-1)
			break
		}
	}
	if len(chs) == 0 {
		delete(w.by, k)
	} else {
		w.by[k] = chs
	}
}

func (w *waiters[K]) wake(k K) {
	if w.n.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wakeAll(w.by[k])
}

func (w *waiters[K]) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, chs := range w.by {
		wakeAll(chs)
	}
}

func wakeAll(chs []chan struct{}) {
	for _, ch := range chs {
		select {
		case ch <- struct{}{}:
		default: // it has a wake-up already
		}
	}
}

// poll is the safety net under the wake-ups: they come at once, but a lost
// connection loses them. Jitter keeps nodes that wait for one key apart.
type poll struct {
	every time.Duration
	timer *time.Timer
}

const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
)

func newPoll() *poll { return &poll{every: firstPoll} }

func (p *poll) next() <-chan time.Time {
	d := p.every/2 + rand.N(p.every)
	p.every = min(2*p.every, lastPoll)
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
