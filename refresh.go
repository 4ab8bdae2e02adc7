package aside

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/l1"
	"github.com/asidecache/aside/internal/tags"
)

// Refresh ahead. A hit of an entry in the last part of its life begins a refresh that
// nobody waits for:
//
//   - A hit in L1 looks into L2. That is a flight like others, which those join who miss
//     L1 by then. It puts into L1 what it finds. Without L2 it loads.
//   - A hit in L2 asks for a lease over the entry that it has found, and loads under it.
//     Nobody else is granted one; the lease carries the entry, so everybody is answered
//     with that meanwhile. The load's flight is apart: nobody may wait for it.
//
// What protects a fill protects a refresh too: a write, an invalidation or a newer entry
// takes the lease, and the generation refuses what L1 is given too late.

// refreshHit begins the refresh of a key that L1 has, with the loader of the read that
// has found it due.
func (c *Cache[K, V]) refreshHit(ctx context.Context, key K, loader Loader[K, V], bulk *bulkRead[K, V]) {
	own := false
	if bulk == nil {
		var err error
		if loader, own, err = c.ownLoader(loader); err != nil {
			return
		}
	}
	if c.failing.has(key) || c.late.has(key) {
		return
	}
	call, leads := c.flights.Lead(key)
	if !leads {
		return
	}
	j := &job[K, V]{key: key, call: call, ahead: true, ctx: apart(ctx), loader: loader, own: own, bulk: bulk}
	if !c.register(j) || c.name(j) != nil {
		return
	}
	c.saw(key, EventRefresh, 0, 0, nil)
	if bulk != nil {
		bulk.due = append(bulk.due, j)
		return
	}
	part := 0
	if c.l2 != nil {
		part = c.l2.partition(j.l2key)
	}
	c.aheads.add(part, j, c.aheadBatch)
}

// refreshDue begins the refreshes that the hits of a read of several keys have asked for.
func (c *Cache[K, V]) refreshDue(b *bulkRead[K, V]) {
	if len(b.due) > 0 {
		go c.runAhead(b.due)
		b.due = nil
	}
}

// runAhead runs refreshes of keys that L1 has.
func (c *Cache[K, V]) runAhead(jobs []*job[K, V]) {
	for _, of := range byBulk(jobs) {
		if c.l2 == nil {
			for _, j := range of {
				c.withoutL2(j)
			}
			go c.startLoads(of)
			continue
		}
		r := c.lookUp(of)
		r.leased, r.load = c.onlyLeased(r.leased), c.onlyLeased(r.load)
		go c.dispatch(r)
	}
}

// onlyLeased returns the jobs that go on: those of keys that this node has leased, and
// those that somebody waits for. The others are ended: what L1 has is good enough.
func (c *Cache[K, V]) onlyLeased(jobs []*job[K, V]) (left []*job[K, V]) {
	for _, j := range jobs {
		if j.mode == fillLeased || !j.call.DropUnneeded() {
			left = append(left, j)
		} else {
			c.fail(j, context.Canceled)
		}
	}
	return left
}

// byBulk returns the jobs of single reads, and those of each bulk read: a bulk read's
// are loaded together.
func byBulk[K comparable, V any](jobs []*job[K, V]) (all [][]*job[K, V]) {
	at := make(map[*bulkRead[K, V]]int)
	for _, j := range jobs {
		i, ok := at[j.bulk]
		if !ok {
			i = len(all)
			at[j.bulk] = i
			all = append(all, nil)
		}
		all[i] = append(all[i], j)
	}
	return all
}

// refreshOver begins the refresh of an entry that a job has found in L2.
func (c *Cache[K, V]) refreshOver(found *job[K, V], e *envelope.Entry) {
	if c.failing.has(found.key) || e.Token == (driver.Token{}) { // no node stores an entry without a token
		return
	}
	if _, runs := c.refreshing.LoadOrStore(found.key, struct{}{}); runs {
		return
	}
	if !c.inflight.begin() {
		c.refreshing.Delete(found.key)
		return
	}
	j := &job[K, V]{
		key: found.key, l2key: found.l2key, call: c.flights.Apart(found.key), ahead: true, renews: e.Token,
		ctx: apart(found.ctx), loader: found.loader, own: found.own, bulk: found.bulk, lease: envelope.NewTokenOf(c.node),
	}
	c.saw(j.key, EventRefresh, 0, 0, nil)
	c.overs.add(c.l2.partition(j.l2key), j, c.overBatch)
}

