package redisl2_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/tests/testserver"
)

// TestSoak has four nodes read and write as fast as one machine can, on a real
// Redis that kills their connections and forgets their scripts again and again,
// and checks every operation: strong reads and writes are linearizable, no node
// misses its own writes or goes back, and no default read is staler than a
// connection is trusted. Every second key has tags, and is also changed past the cache and
// then invalidated by a tag. ASIDE_SOAK is the number of operations, by default few.
// Caught: release.lua that lifts others' fences; fill.lua that does not compare; a stamp of
// tags that is taken after the load.
func TestSoak(t *testing.T) {
	want := int64(100_000)
	if s := os.Getenv("ASIDE_SOAK"); s != "" {
		var err error
		if want, err = strconv.ParseInt(s, 10, 64); err != nil || want < 1 {
			t.Fatalf("ASIDE_SOAK is %q, want a number of operations", s)
		}
	}
	r := testserver.Redis(t)
	soakOn(t, r, r.URL(), want)
}

// soakOn does so on a server, by an address of it.
func soakOn(t *testing.T, r *testserver.RedisServer, url string, want int64) {
	t.Helper()
	p := newPrimary()
	nodes := make([]*node, 4)
	for i := range nodes {
		nodes[i] = newNode(t, p, url, func(o *options) { o.OnL2Down = aside.FailClosed })
	}
	s := &soak{T: t, p: p, nodes: nodes, start: time.Now()}
	for i := range s.slots {
		s.slots[i].life = s.born()
	}
	var load, checks sync.WaitGroup
	s.checks = &checks
	for client := range 48 {
		load.Go(func() {
			for !t.Failed() && s.ops.Add(1) <= want {
				s.once(client, nodes[client%len(nodes)])
			}
		})
	}
	over := make(chan struct{})
	faults := 0
	var fault sync.WaitGroup
	fault.Go(func() {
		for every := time.NewTicker(500 * time.Millisecond); ; {
			select {
			case <-over:
				every.Stop()
				return
			case <-every.C:
			}
			if faults++; faults%2 == 0 {
				r.Do("SCRIPT", "FLUSH")
			} else {
				r.Do("CLIENT", "KILL", "TYPE", "normal")
			}
		}
	})
	load.Wait()
	close(over)
	fault.Wait()
	for i := range s.slots {
		s.check(s.slots[i].life)
	}
	checks.Wait()

	h := &s.result
	for _, v := range h.Violations {
		t.Error(v)
	}
	if h.Violated() > 0 || h.Undecided > 0 {
		t.Errorf("broken: %v; undecided: %d", h.Broken, h.Undecided)
	}
	if h.Ops[history.Write] == 0 || h.Held == 0 || h.Strong.Reads == 0 || h.Default.Reads == 0 {
		t.Errorf("operations by kind: %v, %d reads held to a change told by a tag", h.Ops, h.Held)
	}
	t.Logf("%d operations on %d keys by 48 clients of %d nodes in %v, %d faults: %d writes (%d told by a tag, %d refused, %d unknown), %d strong reads (%d stale), %d default reads (%d stale, %.4f %%; of these p50 %v, p99.9 %v, worst %v); the slowest operation: %+v",
		h.Total(), h.Keys, len(nodes), time.Since(s.start).Round(time.Second), faults, h.Ops[history.Write], h.Outside, s.refused.Load(), h.Unknown,
		h.Strong.Reads, h.Strong.Stale, h.Default.Reads, h.Default.Stale, 100*h.Default.Share(),
		h.Default.Quantile(0.5), h.Default.Quantile(0.999), h.Default.Worst, *s.slowest.Load())
}

type soak struct {
	*testing.T
	p     *primary
	nodes []*node
	start time.Time
	slots [32]struct {
		sync.RWMutex // held by an operation for reading, by the change of lives for writing
		life         *history.Key
	}
	born_, ops, refused atomic.Int64
	slowest             atomic.Pointer[slowOp]

	checks *sync.WaitGroup
	mu     sync.Mutex
	result history.Result
}

// lifetime is after how many operations a key is checked and left for another.
const lifetime = 4000

func (s *soak) born() *history.Key {
	n := s.born_.Add(1)
	return history.NewKey(fmt.Sprint([]string{"soak", "tagged"}[n%2], n))
}

func isTagged(k string) bool { return strings.HasPrefix(k, "tagged") }

// check checks a key. A change that InvalidateTag has told of counts at once, but for
// default reads, which may show it and then not until the notice has arrived.
func (s *soak) check(k *history.Key) {
	s.checks.Go(func() {
		const trusted = 3 * time.Second
		later := []history.Promise{history.Bounded, history.Monotonic}
		now := slices.DeleteFunc(history.Promises(), func(p history.Promise) bool { return slices.Contains(later, p) })
		r := history.Check(k, history.Options{MaxStale: trusted, Promises: now})
		l := history.Check(k, history.Options{MaxStale: trusted, MaxOutside: trusted, Promises: later})
		r.Add(history.Result{Broken: l.Broken, Violations: l.Violations})
		s.mu.Lock()
		defer s.mu.Unlock()
		s.result.Add(r)
	})
}

