package l1

import (
	"math"
	"sync"
	"sync/atomic"
)

// seen are the reads that need attention beyond their answer: to be shown to those who
// watch, and a few of them to be sampled. A hit compares one number with the clock,
// which it reads anyway, and mostly that is all.
//
// The first reads of each tick of the clock are sampled. They stand for all reads
// until the next that is sampled in another tick: so the sample costs the same however
// many reads there are, and of few reads it has all.
type seen[K comparable, V any] struct {
	due     atomic.Int64 // reads from this moment on are sampled
	watched atomic.Bool
	hit     func(K, Entry[V])
	reads   func() uint64 // that L1 did not answer, so far
	sampled func(K, uint64)

	mu   sync.Mutex
	tick int64
	keys [perTick]K // sampled in this tick
	n    int
	all  uint64 // reads until this tick
}

// perTick is how many reads are sampled in each tick of the clock: 1,600 a second.
const perTick = 16

// always is a moment before all others.
const always = math.MinInt64

// Watch has Config.Hit called for each hit, or not any more.
func (t *Tier[K, V]) Watch(on bool) {
	a := &t.seen
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched.Store(on)
	t.attendLocked()
}

func (t *Tier[K, V]) attendLocked() {
	if t.seen.watched.Load() {
		t.attention.Store(always)
	} else {
		t.attention.Store(t.seen.due.Load())
	}
}

// attend is for a hit that needs attention.
func (t *Tier[K, V]) attend(key K, e Entry[V], now int64) {
	if t.seen.watched.Load() {
		t.seen.hit(key, e)
	}
	t.see(key, now)
}

// See tells of a read that L1 did not answer.
func (t *Tier[K, V]) See(key K) { t.see(key, t.clock.now()) }

func (t *Tier[K, V]) see(key K, now int64) {
	a := &t.seen
	if now < a.due.Load() || a.sampled == nil || !a.mu.TryLock() {
		return
	}
	defer a.mu.Unlock()
	if now > a.tick {
		t.sampledLocked(1) // this one is of the next tick
		a.tick = now
	}
	if a.n == perTick {
		return // others came before
	}
	a.keys[a.n] = key
	if a.n++; a.n == perTick {
		a.due.Store(now + 1)
		t.attendLocked()
	}
}

// Sample hands out what has been sampled so far.
func (t *Tier[K, V]) Sample() {
	t.seen.mu.Lock()
	defer t.seen.mu.Unlock()
	t.sampledLocked(0)
}

// sampledLocked hands out what was sampled. The last few reads are not of that tick.
func (t *Tier[K, V]) sampledLocked(last uint64) {
	a := &t.seen
	if a.n == 0 {
		return
	}
	all := max(t.hits.load()+a.reads()-last, a.all)
	n := uint64(a.n)
	each, rest := (all-a.all)/n, (all-a.all)%n
	for i, k := range a.keys[:a.n] {
		weight := each
		if uint64(i) < rest {
			weight++
		}
		if weight > 0 {
			a.sampled(k, weight)
		}
	}
	clear(a.keys[:a.n])
	a.n, a.all = 0, all
}
