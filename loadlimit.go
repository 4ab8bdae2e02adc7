package aside

import (
	"context"
	"errors"
	"sync/atomic"
)

// loadLimiter has slots for the loads that run at once. Other loads wait for a slot
// in a queue, in their order, up to a limit. While nobody waits, a slot costs two
// atomic additions: a channel's lock took a good part of the time of a quick load.
type loadLimiter struct {
	run, queue int64
	n          atomic.Int64  // have a slot, or want one
	handed     chan struct{} // slots of those who left, for those who wait
}

func (s *loadLimiter) init(run, queue int) {
	s.run, s.queue, s.handed = int64(run), int64(max(0, queue)), make(chan struct{}, run)
}

// errWoken: the wait was ended by its wake channel, without a slot.
var errWoken = errors.New("aside: woken")

// acquire takes a slot, which must be released; or a place in the queue, where the
// caller must wait; or returns ErrOverloaded.
func (s *loadLimiter) acquire() (queued bool, err error) {
	n := s.n.Add(1)
	switch {
	case n <= s.run:
		return false, nil
	case n > s.run+s.queue && s.withdraw():
		return false, ErrOverloaded
	}
	return n <= s.run+s.queue, nil
}

// wait waits in the queue for a slot. Without one it returns why.
func (s *loadLimiter) wait(ctx context.Context, wake <-chan struct{}) error {
	why := errWoken
	select {
	case <-s.handed:
		return nil
	case <-wake:
	case <-ctx.Done():
		why = errors.Join(ErrOverloaded, context.Cause(ctx))
	}
	if s.withdraw() {
		return why
	}
	if why == errWoken {
		return nil
	}
	s.release()
	return why
}

// withdraw leaves the queue. If there is nobody any more who has no slot, one has
// been handed on that only the caller can take, and it is the caller's.
func (s *loadLimiter) withdraw() bool {
	for {
		n := s.n.Load()
		if n <= s.run {
			<-s.handed
			return false
		}
		if s.n.CompareAndSwap(n, n-1) {
			return true
		}
	}
}

func (s *loadLimiter) release() {
	if s.n.Add(-1) >= s.run {
		s.handed <- struct{}{} // never blocks: no more are on their way than there are
	}
}

func (s *loadLimiter) free() int    { return int(max(0, s.run-s.n.Load())) }
func (s *loadLimiter) running() int { return int(min(s.n.Load(), s.run)) }
func (s *loadLimiter) waiting() int { return int(max(0, s.n.Load()-s.run)) }