// changeByTag changes k in the primary, and invalidates it by a tag.
func (s *soak) changeByTag(n *node, k string) rec {
	tag := k
	if rand.N(10) == 0 {
		tag = "all"
	}
	r := s.p.put(k)
	for {
		err := n.InvalidateTag(context.Background(), tag)
		if err == nil {
			return r
		}
		if !errors.Is(err, aside.ErrL2Unavailable) {
			s.Errorf("InvalidateTag: %v", err)
			return r
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *soak) failed(op history.Op, what any, err error) {
	s.Errorf("node %d: %v, begun at %v, failed after %v: %v", op.Node, what, op.Call, time.Since(s.start)-op.Call, err)
}

func (s *soak) took(op history.Op, info aside.Info) {
	d := op.Return - op.Call
	for was := s.slowest.Load(); was == nil || d > was.took; was = s.slowest.Load() {
		if s.slowest.CompareAndSwap(was, &slowOp{d, op, info}) {
			return
		}
	}
}

type slowOp struct {
	took time.Duration
	op   history.Op
	info aside.Info
}

// briefly loads records that live for a moment, and may not have changed since.
func (s *soak) briefly() aside.EntryLoaderFunc[string, rec] {
	return func(ctx context.Context, k string, old aside.Previous[rec]) (aside.Loaded[rec], error) {
		r, err := s.p.Load(ctx, k)
		l := aside.Loaded[rec]{Value: r, ETag: "e", TTL: time.Duration(1+rand.N(50)) * time.Millisecond}
		l.NotModified = old.OK && old.Value == r
		if isTagged(k) {
			l.Tags = []string{k, "all"}
			if rand.N(4) == 0 { // an invalidation may come in between
				time.Sleep(rand.N(4 * time.Millisecond))
			}
		}
		return l, err
	}
}

func (s *soak) once(client int, n *node) {
	slot := &s.slots[rand.N(len(s.slots))]
	slot.RLock()
	life := slot.life
	k := life.Name()
	var info aside.Info
	op := history.Op{Client: client, Node: client % len(s.nodes), Call: time.Since(s.start)}
	switch dice := rand.N(1000); {
	case dice < 10:
		var r rec
		var err error
		switch {
		case dice < 5 && isTagged(k):
			r, op.Outside = s.changeByTag(n, k), true
		case dice < 3:
			r, err = n.Update(context.Background(), k, func(context.Context) (rec, error) { return s.p.put(k), nil })
		case dice < 5: // the key comes while the write runs
			_, r, err = n.Create(context.Background(), func(_ context.Context, w *aside.WriteTx[string, rec]) (string, rec, error) {
				if err := w.Fence(k); err != nil {
					return k, rec{}, err
				}
				return k, s.p.put(k), nil
			})
		default:
			err = n.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				if r = s.p.put(k); isTagged(k) && dice == 9 {
					w.PublishEntry(k, aside.Loaded[rec]{Value: r, Tags: []string{k, "all"}})
				}
				return nil
			})
		}
		switch {
		case errors.Is(err, aside.ErrL2Unavailable):
			s.refused.Add(1)
		case err != nil && !errors.Is(err, aside.ErrUnacknowledged):
			s.failed(op, "write", err)
		default:
			op.Kind, op.Unknown, op.Version = history.Write, err != nil, int64(r.Version)
		}
	case dice < 50:
		mode := aside.Mode(dice % 2)
		if r, ok := n.Peek(context.Background(), k, mode); ok {
			op.Version = int64(r.Value.Version)
			if op.Kind = history.ReadDefault; mode == aside.Strong {
				op.Kind = history.ReadStrong
			}
		}
	default:
		mode := aside.Default
		op.Kind = history.ReadDefault
		if dice%2 == 0 {
			mode, op.Kind = aside.Strong, history.ReadStrong
		}
		switch { // seldom, since most of these load
		case dice < 60:
			mode |= aside.NoStore
		case dice < 70:
			mode |= aside.SkipL2
		case dice < 80:
			mode, op.Kind = mode|aside.Refresh, history.ReadStrong
		}
		var loader aside.Loader[string, rec] = s.p
		if dice%5 == 0 || isTagged(k) {
			loader = s.briefly()
		}
		r, err := n.Read(context.Background(), k, loader, mode)
		info = r.Info
		op.Version = int64(r.Value.Version)
		if err != nil && !errors.Is(err, aside.ErrNotFound) {
			s.failed(op, op.Kind, err)
			op.Kind = 0 // it has told nothing
		}
	}
	op.Return = time.Since(s.start)
	s.took(op, info)
	if op.Kind != 0 {
		op.Tag = uint64(op.Version)
		life.Record(op)
	}
	slot.RUnlock()
	if life.Len() >= lifetime {
		slot.Lock()
		changed := slot.life == life
		if changed {
			slot.life = s.born()
		}
		slot.Unlock()
		if changed {
			s.check(life)
		}
	}
}
