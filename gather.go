package aside

import (
	"runtime"
	"sync"
)

// gather hands what comes together to one call: reads that miss L1 at one time
// are looked up in one batch, so that the goroutine, the deadline, the system
// calls and the wake-ups are the batch's, not each read's. With many readers those
// cost more than the look-up itself. Nobody waits for company: a batch is what
// was there when the goroutines that could run have run.
//
// Parts of L2 that fail alone have batches of their own, or a part that is
// silent would hold up the others' answers.
type gather[T any] struct {
	mu   sync.Mutex
	open map[int][]T
}

// maxGather keeps short what the first of a batch waits for.
const maxGather = 128

func (g *gather[T]) add(part int, item T, run func(batch []T)) {
	g.mu.Lock()
	if g.open == nil {
		g.open = make(map[int][]T)
	}
	batch := append(g.open[part], item)
	if len(batch) < maxGather {
		g.open[part] = batch
	} else {
		delete(g.open, part)
	}
	g.mu.Unlock()
	switch len(batch) {
	case 1:
		go func() {
			runtime.Gosched()
			g.mu.Lock()
			batch := g.open[part]
			delete(g.open, part)
			g.mu.Unlock()
			if len(batch) > 0 { // or it was full
				run(batch)
			}
		}()
	case maxGather:
		go run(batch)
	}
}

// exchange gathers requests, and hands each answer to its sender.
type exchange[Q, R any] struct {
	gather[exchanged[Q, R]]
}

type exchanged[Q, R any] struct {
	q      Q
	answer chan R
}

func (x *exchange[Q, R]) do(part int, q Q, run func([]Q) []R) R {
	mine := exchanged[Q, R]{q, make(chan R, 1)}
	x.add(part, mine, func(batch []exchanged[Q, R]) {
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
