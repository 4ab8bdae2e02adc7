package tables

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/redisproc"
	"github.com/asidecache/aside/bench/internal/worker"
)

// station is what one peer is measured on: a Redis of its own, if it needs one,
// and its processes.
type station struct {
	peer    peer.Peer
	redis   *redisproc.Server // nil
	workers []*worker.Process
}

// newStation starts everything.
func newStation(ctx context.Context, p peer.Peer, workers int) (*station, error) {
	s := &station{peer: p}
	if p.Redis {
		var err error
		if s.redis, err = redisproc.Start(ctx); err != nil {
			return nil, err
		}
	}
	for range workers {
		w, err := worker.Start()
		if err != nil {
			s.stop()
			return nil, err
		}
		s.workers = append(s.workers, w)
	}
	return s, nil
}

func (s *station) stop() {
	for _, w := range s.workers {
		w.Stop()
	}
	if s.redis != nil {
		s.redis.Stop()
	}
}

func (s *station) addr() string {
	if s.redis == nil {
		return ""
	}
	return s.redis.Addr
}

// call asks one worker.
func (s *station) call(ctx context.Context, w int, method string, args, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %v", callTimeout))
	defer cancel()
	return s.workers[w].Call(ctx, method, args, answer)
}

// open opens a session on each worker, in place of the one that is open.
func (s *station) open(ctx context.Context, keys int, loadDelay time.Duration) error {
	for i := range s.workers {
		o := measure.Options{Peer: s.peer.ID, Redis: s.addr(), Keys: keys, LoadDelay: loadDelay}
		if err := s.call(ctx, i, "Open", o, &worker.None{}); err != nil {
			return err
		}
	}
	return nil
}

// loaded is a sample, with what Redis used and did meanwhile.
type loaded struct {
	measure.Sample
	redis redisproc.Used
}

// sample takes a sample on the first worker.
func (s *station) sample(ctx context.Context, method string, args any) (l loaded, err error) {
	var before, after redisproc.Used
	if s.redis != nil {
		if before, err = s.redis.Used(ctx); err != nil {
			return l, err
		}
	}
	if err = s.call(ctx, 0, method, args, &l.Sample); err != nil {
		return l, err
	}
	if s.redis != nil {
		if after, err = s.redis.Used(ctx); err != nil {
			return l, err
		}
	}
	l.redis = redisproc.Used{CPU: after.CPU - before.CPU, Commands: after.Commands - before.Commands}
	if l.Ops == 0 {
		return l, errors.New("nothing was done: " + l.Trouble)
	}
	return l, nil
}

func (l loaded) perSecond() float64 { return float64(l.Ops) / l.Elapsed.Seconds() }

// each is a total, for one operation.
func (l loaded) each(total float64) float64 { return total / float64(l.Ops) }

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
