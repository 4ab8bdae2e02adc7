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
// Reads have all modes, and loaders of their own or the cache's, which loads several of them
// together. Loaders tell what they may tell (short lives, NoStore,
// NotModified, tags), and some reads only peek. It leaves out: an L2 that loses data,
// writes past the cache.
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
		"small calls":   func(o *options) { o.Bulk = aside.BulkLimits{MaxKeys: 2, Wait: 100 * time.Microsecond} },
		"slow L2":       func(o *options) { o.L2SoftTimeout = time.Millisecond },
		"short lives": func(o *options) {
			o.TTL, o.NegativeTTL, o.L1TTL, o.StaleFor = 3*time.Millisecond, time.Millisecond, 2*time.Millisecond, 5*time.Millisecond
		},
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
	historyOf(t, nodes, false, change, lose)
}

// historyOf runs a random history. If it is tagged, every entry has its key's tags, and
// records are changed past the cache too, and then invalidated by a tag.
func historyOf(t *testing.T, nodes int, tagged bool, change func(*options), lose func(op string) bool) {
	const keys, workers, ops = 4, 4, 400
	s := &asidetest.Server{}
	p := newPrimary()
	p.beforeRead = func(string) { jitter() }
	p.afterRead = func(string) { jitter() }
	ns := make([]*node, nodes)
	var opts options // of the last node
	for i := range ns {
		slow := func(op string) {
			if tagged && op == "Tags" { // so that nodes hear of the table late
				time.Sleep(rand.N(time.Millisecond))
			}
		}
		ns[i] = newNode(t, p, s, func(o *options) {
			if o.Loader, o.BulkLoader = p, p; tagged {
				o.Loader, o.BulkLoader = anyEntryLoader(p, true), anyBulkEntryLoader(p, true)
			}
		}, change, func(o *options) {
			opts = *o
			if o.L2SoftTimeout > 0 { // longer, sometimes, before or after the lookup is carried out
				slow = func(op string) {
					if op == "Acquire" && rand.N(8) == 0 {
						time.Sleep(rand.N(4 * o.L2SoftTimeout))
					}
				}
			}
		})
		if lose == nil {
			ns[i].conn.Intercept(func(_ context.Context, op, _ string) error { jitter(); slow(op); return nil })
			ns[i].conn.Answer(func(op, _ string) error { slow(op); return nil })
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
				dice := rand.N(10)
				if tagged && dice == 0 && rand.N(2) == 0 {
					changed, returned := n.changeByTag(k, lose != nil)
					for i := range histories {
						if r, ok := changed[fmt.Sprint("k", i)]; ok {
							histories[i].Record(history.Op{
								Client: client, Kind: history.Write, Outside: true,
								Call: call, Return: returned.Sub(start), Version: int64(r.Version), Tag: uint64(r.Version),
							})
						}
					}
					continue
				}
				switch dice {
				case 0:
					r, err := n.writeSomehow(k, tagged, func() rec {
						jitter()
						r := p.put(k)
						jitter()
						return r
					})
					switch {
					case err == nil, lose != nil && errors.Is(err, aside.ErrUnacknowledged):
						record(ki, history.Write, call, r.Version, err != nil)
					case lose == nil || !errors.Is(err, aside.ErrL2Unavailable):
						t.Errorf("write: %v", err)
					}
				case 1:
					var loader aside.BulkLoader[string, rec] = p
					switch dice := rand.N(3); {
					case dice == 0 || dice == 2 && tagged:
						loader = anyBulkEntryLoader(p, tagged)
					case dice == 1:
						loader = nil
					}
					rs, err := n.ReadMany(context.Background(), []string{"k0", k, "k1"}, loader, aside.Strong|anyOf(aside.Refresh, aside.NoStore, aside.SkipL2))
					if err != nil {
						t.Errorf("strong bulk read: %v", err)
					}
					for i := range histories {
						if r, ok := rs[fmt.Sprint("k", i)]; ok {
							record(i, history.ReadStrong, call, r.Value.Version, false)
						}
					}
				case 2:
					mode := anyOf(aside.Strong)
					if r, ok := n.Peek(context.Background(), k, mode); ok {
						record(ki, kindOfRead(mode), call, r.Value.Version, false)
					}
				default:
					mode := anyOf(aside.Strong) | anyOf(anyOf(aside.Refresh), anyOf(aside.NoStore), anyOf(aside.SkipL2))
					kind := kindOfRead(mode)
					var loader aside.Loader[string, rec] = p
					switch dice := rand.N(3); {
					case dice == 0 || dice == 2 && tagged:
						loader = anyEntryLoader(p, tagged)
					case dice == 1:
						loader = nil
					}
					r, err := n.Read(context.Background(), k, loader, mode)
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
	var sum aside.Stats
	for _, n := range ns {
		s := n.Stats()
		sum.Hedges, sum.HedgesWon, sum.BatchedLoads = sum.Hedges+s.Hedges, sum.HedgesWon+s.HedgesWon, sum.BatchedLoads+s.BatchedLoads
	}
	if opts.L2SoftTimeout > 0 && (sum.HedgesWon == 0 || sum.HedgesWon == sum.Hedges) || opts.Bulk.Wait > 0 && sum.BatchedLoads == 0 {
		t.Errorf("%d hedges, of which %d won; %d bulk loads of single reads", sum.Hedges, sum.HedgesWon, sum.BatchedLoads)
	}
	var result history.Result
	for _, h := range histories {
		if tagged {
			checkTagged(&result, h)
			continue
		}
		result.Add(history.Check(h, history.Options{MaxStale: -1}))
	}
	for _, v := range result.Violations {
		t.Error(v)
	}
	if result.Violated() > 0 || result.Undecided > 0 {
		t.Errorf("broken: %v; undecided: %d", result.Broken, result.Undecided)
	}
	if tagged && (result.Outside == 0 || result.Held == 0) {
		t.Errorf("%d changes past the cache, %d reads held to them", result.Outside, result.Held)
	}
	if n := result.Ops; n[history.Write] == 0 || n[history.ReadStrong] == 0 || n[history.ReadDefault] == 0 {
		t.Errorf("operations by kind: %v", n)
	}
}

// anyOf returns each of the modes, or not.
func anyOf(modes ...aside.Mode) (m aside.Mode) {
	for _, mode := range modes {
		if rand.N(2) == 0 {
			m |= mode
		}
	}
	return m
}

// kindOfRead is what a read of a mode promises: a refresh reads the primary after it began.
func kindOfRead(m aside.Mode) history.Kind {
	if m&(aside.Strong|aside.Refresh) != 0 {
		return history.ReadStrong
	}
	return history.ReadDefault
}

// tellAnything tells what a loader of k may tell.
func tellAnything(k string, tagged bool, l *recLoaded) {
	if rand.N(2) == 0 {
		l.TTL = time.Duration(rand.N(5)) * time.Millisecond
	}
	if rand.N(4) == 0 {
		l.ETag, l.Tags = "e", []string{"t"}
	}
	if tagged {
		l.Tags = []string{"all", "of " + k}
	}
	l.NoStore = rand.N(8) == 0
}

// loadedAnyhow is what a loader has read of k, told in one of the ways there are.
func loadedAnyhow(k string, r rec, there, tagged bool, old recPrevious) recLoaded {
	l := recLoaded{Value: r, Absent: !there}
	if there && old.OK && old.Value == r && rand.N(4) > 0 {
		l = recLoaded{NotModified: true}
	}
	tellAnything(k, tagged, &l)
	return l
}

func anyEntryLoader(p *primary, tagged bool) entryLoader {
	return func(ctx context.Context, k string, old recPrevious) (recLoaded, error) {
		r, err := p.Load(ctx, k)
		return loadedAnyhow(k, r, err == nil, tagged, old), nil
	}
}

func anyBulkEntryLoader(p *primary, tagged bool) aside.BulkEntryLoaderFunc[string, rec] {
	return func(ctx context.Context, keys []string, old map[string]recPrevious) (map[string]recLoaded, error) {
		all, err := p.LoadMany(ctx, keys)
		out := map[string]recLoaded{}
		for _, k := range keys {
			r, ok := all[k]
			out[k] = loadedAnyhow(k, r, ok, tagged, old[k])
		}
		return out, err
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
