package story

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	restartReaders = 16
	restartPause   = 3 * time.Millisecond
	restartRecords = 1000
	// warmTime is how long the caches fill before they are emptied.
	warmTime = 3 * time.Second
)

// restart: all caches are emptied under load.
func restart(r *run) error {
	records, err := r.records(restartRecords)
	if err != nil {
		return err
	}
	seconds := cmp.Or(r.Seconds, 5)
	answers := newTally()
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	// Few records are read often, as in most services.
	zipf := make([]*rand.Zipf, restartReaders)
	for i := range zipf {
		zipf[i] = rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), 1.1, 8, uint64(len(records)-1))
	}
	workers(ctx, &wg, restartReaders, restartPause, func(worker int) {
		answers.add(r.get(r.nodes[worker%len(r.nodes)], records[zipf[worker].Uint64()].ID, false))
	})
	store := r.o.Store
	if !r.pause(warmTime) {
		return r.ctx.Err()
	}
	answers.take()
	loadsBefore := store.reads.Load()
	if !r.pause(time.Second) {
		return r.ctx.Err()
	}
	before := answers.take()
	r.say(info, "Before: %d reads/s, %.0f %% from a cache, %d loads/s.", before.answered(), before.hits(), store.reads.Load()-loadsBefore)
	for _, n := range r.nodes {
		if err := n.Cache.Clear(r.ctx); err != nil {
			return err
		}
	}
	store.most.Store(store.reading.Load())
	loadsBefore = store.reads.Load()
	answers.take() // what was answered meanwhile
	r.say(info, "All caches are empty, as after a restart.")
	sum, first, last, loads := newTally(), 0.0, 0.0, loadsBefore
	for second := 1; second <= seconds; second++ {
		if !r.pause(time.Second) {
			return r.ctx.Err()
		}
		a, now := answers.take(), store.reads.Load()
		if last = a.hits(); second == 1 {
			first = last
		}
		r.say(info, "%d s later: %d reads/s, %.0f %% from a cache, %d loads, p99 %.1f ms.", second, a.answered(), a.hits(), now-loads, a.percentile(99))
		loads = now
		sum.plus(a)
	}
	most, limit := store.most.Load(), int64(r.o.MaxLoads*len(r.nodes))
	r.facts = map[string]any{
		"nodes": len(r.nodes), "reads": sum.answered(), "errors": sum.failed, "loads": loads - loadsBefore, "records": len(records),
		"most_loads_at_once": most, "max_loads": limit, "hits_before_percent": before.hits(), "hits_first_second_percent": first,
		"hits_last_second_percent": last, "p99_ms": sum.percentile(99),
	}
	if sum.failed > 0 {
		r.say(bad, "%d requests failed, the last with: %s", sum.failed, sum.last)
	}
	r.ends(sum.failed == 0 && most <= limit, "From %.0f %% to %.0f %% hits in %d s, with %d loads for %d reads, at most %d at once",
		first, last, seconds, loads-loadsBefore, sum.answered(), most)
	return nil
}
