package aside

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newSlots(run, queue int) *loadLimiter {
	s := &loadLimiter{}
	s.init(run, queue)
	return s
}

// take waits for a slot, however often it is woken for another reason.
func (s *loadLimiter) take(ctx context.Context, wake <-chan struct{}) error {
	for {
		queued, err := s.acquire()
		if err != nil || !queued {
			return err
		}
		if err := s.wait(ctx, wake); err != errWoken {
			return err
		}
	}
}

// Those who wait get a slot in their order, those who give up leave the queue,
// and the queue is bounded. Caught: a wish that is not withdrawn.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSlots(1, 2)
		want := func(running, waiting int) {
			t.Helper()
			synctest.Wait()
			if p.running() != running || p.waiting() != waiting {
				t.Errorf("%d run, %d wait, want %d and %d", p.running(), p.waiting(), running, waiting)
			}
		}
		if err := p.take(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		errFirst := errors.New("first")
		var got [2]error
		var has [2]bool
		for i := range got {
			ctx := ctx
			if i == 1 {
				ctx = t.Context()
			}
			go func() { got[i] = p.take(ctx, nil); has[i] = true }()
			want(1, i+1)
		}
		if err := p.take(t.Context(), nil); err != ErrOverloaded {
			t.Errorf("beyond the queue: %v", err)
		}
		want(1, 2)
		cancel(errFirst)
		want(1, 1)
		if !has[0] || !errors.Is(got[0], ErrOverloaded) || !errors.Is(got[0], errFirst) || has[1] {
			t.Errorf("after the first gave up: %v, %v", got, has)
		}
		p.release()
		want(1, 0)
		if !has[1] || got[1] != nil {
			t.Errorf("after the slot was released: %v, %v", got, has)
		}
		p.release()
		want(0, 0)
	})
}

// However they come, wait, give up and leave, no more than there are slots run at
// once, and in the end all are free. Caught: a slot that was handed to somebody
// who had just given up, and lost.
func TestSlotsAreNeitherLostNorDoubled(t *testing.T) {
	for _, queue := range []int{0, 3, 100} {
		p := newSlots(3, queue)
		var in, most, taken atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 3000 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(20))*time.Microsecond)
					wake := make(chan struct{}, 1)
					if rand.IntN(2) == 0 {
						wake <- struct{}{}
					}
					if p.take(ctx, wake) == nil {
						taken.Add(1)
						for n := in.Add(1); ; {
							m := most.Load()
							if n <= m || most.CompareAndSwap(m, n) {
								break
							}
						}
						if rand.IntN(4) == 0 {
							time.Sleep(time.Microsecond)
						}
						in.Add(-1)
						p.release()
					}
					cancel()
				}
			})
		}
		wg.Wait()
		if most.Load() > 3 || taken.Load() == 0 || p.running() != 0 || p.waiting() != 0 || len(p.handed) != 0 {
			t.Errorf("queue of %d: at most %d ran at once, of %d; in the end %d run, %d wait, %d slots are on their way", queue, most.Load(), taken.Load(), p.running(), p.waiting(), len(p.handed))
		}
	}
}
