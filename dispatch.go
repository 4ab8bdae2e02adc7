package aside

import (
	"context"
	"slices"
	"time"

	"github.com/asidecache/aside/driver"
)

// startRead starts a single read: it looks the key up, together with those of others
// that come at the same time.
func (c *Cache[K, V]) startRead(j *job[K, V]) {
	if c.l2 == nil {
		c.withoutL2(j)
		if jobs := c.gather([]*job[K, V]{j}); len(jobs) > 0 {
			c.workers.run(func() { c.load(jobs) })
		}
		return
	}
	if j.asks&SkipL2 != 0 { // it does not wait for the lookups of others
		go c.dispatch(c.lookUp([]*job[K, V]{j}))
		return
	}
	part := c.l2.partition(j.l2key)
	// A slow lookup must not keep the caller from what a load beside it brings.
	if c.opts.L2SoftTimeout <= 0 && c.lookups.alone(part) {
		c.lookUpAlone(j, part)
		return
	}
	j.reader.waits()
	c.lookups.add(part, j, c.lookUpBatch)
}

// lookUpAlone looks a key up in the goroutine of the leader, and decodes what it finds.
// What takes longer than that goes on in another goroutine, as does the lookup itself if
// the leader's context ends: others may wait for it.
func (c *Cache[K, V]) lookUpAlone(j *job[K, V], part int) {
	jobs := []*job[K, V]{j}
	r := func() looked[K, V] {
		defer c.lookups.done(part)
		return c.lookUpFor(j.ctx, jobs)
	}()
	switch {
	case len(r.again) > 0:
		c.workers.run(func() { c.dispatch(c.lookUp(jobs)) })
	case len(r.found) > 0:
		c.decodeFound(j.ctx, j)
	default:
		c.workers.run(func() { c.dispatch(r) })
	}
}

// readJobs answers the jobs of a bulk read.
func (c *Cache[K, V]) readJobs(jobs []*job[K, V]) {
	if c.l2 != nil {
		c.dispatch(c.lookUp(jobs))
		return
	}
	for _, j := range jobs {
		c.withoutL2(j)
	}
	c.loadMany(jobs)
}

// withoutL2 prepares a job for its load, in a cache without L2.
func (c *Cache[K, V]) withoutL2(j *job[K, V]) {
	c.restart(j)
	j.mode, j.ans.Miss = fillL1, MissNoL2
	if c.opts.keeps() > 0 {
		if e, past, ok := c.l1.Stale(j.key); ok && e.Stale() {
			j.kept, j.ans.Miss = &keptValue[V]{e.Value, time.Now().Add(-past), e.Marks}, MissStale
		}
	}
	if j.asks&Refresh != 0 {
		j.ans.Miss = MissRefresh
	}
	if c.outbox.Holds(j.key) {
		j.mode, j.ans.Miss = fillDegraded, MissFenced
	}
}

// dispatch starts the next step of jobs that were looked up together. Leaders decode
// what was found for them; this goroutine does the last of the other steps, and each
// of the others gets a goroutine of its own.
func (c *Cache[K, V]) dispatch(r looked[K, V]) {
	var here []*job[K, V]
	for _, j := range r.found {
		if !j.reader.wake(true) {
			here = append(here, j)
		}
	}
	if len(r.leased) > 0 {
		if len(r.load)+len(here) == 0 {
			c.awaitLeases(r.leased)
			return
		}
		go c.awaitLeases(r.leased)
	}
	if len(here) > 0 {
		if len(r.load) == 0 {
			c.decodeHere(here)
			return
		}
		go c.decodeHere(here)
	}
	c.startLoads(r.load)
}

// startLoads loads each job with its own loader, or together with others: those of a
// bulk read, or those of other reads that came at the same time. The last load runs in
// the caller's goroutine.
func (c *Cache[K, V]) startLoads(jobs []*job[K, V]) {
	if len(jobs) > 0 && jobs[0].bulk != nil {
		c.loadMany(jobs)
		return
	}
	if jobs = c.gather(jobs); len(jobs) == 0 {
		return
	}
	for i := range jobs[1:] {
		c.workers.run(func() { c.load(jobs[i : i+1]) })
	}
	c.load(jobs[len(jobs)-1:])
}

