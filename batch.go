package aside

import (
	"runtime"
	"sync"
)

// batcher hands what comes together to one call: reads that miss L1 at one time
// are looked up in one batch, so that the goroutine, the deadline, the system
// calls and the wake-ups are the batch's, not each read's. With many readers those
// cost more than the lookup itself. A batch never waits to fill up: it is what
// was there when the goroutines that could run have run.
//
// Parts of L2 that fail alone have batches of their own, or a part that is
// silent would hold up the others' answers.
type batcher[T any] struct {
	mu   sync.Mutex
	open map[int][]T
}

// maxBatch keeps short what the first of a batch waits for.
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
