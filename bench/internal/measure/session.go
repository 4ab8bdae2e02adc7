// Package measure takes the measurements, each on one client of one peer (or a
// few), in the process that it is called in.
package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
)

// Options of a Session.
type Options struct {
	Peer      string
	Redis     string        // host:port of a server that nobody else uses, where the peer needs one
	Keys      int           // how many there are
	LoadDelay time.Duration // that the primary takes to read one
}

// ttl is that of all peers. Nothing expires while it is measured.
const ttl = time.Hour

// Session is one client of one peer, with the primary behind it.
type Session struct {
	opts    Options
	peer    peer.Peer
	keys    []string
	primary *record.Primary
	client  peer.Client
}

// Open opens a peer's client, with room for twice as many records as there are.
func Open(ctx context.Context, o Options) (*Session, error) {
	p, err := peer.Find(o.Peer)
	if err != nil {
		return nil, err
	}
	s := &Session{opts: o, peer: p, keys: record.Keys(o.Keys), primary: new(record.Primary)}
	if o.LoadDelay > 0 {
		s.primary.After = func(context.Context, string, int64) error { time.Sleep(o.LoadDelay); return nil }
	}
	if s.client, err = s.open(ctx, o.Redis); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Peer, err)
	}
	return s, nil
}

// open opens a further client.
func (s *Session) open(ctx context.Context, redis string) (peer.Client, error) {
	return s.peer.Open(ctx, peer.Env{Redis: redis, Load: s.primary.Load, TTL: ttl, Capacity: 2 * max(s.opts.Keys, 1000)})
}

// Close closes the client.
func (s *Session) Close() { s.client.Close() }

// fillers read side by side to fill a cache; a lone one would spend its time
// waiting for Redis.
const fillers = 64

// Fill reads every key until all are cached, in every tier, and returns how many
// of the last time were not: a cache may refuse an entry.
func (s *Session) Fill(ctx context.Context) (missing int64, err error) {
	n := 1
	if s.peer.Redis {
		n = fillers
	}
	// Once to load, once for a first tier that is filled by hits in the second,
	// once to see that it is so.
	for pass := 1; ; pass++ {
		before := s.primary.Loads()
		if err := s.readAll(ctx, n); err != nil {
			return 0, err
		}
		if w, ok := s.client.(peer.Waiter); ok {
			w.Wait()
		}
		missing = s.primary.Loads() - before
		if pass >= 3 && missing <= int64(len(s.keys)/1000) || pass == 10 {
			return missing, nil
		}
	}
}

// readAll reads every key once and checks what it is given.
func (s *Session) readAll(ctx context.Context, goroutines int) error {
	var wg sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < len(s.keys) && errs[g] == nil; i += goroutines {
				t, err := s.client.Get(ctx, s.keys[i])
				switch {
				case err != nil:
					errs[g] = err
				case s.peer.Raw || s.peer.ID == peer.Floor.ID:
				case *t != *record.New(s.keys[i], 1):
					errs[g] = fmt.Errorf("the record of %s is %+v", s.keys[i], t)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// check reports whether the client says that it could not work as it should.
func (s *Session) check() string {
	if c, ok := s.client.(peer.Checker); ok {
		if err := c.Check(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Sample is what a run of operations took.
type Sample struct {
	Ops     int64
	Elapsed time.Duration
	// Of one operation; only where a call is long enough to be timed by itself.
	P50, P99 time.Duration
	CPU      time.Duration // of this process
	Allocs   uint64
	Bytes    uint64 // allocated
	Loads    int64
	Errors   int64
	// Trouble is a first error, or what the client says of itself: then this is
	// no figure.
	Trouble string
}

// observe runs f and takes what it used of the process.
func (s *Session) observe(f func() error) (Sample, error) {
	runtime.GC() // what was left over is not f's
	loads := s.primary.Loads()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuTime(), time.Now()
	err := f()
	sample := Sample{Elapsed: time.Since(start), CPU: cpuTime() - cpu}
	runtime.ReadMemStats(&after)
	sample.Allocs, sample.Bytes = after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc
	sample.Loads = s.primary.Loads() - loads
	sample.Trouble = s.check()
	return sample, err
}