// awaitLeases waits until the nodes that hold the jobs' leases have filled the keys, or
// given up, and looks the keys up again. After LeaseWait, by this node's clock, it
// loads the keys that are still leased, and stores the answers nowhere. The jobs are
// all of one bulk read, or all of single reads.
//
// L2 pushes each key that changes, so a key normally costs one more lookup. In case
// pushes are lost, it also polls a few keys at a time: if one of those has changed
// without a push, it looks all keys up.
func (c *Cache[K, V]) awaitLeases(jobs []*job[K, V]) {
	if jobs = c.meanwhile(jobs, false); len(jobs) == 0 {
		return
	}
	left := make(map[K][]*job[K, V], len(jobs)) // of one key there may be several flights
	for _, j := range jobs {
		left[j.key] = append(left[j.key], j)
		c.saw(j.key, EventWait, 0, 0, nil)
	}
	w := c.waiters.add(jobs)
	defer c.waiters.remove(w, jobs)
	bound := time.NewTimer(c.opts.LeaseWait - time.Since(jobs[0].asked))
	defer bound.Stop()
	soft := c.softTimer(jobs)
	var p poll
	defer p.stop()
	start := time.Now()

	// A push between the lookup and the making of w has moved the key's generation.
	var next []*job[K, V]
	for k, js := range left { // by key: the flights of one may have begun in different generations
		if slices.ContainsFunc(js, func(j *job[K, V]) bool { return c.l1.Generation(k) != j.gen }) {
			next = append(next, js...)
		}
	}
	for polled := false; ; {
		if len(next) > 0 {
			for _, j := range next {
				delete(left, j.key)
			}
			r := c.lookUp(next)
			for _, j := range c.meanwhile(r.leased, false) {
				left[j.key] = append(left[j.key], j)
			}
			r.leased = nil
			c.n.leaseOver(len(r.found)+len(r.load), start)
			if len(left) == 0 {
				c.dispatch(r)
				return
			}
			if len(r.found)+len(r.load) > 0 {
				go c.dispatch(r)
				if polled {
					next, polled = pick(left, nil), false
					continue
				}
			}
		}
		polled = false
		select {
		case <-w.woken:
			if len(left) > 1 {
				time.Sleep(collectPushes)
			}
			next = w.take(left)
		case <-p.next():
			next, polled = sample(left), true
		case <-soft:
			soft, next = nil, nil
			waiting := c.meanwhile(pick(left, nil), true)
			if clear(left); len(waiting) == 0 {
				return
			}
			for _, j := range waiting {
				left[j.key] = append(left[j.key], j)
			}
		case <-bound.C:
			next = pick(left, nil)
			for _, j := range next {
				j.mode, j.ans.Miss = fillNothing, MissLeaseWait
				j.ans.L2Time = time.Since(j.asked)
				c.endJobOp(j, OutcomeWaited, nil)
			}
			c.n.leaseWaits.Add(uint64(len(next)))
			c.n.leaseOver(len(next), start)
			c.startLoads(next)
			return
		case <-c.inflight.closing:
			c.failAll(pick(left, nil), ErrClosed)
			return
		}
	}
}

// decodeFound decodes the entry of the leader's own job, and ends the job with it. If
// the entry is of no use, or ctx ends before anybody can tell, the job goes on in a
// goroutine of its own.
func (c *Cache[K, V]) decodeFound(ctx context.Context, j *job[K, V]) {
	returned := false
	defer func() { // the codec may end the goroutine
		if !returned {
			c.fail(j, errGoexit)
		}
	}()
	fate := c.decodeEntry(ctx, j)
	returned = true
	switch fate {
	case entryServed:
		// Whoever waits for the leases of other nodes, or hedges, has the jobs for longer.
		j.ended = j.lookups == 1 && j.hedge == nil
	case entryUseless:
		go c.replace([]*job[K, V]{j})
	case entryElsewhere:
		go c.startLoads([]*job[K, V]{j})
	case entryLater:
		go c.decodeHere([]*job[K, V]{j})
	}
}

// decodeHere does the same for jobs whose leaders do not.
func (c *Cache[K, V]) decodeHere(jobs []*job[K, V]) { c.withoutEntries(c.decodeEntries(jobs)) }

// withoutEntries goes on with jobs whose entries did not answer them.
func (c *Cache[K, V]) withoutEntries(useless, elsewhere []*job[K, V]) {
	if len(useless) > 0 {
		if len(elsewhere) > 0 {
			go c.replace(useless)
		} else {
			c.replace(useless)
		}
	}
	c.startLoads(elsewhere)
}

// replace removes useless entries from L2, and looks their keys up again. A key whose
// entry cannot be removed, or is useless again, is loaded.
func (c *Cache[K, V]) replace(jobs []*job[K, V]) {
	var evict, load []*job[K, V]
	var reqs []driver.EvictRequest
	for _, j := range jobs {
		if j.evicted {
			j.mode, j.ans.Miss = fillDegraded, MissDegraded
			load = append(load, j)
			continue
		}
		j.evicted = true
		evict = append(evict, j)
		reqs = append(reqs, driver.EvictRequest{Key: j.l2key, Entry: j.entry})
	}
	var again []*job[K, V]
	if len(reqs) > 0 {
		for i, err := range c.l2.evict(reqs) {
			j := evict[i]
			j.entry = nil
			if err != nil {
				j.mode, j.ans.Miss = fillDegraded, MissDegraded
				load = append(load, j)
			} else {
				again = append(again, j)
			}
		}
	}
	if len(again) > 0 {
		r := c.lookUp(again)
		r.load = append(r.load, load...)
		c.dispatch(r)
		return
	}
	c.startLoads(load)
}
