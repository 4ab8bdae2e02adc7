package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/asidetest/testsync"
)

// TestRandomHistories runs random histories of reads and writes over several
// nodes under many sets of options, and checks every one against the promises:
//
//   - P2, P4: strong reads and writes are linearizable, on all nodes together;
//   - P3: a read sees what its own process had acknowledged, and no node goes
//     back in versions, at either level;
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
	var histories [keys]*history.Key
	for i := range histories {
		histories[i] = history.NewKey(fmt.Sprint("k", i))
	}
	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	var wg sync.WaitGroup
	for client := range nodes * workers {
		wg.Go(func() {
			id := client % nodes
			n := ns[id]
			record := func(key int, kind history.Kind, call time.Duration, version int, unknown bool) {
				// The version tells writes apart, so it is their tag too.
				histories[key].Record(history.Op{
					Client: client, Node: id, Kind: kind, Unknown: unknown,
					Call: call, Return: now(), Version: int64(version), Tag: uint64(version),
				})
			}
			for range ops {
				if t.Failed() {
					return
				}
				ki := rand.N(keys)
				k := fmt.Sprint("k", ki)
				call := now()
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
					switch {
					case err == nil, lose != nil && errors.Is(err, aside.ErrUnacknowledged):
						record(ki, history.Write, call, r.Version, err != nil)
					case lose == nil || !errors.Is(err, aside.ErrL2Unavailable):
						t.Errorf("write: %v", err)
					}
				case 1:
					rs, err := n.ReadMany(context.Background(), []string{"k0", k, "k1"}, p, aside.Strong)
					if err != nil {
						t.Errorf("strong bulk read: %v", err)
					}
					for i := range histories {
						if r, ok := rs[fmt.Sprint("k", i)]; ok {
							record(i, history.ReadStrong, call, r.Value.Version, false)
						}
					}
				default:
					level, kind := aside.Default, history.ReadDefault
					if rand.N(2) == 0 {
						level, kind = aside.Strong, history.ReadStrong
					}
					r, err := n.Read(context.Background(), k, p, level)
					if err != nil && !errors.Is(err, aside.ErrNotFound) {
						t.Errorf("%v: %v", kind, err)
						continue
					}
					record(ki, kind, call, r.Value.Version, false)
				}
			}
		})
	}
	testsync.Await(t, "the history", testsync.Async(func() bool { wg.Wait(); return true }))
	for _, n := range ns {
		n.conn.Intercept(nil)
		n.conn.Answer(nil)
	}
	for i := range keys {
		k := fmt.Sprint("k", i)
		last, _ := p.get(k)
		for _, n := range ns {
			testsync.Eventually(t, "every tier holds the last version", func() bool {
				r, err := n.Read(context.Background(), k, p, aside.Default)
				return (err == nil || errors.Is(err, aside.ErrNotFound)) && r.Value.Version == last.Version
			})
			r, err := n.Read(context.Background(), k, p, aside.Strong)
			if err != nil && !errors.Is(err, aside.ErrNotFound) || r.Value.Version != last.Version {
				t.Errorf("P1 broken: in the end %s is version %d, %v; the primary has %d", k, r.Value.Version, err, last.Version)
			}
		}
	}
	var result history.Result
	for _, h := range histories {
		result.Add(history.Check(h, history.Options{MaxStale: -1}))
	}
	for _, v := range result.Violations {
		t.Error(v)
	}
	if result.Violated() > 0 || result.Undecided > 0 {
		t.Errorf("broken: %v; undecided: %d", result.Broken, result.Undecided)
	}
	if n := result.Ops; n[history.Write] == 0 || n[history.ReadStrong] == 0 || n[history.ReadDefault] == 0 {
		t.Errorf("operations by kind: %v", n)
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
