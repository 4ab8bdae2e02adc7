package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/gate"
)

// TestRandomHistories runs random histories of reads and writes over several
// nodes under many sets of options, and checks every read against the promises:
//
//   - P2, P4: a strong read returns the last write acknowledged before it began,
//     or a newer one, on every node;
//   - P3: a default read returns at least the last write that its own process
//     had acknowledged before, and never goes back behind what the same reader
//     saw through this node's acknowledged writes;
//   - P1: when all is quiet, both tiers hold the last version.
//
// It leaves out: an L2 that loses data, writes past the cache, TTLs (far away).
// Caught: fill without compare, release that lifts others' fences, Insert
// without generation, Join without generation, TrustAll for refused fills,
// publishing by overlapping writers.
func TestRandomHistories(t *testing.T) {
	for name, change := range map[string]func(*options){
		"default":       func(*options) {},
		"no L1":         func(o *options) { o.L1Size = -1 },
		"tiny L1":       func(o *options) { o.L1Size = 2 },
		"no negatives":  func(o *options) { o.NegativeTTL = -1 },
		"one load":      func(o *options) { o.MaxLoads = 1 },
		"stale allowed": func(o *options) { o.StaleFor = time.Minute },
	} {
		t.Run(name, func(t *testing.T) { randomHistory(t, 3, change, nil) })
	}
	t.Run("L1 only", func(t *testing.T) { randomHistory(t, 1, func(o *options) { o.L2 = nil; o.Name = "" }, nil) })
	// Answers get lost: operations are done, or not, and fail either way. With
	// FailClosed the promises stand.
	t.Run("lossy L2", func(t *testing.T) {
		randomHistory(t, 3, func(o *options) {
			o.OnL2Down, o.BreakerFailures, o.BreakerDelay = aside.FailClosed, 3, time.Millisecond
			o.FenceTTL, o.WriteTimeout = 300*time.Millisecond, 200*time.Millisecond
		}, func(op string) bool { return rand.N(20) == 0 })
	})
}

func randomHistory(t *testing.T, nodes int, change func(*options), lose func(op string) bool) {
	const keys, workers, ops = 4, 4, 400
	s := &asidetest.Server{}
	p := newPrimary()
	p.beforeRead = func(string) { jitter() }
	p.afterRead = func(string) { jitter() }
	ns := make([]*node, nodes)
	for i := range ns {
		ns[i] = newNode(t, p, s, change)
		if lose == nil {
			ns[i].conn.Intercept(func(context.Context, string, string) error { jitter(); return nil })
		} else {
			ns[i].conn.Intercept(func(_ context.Context, op, _ string) error {
				jitter()
				if lose(op) {
					return errDown
				}
				return nil
			})
			ns[i].conn.Answer(func(op, _ string) error {
				if lose(op) {
					return errDown
				}
				return nil
			})
		}
	}
	// Versions acknowledged, by anyone and by each node.
	var acked [keys]atomic.Int64
	ownAcked := make([][keys]atomic.Int64, nodes)
	raise := func(a *atomic.Int64, v int64) {
		for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
		}
	}
	var wg sync.WaitGroup
	var strong, def, writes atomic.Int64
	for i := range nodes * workers {
		wg.Go(func() {
			id, n := i%nodes, ns[i%nodes]
			for range ops {
				if t.Failed() {
					return
				}
				ki := rand.N(keys)
				k := fmt.Sprint("k", ki)
				switch rand.N(10) {
				case 0:
					var r rec
					err := n.Write(context.Background(), func(_ context.Context, w *writing) error {
						jitter()
						r = p.put(k)
						jitter()
						if rand.N(2) == 0 {
							w.Publish(k, r)
						}
						return nil
					}, k)
					if err == nil {
						writes.Add(1)
						raise(&acked[ki], int64(r.Version))
						raise(&ownAcked[id][ki], int64(r.Version))
					} else if lose == nil || !errors.Is(err, aside.ErrL2Unavailable) && !errors.Is(err, aside.ErrUnacknowledged) {
						t.Errorf("write: %v", err)
					}
				case 1, 2, 3:
					want := acked[ki].Load()
					r, err := n.Read(context.Background(), k, p, aside.Strong)
					if err != nil && !errors.Is(err, aside.ErrNotFound) {
						t.Errorf("strong read: %v", err)
					} else if int64(r.Value.Version) < want {
						t.Errorf("P2 broken: strong read of %s got version %d from %v, %d was acknowledged before it began", k, r.Value.Version, r.Source, want)
					}
					strong.Add(1)
				case 4:
					want := acked[ki].Load()
					rs, err := n.ReadMany(context.Background(), []string{"k0", k, "k1"}, p, aside.Strong)
					if err != nil {
						t.Errorf("strong bulk read: %v", err)
					} else if int64(rs[k].Value.Version) < want {
						t.Errorf("P2 broken: strong bulk read of %s got version %d, %d was acknowledged", k, rs[k].Value.Version, want)
					}
					strong.Add(1)
				default:
					want := ownAcked[id][ki].Load()
					r, err := n.Read(context.Background(), k, p, aside.Default)
					if err != nil && !errors.Is(err, aside.ErrNotFound) {
						t.Errorf("default read: %v", err)
					} else if int64(r.Value.Version) < want {
						t.Errorf("P3 broken: default read of %s got version %d from %v, this process had %d acknowledged", k, r.Value.Version, r.Source, want)
					}
					def.Add(1)
				}
			}
		})
	}
	gate.Await(t, "the history", gate.Async(func() bool { wg.Wait(); return true }))
	for _, n := range ns {
		n.conn.Intercept(nil)
		n.conn.Answer(nil)
	}
	for i := range keys {
		k := fmt.Sprint("k", i)
		last, _ := p.get(k)
		for _, n := range ns {
			gate.Eventually(t, "every tier holds the last version", func() bool {
				r, err := n.Read(context.Background(), k, p, aside.Default)
				return (err == nil || errors.Is(err, aside.ErrNotFound)) && r.Value.Version == last.Version
			})
			r, err := n.Read(context.Background(), k, p, aside.Strong)
			if err != nil && !errors.Is(err, aside.ErrNotFound) || r.Value.Version != last.Version {
				t.Errorf("P1 broken: in the end %s is version %d, %v; the primary has %d", k, r.Value.Version, err, last.Version)
			}
		}
	}
	if strong.Load() == 0 || def.Load() == 0 || writes.Load() == 0 {
		t.Errorf("history of %d strong reads, %d default reads, %d writes", strong.Load(), def.Load(), writes.Load())
	}
}

// jitter moves the goroutines against each other.
func jitter() {
	switch rand.N(8) {
	case 0:
		<-time.After(time.Duration(rand.N(200)) * time.Microsecond)
	case 1, 2:
		for range rand.N(3) {
			runtime.Gosched()
		}
	}
}
