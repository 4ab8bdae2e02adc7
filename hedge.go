package aside

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
)

// A hedge is a load that runs beside a lookup which takes longer than L2SoftTimeout. It
// is a job of its own in the same flight, so only one of the two may answer, and
// whoever does must be known before it touches L1: a load that began before a write
// must not go over what the lookup has found after it. A lookup that brings no value, not
// even a stale one, leaves the flight to the load, since that has a lead.
//
// The load began before any lease was granted. So its answer is stored as if L2 were
// unavailable, and a lease that is granted is given back.
type hedge struct {
	mu     sync.Mutex
	state  hedgeState
	fenced bool // found by the lookup, when it left the flight to the load
}

type hedgeState uint8

const (
	hedgeRaces    hedgeState = iota
	hedgeAlone               // the lookup has left the flight to the load
	hedgeWon                 // the load has the flight
	hedgeLost                // the lookup has it
	hedgeWithdrew            // the load has failed, and left the flight to the lookup
)

// hedging is the timer of one lookup.
type hedging struct {
	mu    sync.Mutex
	over  bool
	timer *time.Timer
}

// hedgeAfter has those jobs loaded, as far as the budget goes, that are not looked up
// by L2SoftTimeout.
func (c *Cache[K, V]) hedgeAfter(jobs []*job[K, V]) *hedging {
	if c.opts.L2SoftTimeout <= 0 || jobs[0].lookups > 0 {
		return nil
	}
	c.hedges.earn(len(jobs))
	h := &hedging{}
	h.timer = time.AfterFunc(c.opts.L2SoftTimeout, func() {
		h.mu.Lock()
		var loads []*job[K, V]
		if !h.over {
			loads = c.hedgesOf(jobs)
		}
		h.mu.Unlock()
		c.startLoads(loads)
	})
	return h
}

// stop is called when the lookup has its answers. The jobs' hedges do not change
// any more.
func (h *hedging) stop() {
	if h != nil {
		h.timer.Stop()
		h.mu.Lock()
		h.over = true
		h.mu.Unlock()
	}
}

// hedgesOf makes the loads of jobs whose lookup is late. There must be a free slot for
// each call of a loader: a hedge does not queue, and is in nobody's way.
func (c *Cache[K, V]) hedgesOf(jobs []*job[K, V]) (loads []*job[K, V]) {
	calls := 0
	for _, j := range jobs {
		if j.ahead || j.asks&Refresh != 0 { // nobody waits for it, or it is to replace what L2 has
			continue
		}
		if j.bulk == nil && !j.own || len(loads) == 0 {
			calls++
		}
		if c.limiterOf(j.call.Level()).free() < calls || !c.hedges.spend() {
			break
		}
		h := &hedge{}
		j.hedge = h
		// With the generation of the lookup: in the present one another flight may insert.
		l := &job[K, V]{key: j.key, l2key: j.l2key, call: j.call, asks: j.asks, strong: j.strong, ctx: j.ctx, outer: j.outer, loader: j.loader, own: j.own, bulk: j.bulk,
			hedge: h, hedges: j, mode: fillDegraded, gen: j.gen, replaced: j.replaced, asked: j.asked}
		l.ans.Miss, l.ans.L2Time = MissSlowL2, time.Since(j.asked)
		loads = append(loads, l)
	}
	c.inflight.add(len(loads))
	c.n.hedges.Add(uint64(len(loads)))
	return loads
}

// hedgeAnswers reports whether a hedge's load has the flight, now that it has ended. If
// not, its job is over.
func (c *Cache[K, V]) hedgeAnswers(j *job[K, V], failed error) bool {
	h := j.hedge
	h.mu.Lock()
	defer h.mu.Unlock()
	isFailure := failed != nil && !errors.Is(failed, ErrNotFound)
	switch {
	case h.state == hedgeRaces && isFailure:
		h.state = hedgeWithdrew
	case h.state == hedgeRaces || h.state == hedgeAlone:
		h.state = hedgeWon
		if h.fenced {
			j.mode = fillNothing
		}
		if !isFailure {
			c.n.hedgesWon.Add(1)
		}
		return true
	}
	c.inflight.done(1)
	return false
}

// lookupAnswers reports whether a job goes on with what its lookup has brought. If not,
// its load has answered, or will, and the job is over. back gets a lease that it does not
// need: see giveBack.
func (c *Cache[K, V]) lookupAnswers(j *job[K, V], a *driver.Grant, back *[]driver.AbandonRequest) bool {
	h := j.hedge
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	granted := a.Err == nil && a.State == driver.StateGranted
	value := a.Err == nil && a.Entry != nil // or one that stands in for a load that fails or takes long
	switch {
	case h.state == hedgeLost || h.state == hedgeWithdrew:
		return true
	case h.state == hedgeRaces && value:
		h.state = hedgeLost
		return true
	case h.state == hedgeRaces:
		h.state, h.fenced = hedgeAlone, a.Err == nil && a.State == driver.StateFenced
	case a.Err == nil && a.State == driver.StateFenced:
		c.l1.Invalidate(j.key) // nobody tells when the write has ended, and the load may be about to insert
	}
	switch {
	case granted:
		c.dropAfterGrant(j)
		*back = append(*back, driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
		return false
	case a.Err != nil && !nothingSent(a.Err):
		c.dropAfterGrant(j)
		c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
	}
	c.inflight.done(1)
	return false
}

// giveBack gives leases back that were granted too late, and then their jobs are over.
func (c *Cache[K, V]) giveBack(leases []driver.AbandonRequest) {
	defer c.inflight.done(len(leases))
	for i, err := range c.l2.abandon(leases) {
		if err != nil {
			c.oweLease(leases[i])
		}
	}
}

// hedgeBudget limits hedges to a share of recent lookups: where L2 is slow for all, the
// primary must not get all reads.
type hedgeBudget struct{ lookups atomic.Int64 } // not spent

const (
	hedgeShare = 20 // one hedge for so many keys looked up
	hedgeBurst = 32 // hedges that can be saved up, and that there are at first
)

func (b *hedgeBudget) init() { b.lookups.Store(hedgeShare * hedgeBurst) }

func (b *hedgeBudget) earn(n int) {
	if have := b.lookups.Load(); have < hedgeShare*hedgeBurst {
		b.lookups.Add(min(int64(n), hedgeShare*hedgeBurst-have))
	}
}

func (b *hedgeBudget) spend() bool {
	for {
		have := b.lookups.Load()
		if have < hedgeShare {
			return false
		}
		if b.lookups.CompareAndSwap(have, have-hedgeShare) {
			return true
		}
	}
}
