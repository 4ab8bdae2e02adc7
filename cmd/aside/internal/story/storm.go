package story

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stormWriters = 4
	stormReaders = 8 // of each server
	readPause    = time.Millisecond
	strongPause  = 10 * time.Millisecond
)

// storm: many writes of one record, while others read it.
func storm(r *run) error {
	t, err := r.record()
	if err != nil {
		return err
	}
	defer r.putBack(t)
	seconds := cmp.Or(r.Seconds, 3)
	ctx, stop := context.WithTimeout(r.ctx, time.Duration(seconds)*time.Second)
	defer stop()
	// acked are the newest versions that were acknowledged: by each server, and by any.
	acked, anywhere := make([]atomic.Int64, len(r.nodes)), &atomic.Int64{}
	var stale, late atomic.Int64
	writes, reads, strong := newTally(), newTally(), newTally()
	refusedBefore, loadsBefore := r.refused(), r.o.Store.reads.Load()

	r.say(info, "%d clients write record %s for %d s, %d read it.", stormWriters, t.ID, seconds, (stormReaders+1)*len(r.nodes))
	var wg sync.WaitGroup
	// A request that has begun is finished, also after the time.
	workers(ctx, &wg, stormWriters, 0, func(worker int) {
		i := worker % len(r.nodes)
		a, err := r.rename(r.ctx, r.nodes[i], t.ID, fmt.Sprintf("Storm %d of client %d", time.Now().UnixNano(), worker))
		if writes.add(a, err); err == nil && a.ok() {
			atLeast(&acked[i], a.Version)
			atLeast(anywhere, a.Version)
		}
	})
	workers(ctx, &wg, stormReaders*len(r.nodes), readPause, func(worker int) {
		i := worker % len(r.nodes)
		own, others := acked[i].Load(), anywhere.Load()
		a, err := r.get(r.nodes[i], t.ID, false)
		if reads.add(a, err); err == nil && a.ok() {
			switch {
			case a.Version < own:
				stale.Add(1)
			case a.Version < others:
				late.Add(1)
			}
		}
	})
	workers(ctx, &wg, len(r.nodes), strongPause, func(worker int) {
		others := anywhere.Load()
		a, err := r.get(r.nodes[worker], t.ID, true)
		if strong.add(a, err); err == nil && a.ok() && a.Version < others {
			stale.Add(1)
		}
	})
	wg.Wait()
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	loads, refused := r.o.Store.reads.Load()-loadsBefore, r.refused()-refusedBefore
	errors := writes.failed + reads.failed + strong.failed
	r.say(info, "%d writes were acknowledged. Of %d reads, %.0f %% were answered from a cache: while a write runs, none may be. %s refused since a write came between.",
		writes.answered(), reads.answered(), reads.hits(), fills(refused))
	if len(r.nodes) > 1 {
		r.say(info, "%d reads were behind a write of another server, for which the notice was on its way. No strong read may be.", late.Load())
	}
	r.facts = map[string]any{
		"id": t.ID, "nodes": len(r.nodes), "writes": writes.answered(), "reads": reads.answered(), "strong_reads": strong.answered(),
		"stale": stale.Load(), "behind_other_nodes": late.Load(), "errors": errors, "loads": loads, "fills_refused": refused,
		"hits_percent": reads.hits(), "read_p99_ms": reads.percentile(99), "write_p99_ms": writes.percentile(99),
	}
	if errors > 0 {
		r.say(bad, "%d requests failed, the last with: %s%s%s", errors, writes.last, reads.last, strong.last)
	}
	r.ends(stale.Load() == 0 && errors == 0, "%d writes, %d reads, %s", writes.answered(), reads.answered()+strong.answered(), count(int(stale.Load()), "stale answer"))
	return nil
}

func fills(n uint64) string {
	if n == 1 {
		return "1 fill was"
	}
	return fmt.Sprintf("%d fills were", n)
}

// refused is how many fills all servers have refused.
func (r *run) refused() (n uint64) {
	for _, node := range r.nodes {
		n += node.Cache.Stats().FillsRefused
	}
	return n
}
