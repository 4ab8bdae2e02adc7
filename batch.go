package aside

import (
	"runtime"
	"sync"
)

// batcher puts items that come at the same time into one batch. So reads that miss L1
// together are one lookup: they share one goroutine, one deadline, one system call and
// one wake-up. With many readers those cost more than the lookup itself. A batch does
// not wait to fill up: it has what was added while the goroutines that could run ran.
//
// Each part of L2 that can fail alone has batches of its own. Otherwise a silent part
// would delay the answers of the others.
//
// Who comes alone needs none of that: see alone.
type batcher[T any] struct {
	workers *workers

	mu   sync.Mutex
	open map[int][]T
	busy map[int]int // batches and single items that run
	used []T         // an empty one, for the next batch
}

// maxBatch limits what the first item of a batch waits for.
const maxBatch = 128

func (b *batcher[T]) add(part int, item T, run func(batch []T)) {
	b.mu.Lock()
	b.prepare()
	batch := b.open[part]
	if batch == nil {
		batch, b.used = b.used, nil
	}
	batch = append(batch, item)
	if len(batch) < maxBatch {
		b.open[part] = batch
	} else {
		delete(b.open, part)
	}
	if len(batch) == 1 || len(batch) == maxBatch {
		b.busy[part]++
	}
	b.mu.Unlock()
	switch len(batch) {
	case 1:
		b.workers.run(func() {
			defer b.done(part)
			runtime.Gosched()
			b.mu.Lock()
			batch := b.open[part]
			delete(b.open, part)
			b.mu.Unlock()
			if len(batch) > 0 { // or it was full
				run(batch)
			}
		})
	case maxBatch:
		b.workers.run(func() {
			defer b.done(part)
			run(batch)
		})
	}
}

// reuse takes a batch back, of which nobody keeps anything.
func (b *batcher[T]) reuse(batch []T) {
	clear(batch)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = batch[:0]
}

func (b *batcher[T]) prepare() {
	if b.open == nil {
		b.open, b.busy = make(map[int][]T), make(map[int]int)
	}
}

// alone reports whether nothing is under way in a part. Then the caller runs its item in
// its own goroutine, which spares two wake-ups, and calls done.
func (b *batcher[T]) alone(part int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[part] > 0 {
		return false
	}
	b.prepare()
	b.busy[part]++
	return true
}

func (b *batcher[T]) done(part int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy[part]--
}

// batchedCalls batches requests, and hands each answer to its sender.
type batchedCalls[Q, R any] struct {
	batcher[*batchedCall[Q, R]]
	run  func([]Q) []R
	all  func([]*batchedCall[Q, R]) // runAll
	idle sync.Pool                  // of calls
}

func (x *batchedCalls[Q, R]) init(w *workers, run func([]Q) []R) {
	x.workers, x.run, x.all = w, run, x.runAll
}

type batchedCall[Q, R any] struct {
	q        Q
	r        R
	answered chan struct{}
}

func (x *batchedCalls[Q, R]) do(part int, q Q) R {
	if x.alone(part) {
		defer x.done(part)
		return x.run([]Q{q})[0]
	}
	mine, _ := x.idle.Get().(*batchedCall[Q, R])
	if mine == nil {
		mine = &batchedCall[Q, R]{answered: make(chan struct{}, 1)}
	}
	mine.q = q
	x.add(part, mine, x.all)
	<-mine.answered
	r := mine.r
	*mine = batchedCall[Q, R]{answered: mine.answered}
	x.idle.Put(mine)
	return r
}

func (x *batchedCalls[Q, R]) runAll(batch []*batchedCall[Q, R]) {
	qs := make([]Q, len(batch))
	for i, e := range batch {
		qs[i] = e.q
	}
	for i, r := range x.run(qs) {
		batch[i].r = r
		batch[i].answered <- struct{}{}
	}
	x.reuse(batch)
}
