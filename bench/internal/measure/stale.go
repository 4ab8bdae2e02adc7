package measure

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/asidecache/aside/bench/internal/peer"
	"github.com/asidecache/aside/bench/internal/record"
)

// StaleArgs are the workload of the stale reads.
type StaleArgs struct {
	Peer    string
	Redis   string
	Clients int
	Keys    int // asked for and written by Zipf 1.1
	Readers int // of each client, which pause for up to 1 ms after each read
	Writers int // of all, which pause for up to 10 ms and write by way of any client
	For     time.Duration
	Seed    uint64
}

// loadHalf is the longest that a load takes before it reads the primary, and
// after it.
const loadHalf = 2500 * time.Microsecond

// Stale is what the readers saw.
type Stale struct {
	Clients       int
	Reads, Writes int64
	Stale         int64 // began after a newer version was acknowledged than they returned
	// For how long that version had been acknowledged.
	P50, P99, Max time.Duration
	// Of one read.
	ReadP50, ReadP99 time.Duration
	Loads            int64
	// Pairs of a key and a client that were still stale half a second, and a
	// second, after the last write; of Pairs.
	After500ms, After1s, Pairs int64
	Errors                     int64
	Trouble                    string
}

// staleRun is one run of the workload.
type staleRun struct {
	StaleArgs
	nodes *nodes
	keys  []string
	picks *record.Picks
	acks  []acks
	until time.Time

	reads, writes, stale, errors atomic.Int64
	trouble                      atomic.Pointer[string]
}

// StaleReads runs the workload.
func StaleReads(ctx context.Context, a StaleArgs) (r Stale, err error) {
	primary := &record.Primary{Before: pause(loadHalf), After: pause(loadHalf)}
	ns, err := openNodes(ctx, a.Peer, a.Redis, a.Clients, primary)
	if err != nil {
		return r, err
	}
	defer ns.close()
	picks, err := record.NewPicks(record.Zipf, a.Keys)
	if err != nil {
		return r, err
	}
	run := &staleRun{StaleArgs: a, nodes: ns, keys: record.Keys(a.Keys), picks: picks, acks: make([]acks, a.Keys)}
	run.until = time.Now().Add(a.For)

	type measured struct{ staleness, latency *hdrhistogram.Histogram }
	var readers, writers sync.WaitGroup
	results := make([]measured, len(ns.clients)*a.Readers)
	for i := range results {
		m := measured{newHistogram(), newHistogram()}
		results[i] = m
		readers.Go(func() { run.read(ctx, ns.clients[i/a.Readers], i, m.staleness, m.latency) })
	}
	for i := range a.Writers {
		writers.Go(func() { run.write(ctx, len(results)+i) })
	}
	writers.Wait()
	last := time.Now()
	readers.Wait()

	staleness, latency := newHistogram(), newHistogram()
	for _, m := range results {
		staleness.Merge(m.staleness)
		latency.Merge(m.latency)
	}
	r = Stale{
		Clients: len(ns.clients),
		Reads:   run.reads.Load(), Writes: run.writes.Load(), Stale: run.stale.Load(), Loads: primary.Loads(),
		P50: quantile(staleness, 50), P99: quantile(staleness, 99), Max: time.Duration(staleness.Max()),
		ReadP50: quantile(latency, 50), ReadP99: quantile(latency, 99),
		Pairs: int64(len(ns.clients) * a.Keys),
	}
	time.Sleep(time.Until(last.Add(500 * time.Millisecond)))
	r.After500ms = run.stillStale(ctx)
	time.Sleep(time.Until(last.Add(time.Second)))
	r.After1s = run.stillStale(ctx)
	r.Errors, r.Trouble = run.errors.Load(), ns.check()
	if text := run.trouble.Load(); text != nil {
		r.Trouble = *text
	}
	return r, nil
}

// pause returns a hook of the primary that takes up to d.
func pause(d time.Duration) func(context.Context, string, int64) error {
	return func(context.Context, string, int64) error { time.Sleep(rand.N(d)); return nil }
}

func (r *staleRun) fail(err error) {
	r.errors.Add(1)
	text := err.Error()
	r.trouble.CompareAndSwap(nil, &text)
}

func (r *staleRun) read(ctx context.Context, c peer.Client, i int, staleness, latency *hdrhistogram.Histogram) {
	random := rand.New(rand.NewPCG(r.Seed, uint64(i)))
	for pick := r.picks.Picker(i); time.Now().Before(r.until); time.Sleep(time.Duration(random.Int64N(int64(time.Millisecond)))) {
		k := pick.Next()
		floor, began := r.acks[k].known(), time.Now()
		t, err := c.Get(ctx, r.keys[k])
		if err != nil {
			r.fail(err)
			continue
		}
		_ = latency.RecordValue(int64(time.Since(began)))
		r.reads.Add(1)
		if d, stale := r.acks[k].staleness(began, floor, t.Version); stale {
			r.stale.Add(1)
			_ = staleness.RecordValue(int64(d))
		}
	}
}

func (r *staleRun) write(ctx context.Context, i int) {
	random := rand.New(rand.NewPCG(r.Seed, uint64(i)))
	for pick := r.picks.Picker(i); time.Now().Before(r.until); time.Sleep(time.Duration(random.Int64N(int64(10 * time.Millisecond)))) {
		k := pick.Next()
		version, err := r.nodes.write(ctx, r.nodes.clients[random.IntN(len(r.nodes.clients))], r.keys[k])
		if err != nil {
			r.fail(err)
			continue
		}
		r.acks[k].acknowledge(version)
		r.writes.Add(1)
	}
}

// stillStale counts the pairs of a key and a client that return an old version
// though nobody writes any more.
func (r *staleRun) stillStale(ctx context.Context) (n int64) {
	for k, key := range r.keys {
		for _, c := range r.nodes.clients {
			if t, err := c.Get(ctx, key); err != nil {
				r.fail(err)
			} else if t.Version < r.acks[k].known() {
				n++
			}
		}
	}
	return n
}
