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
type batcher[T any] struct {
	mu   sync.Mutex
	open map[int][]T
}

// maxBatch limits what the first item of a batch waits for.
const maxBatch = 128

func (b *batcher[T]) add(part int, item T, run func(batch []T)) {
	b.mu.Lock()
	if b.open == nil {
		b.open = make(map[int][]T)
	}
	batch := append(b.open[part], item)
	if len(batch) < maxBatch {
		b.open[part] = batch
	} else {
		delete(b.open, part)
	}
	b.mu.Unlock()
	switch len(batch) {
	case 1:
		go func() {
			runtime.Gosched()
			b.mu.Lock()
			batch := b.open[part]
			delete(b.open, part)
			b.mu.Unlock()
			if len(batch) > 0 { // or it was full
				run(batch)
			}
		}()
	case maxBatch:
		go run(batch)
	}
}

// batchedCalls batches requests, and hands each answer to its sender.
type batchedCalls[Q, R any] struct {
	batcher[batchedCall[Q, R]]
}

type batchedCall[Q, R any] struct {
	q      Q
	answer chan R
}

func (x *batchedCalls[Q, R]) do(part int, q Q, run func([]Q) []R) R {
	mine := batchedCall[Q, R]{q, make(chan R, 1)}
	x.add(part, mine, func(batch []batchedCall[Q, R]) {
		qs := make([]Q, len(batch))
		for i, e := range batch {
			qs[i] = e.q
		}
		for i, r := range run(qs) {
			batch[i].answer <- r
		}
	})
	return <-mine.answer
}
