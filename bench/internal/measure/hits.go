package measure

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
)

// HitArgs say how a filled cache is read.
type HitArgs struct {
	Dist       record.Dist
	Goroutines int
	For        time.Duration
	// Timed: take the time of each read. That costs more than a hit of a cache
	// in the process, so there only their sum is taken.
	Timed bool
}

// Hits reads keys that are cached.
func (s *Session) Hits(ctx context.Context, a HitArgs) (Sample, error) {
	picks, err := record.NewPicks(a.Dist, len(s.keys))
	if err != nil {
		return Sample{}, err
	}
	if a.Timed {
		return s.timed(a.Goroutines, a.For, func(g int) func() error {
			p := picks.Picker(g)
			return func() error { return s.read(ctx, s.keys[p.Next()]) }
		})
	}
	ops := make([]int64, a.Goroutines)
	var stop atomic.Bool
	var failure atomic.Pointer[error]
	sample, err := s.observe(func() error {
		timer := time.AfterFunc(a.For, func() { stop.Store(true) })
		defer timer.Stop()
		var wg sync.WaitGroup
		for g := range a.Goroutines {
			p := picks.Picker(g)
			wg.Go(func() {
				n, err := readUntil(ctx, &stop, s.client, s.keys, p, s.peer.Raw)
				if ops[g] = n; err != nil {
					failure.Store(&err)
				}
			})
		}
		wg.Wait()
		if err := failure.Load(); err != nil {
			return *err
		}
		return nil
	})
	for _, n := range ops {
		sample.Ops += n
	}
	return sample, err
}

// readUntil is the loop of an untimed run: it picks a key, reads it, and looks
// at the record, so that both come from memory as they would in a program.
func readUntil(ctx context.Context, stop *atomic.Bool, c peer.Client, keys []string, p *record.Picker, raw bool) (n int64, err error) {
	for !stop.Load() {
		for range 64 {
			key := keys[p.Next()]
			t, err := c.Get(ctx, key)
			if err != nil {
				return n, err
			}
			if !raw && len(t.ID) != len(key) {
				return n, fmt.Errorf("the record of %s is %+v", key, t)
			}
		}
		n += 64
	}
	return n, nil
}

func (s *Session) read(ctx context.Context, key string) error {
	t, err := s.client.Get(ctx, key)
	if err == nil && !s.peer.Raw && t.ID != key {
		err = fmt.Errorf("the record of %s is %+v", key, t)
	}
	return err
}