// runOver leases entries in L2 to be refreshed, and loads those that are granted. The
// others have changed by then, or are refreshed by another node.
func (c *Cache[K, V]) runOver(jobs []*job[K, V]) {
	reqs := make([]driver.LeaseRequest, len(jobs))
	for i, j := range jobs {
		j.gen, j.asOf = c.l1.Generation(j.key), c.flights.Now()
		reqs[i] = driver.LeaseRequest{Key: j.l2key, Lease: j.lease, TTL: c.leaseTTL(), Over: j.renews}
	}
	answers := c.l2.acquire(context.Background(), reqs)
	now := time.Now()
	var load []*job[K, V]
	for i, a := range answers {
		j := jobs[i]
		if a.Err == nil && a.State == driver.StateGranted {
			// Others may insert what they have found before, which is not watched any more.
			j.gen = c.l1.Overtake(j.key, j.gen)
			j.mode = fillLeased
			j.carry(a, now)
			load = append(load, j)
			continue
		}
		if a.Err != nil && !nothingSent(a.Err) {
			c.invalidateL1(j.key) // it may have been granted all the same
			c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
		}
		c.fail(j, context.Canceled)
	}
	for _, of := range byBulk(load) {
		go c.startLoads(of)
	}
}

// refreshed is called for a job whose load has ended. An entry that could not be
// refreshed is left alone for a moment, or each hit of it would begin a load.
func (c *Cache[K, V]) refreshed(j *job[K, V], err error) {
	if !j.ahead && !j.call.Answered() {
		return
	}
	c.n.refreshes.Add(1)
	if err == nil || errors.Is(err, ErrNotFound) {
		return
	}
	c.n.refreshFailures.Add(1)
	if j.ahead && err != ErrClosed {
		c.failing.add(j.key, time.Now().Add(max(c.opts.FailedFor, minFailedFor)))
	}
}

const minFailedFor = time.Second

// due returns in what time an entry in L2 of some age is to be refreshed. What a TTL
// was shortened by is not known. Each call draws another time.
func (c *Cache[K, V]) due(ttl, age time.Duration) time.Duration {
	return c.before(ttl-time.Duration(c.opts.Jitter*float64(ttl))) - max(0, age)
}

// before returns the moment in a life at which its last part begins.
func (c *Cache[K, V]) before(life time.Duration) time.Duration {
	share := c.opts.RefreshAhead * (1 - refreshSpread*rand.Float64())
	return life - time.Duration(share*float64(life))
}

// refreshSpread is the share of RefreshAhead over which refreshes are spread, so that
// nodes do not ask at one moment.
const refreshSpread = 0.25

// life says how long L1 has a job's answer.
func (c *Cache[K, V]) life(j *job[K, V], ttl time.Duration) l1.Life {
	l := c.lifeFor(ttl, j.told.marks, !j.ans.Negative && j.mode != fillDegraded)
	l.Keep = j.mode == fillL1
	if l.Due > 0 && j.dueIn > 0 {
		l.Due = min(l.Due, j.dueIn)
	}
	return l
}

// lifeFor is the life in L1 of an entry that is to be refreshed, or not.
func (c *Cache[K, V]) lifeFor(ttl time.Duration, m *tags.Marks, refresh bool) l1.Life {
	l := l1.Life{TTL: c.marked(m, ttl), Marks: m}
	if refresh && c.opts.RefreshAhead > 0 {
		l.Due = c.before(l.TTL)
	}
	return l
}

// apart is ctx for work that nobody waits for: it has the values of ctx, does not end
// with it, and is not nested in the load that ctx may be of.
func apart(ctx context.Context) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	return apartContext{context.WithoutCancel(ctx)}
}

type apartContext struct{ context.Context }

func (c apartContext) Value(key any) any {
	if key == (nestKey{}) {
		return nil
	}
	return c.Context.Value(key)
}
