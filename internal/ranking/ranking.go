// Package ranking keeps the keys with the highest figures of the last minutes, in
// bounded memory.
package ranking

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Window is a period of figures. There are two: the one that lasts, and the one before.
	Window = 2 * time.Minute
	// Size is how many keys each window has.
	Size = 128
)

// Ranking is the ranking by one figure. Its methods are safe for concurrent use. The
// zero value is ready for use, by either Add or Raise.
type Ranking[K comparable] struct {
	// Raise needs no lock for what would not get in: figures up to floor, as long as
	// the window lasts.
	floor, end atomic.Int64

	mu          sync.Mutex
	now, before window[K]
}

// Ranked is a key and its figure.
type Ranked[K comparable] struct {
	Key    K
	Figure int64
	At     time.Time // when it had it, or last had some of it
	over   int64     // by so much Figure may be too high
}

// Add adds n to a key's figure. A key that has more than a 128th of the sum of all
// figures of a window is in the ranking (this is the Space-Saving algorithm: Metwally
// and others, 2005).
func (r *Ranking[K]) Add(key K, n int64, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked(at)
	w := &r.now
	if i, ok := w.at[key]; ok {
		w.ranked[i].Figure += n
		w.ranked[i].At = at
		heap.Fix(w, i)
		return
	}
	over := int64(0)
	if len(w.ranked) == Size {
		over = w.ranked[0].Figure
	}
	w.put(Ranked[K]{key, over + n, at, over})
}

// Raise makes n the key's figure, unless that is as high already.
func (r *Ranking[K]) Raise(key K, n int64, at time.Time) {
	if n <= r.floor.Load() && at.UnixNano() < r.end.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turnLocked(at)
	w := &r.now
	if i, ok := w.at[key]; ok {
		if n > w.ranked[i].Figure {
			w.ranked[i].Figure, w.ranked[i].At = n, at
			heap.Fix(w, i)
		}
	} else if len(w.ranked) < Size || n > w.ranked[0].Figure {
		w.put(Ranked[K]{Key: key, Figure: n, At: at})
	}
	if len(w.ranked) == Size {
		r.floor.Store(w.ranked[0].Figure)
	}
}

// Sums returns the n highest figures of both windows, where Add has made them, and
// since when they count. What a figure may have too much is not in it.
func (r *Ranking[K]) Sums(n int, now time.Time) ([]Ranked[K], time.Time) {
	return r.top(n, now, true)
}

// Highest is Sums for figures that Raise has made.
func (r *Ranking[K]) Highest(n int, now time.Time) ([]Ranked[K], time.Time) {
	return r.top(n, now, false)
}

func (r *Ranking[K]) top(n int, now time.Time, sums bool) ([]Ranked[K], time.Time) {
	r.mu.Lock()
	r.turnLocked(now)
	since := r.now.start
	all := make([]Ranked[K], 0, len(r.now.ranked)+len(r.before.ranked))
	for _, x := range r.now.ranked {
		x.Figure -= x.over
		all = append(all, x)
	}
	for _, x := range r.before.ranked {
		x.Figure -= x.over
		switch i, ok := r.now.at[x.Key]; {
		case !ok:
			all = append(all, x)
		case sums:
			all[i].Figure += x.Figure
		case x.Figure > all[i].Figure:
			all[i].Figure, all[i].At = x.Figure, x.At
		}
	}
	if !r.before.start.IsZero() {
		since = r.before.start
	}
	r.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Ranked[K]) int { return cmp.Compare(b.Figure, a.Figure) })
	return slices.Clip(all[:min(n, len(all))]), since
}

// turnLocked begins a new window when the present one is over.
func (r *Ranking[K]) turnLocked(now time.Time) {
	over := now.Sub(r.now.start)
	if over < Window && !r.now.start.IsZero() {
		return
	}
	r.before = r.now
	if over >= 2*Window {
		r.before = window[K]{}
	}
	r.now = window[K]{start: now, at: make(map[K]int)}
	r.floor.Store(math.MinInt64)
	r.end.Store(now.Add(Window).UnixNano())
}

// window is a heap: the lowest figure is the first.
type window[K comparable] struct {
	start  time.Time
	ranked []Ranked[K]
	at     map[K]int
}

// put puts a new key in, in place of the lowest if there is no room.
func (w *window[K]) put(x Ranked[K]) {
	if len(w.ranked) < Size {
		heap.Push(w, x)
		return
	}
	delete(w.at, w.ranked[0].Key)
	w.ranked[0] = x
	w.at[x.Key] = 0
	heap.Fix(w, 0)
}

func (w *window[K]) Len() int           { return len(w.ranked) }
func (w *window[K]) Less(i, j int) bool { return w.ranked[i].Figure < w.ranked[j].Figure }
func (w *window[K]) Swap(i, j int) {
	w.ranked[i], w.ranked[j] = w.ranked[j], w.ranked[i]
	w.at[w.ranked[i].Key], w.at[w.ranked[j].Key] = i, j
}

// Push implements heap.Interface.
func (w *window[K]) Push(x any) {
	w.at[x.(Ranked[K]).Key] = len(w.ranked)
	w.ranked = append(w.ranked, x.(Ranked[K]))
}

// Pop implements heap.Interface. Nobody calls it.
func (w *window[K]) Pop() any { panic("ranking: Pop") }
