package aside

import (
	"context"
	"errors"
	"sync/atomic"
)

// places are those of the loads that run at once. Others wait, in their order, up
// to a limit. Where nobody waits a place costs two atomic additions; a channel's
// lock was a good part of a quick load.
type places struct {
	run, queue int64
	n          atomic.Int64  // have a place, or want one
	handed     chan struct{} // places of those who left, for those who wait
}

func newPlaces(run, queue int) *places {
	return &places{run: int64(run), queue: int64(max(0, queue)), handed: make(chan struct{}, run)}
}

// take takes a place, which must be left, or returns ErrOverloaded.
func (p *places) take(ctx context.Context) error {
	n := p.n.Add(1)
	switch {
	case n <= p.run:
		return nil
	case n > p.run+p.queue:
		if p.withdraw() {
			return ErrOverloaded
		}
		return nil
	}
	select {
	case <-p.handed:
		return nil
	case <-ctx.Done():
		if !p.withdraw() {
			p.leave()
		}
		return errors.Join(ErrOverloaded, context.Cause(ctx))
	}
}

// withdraw takes back a wish for a place. If there is nobody any more who has none,
// a place has been handed on that only the caller can take, and it is the caller's.
func (p *places) withdraw() bool {
	for {
		n := p.n.Load()
		if n <= p.run {
			<-p.handed
			return false
		}
		if p.n.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func (p *places) leave() {
	if p.n.Add(-1) >= p.run {
		p.handed <- struct{}{} // never blocks: no more are on their way than there are
	}
}

func (p *places) running() int { return int(min(p.n.Load(), p.run)) }
func (p *places) waiting() int { return int(max(0, p.n.Load()-p.run)) }
