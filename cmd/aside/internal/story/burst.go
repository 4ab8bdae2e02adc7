package story

import (
	"cmp"
	"net/http"
	"sync"
	"time"
)

// burst: many requests for a record that no cache has.
func burst(r *run) error {
	t, err := r.record()
	if err != nil {
		return err
	}
	requests := cmp.Or(r.Requests, 100)
	for _, n := range r.nodes {
		if err := n.Cache.Invalidate(r.ctx, t.ID); err != nil {
			return err
		}
	}
	r.say(info, "Record %s is dropped from all caches.", t.ID)
	// The connections are made before, so that the requests arrive together.
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	answers, slowest := newTally(), time.Duration(0)
	for i := range requests {
		n := r.nodes[i%len(r.nodes)]
		ready.Add(1)
		done.Go(func() {
			_, _ = r.do(r.ctx, n, http.MethodGet, "/healthz", nil, false)
			ready.Done()
			<-gate
			answers.add(r.get(n, t.ID, false))
		})
	}
	ready.Wait()
	reads := r.o.Store.watch(t.ID)
	r.say(info, "%d requests for it are sent at once, to %s.", requests, servers(len(r.nodes)))
	begun := time.Now()
	close(gate)
	done.Wait()
	all := time.Since(begun)
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	for _, d := range answers.took {
		slowest = max(slowest, d)
	}
	loads := int(reads.n.Load())
	r.say(info, "All are answered after %.1f ms: %d by the load, %d waited for it, %d from memory, %d from Redis.",
		ms(all), answers.tiers["load"], answers.tiers["shared"], answers.tiers["L1"], answers.tiers["L2"])
	r.facts = map[string]any{
		"id": t.ID, "requests": requests, "nodes": len(r.nodes), "loads": loads, "errors": answers.failed,
		"load": answers.tiers["load"], "coalesced": answers.tiers["shared"], "l1": answers.tiers["L1"], "l2": answers.tiers["L2"],
		"took_ms": ms(all), "slowest_ms": ms(slowest),
	}
	switch {
	case answers.failed > 0:
		r.ends(false, "%d of %d requests failed, the last with: %s", answers.failed, requests, answers.last)
	default:
		r.ends(loads == 1, "%d requests, %s", requests, count(loads, "load"))
	}
	return nil
}
