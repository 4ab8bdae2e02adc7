package aside

import (
	"context"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// looked is the result of a lookup: its jobs by what comes next.
type looked[K comparable, V any] struct {
	found  []*job[K, V] // with an entry that is yet to be decoded
	load   []*job[K, V] // to be loaded, each with its fillMode
	leased []*job[K, V] // loaded by other nodes at present
	over   []*job[K, V] // with an entry that a Refresh is to replace
	again  []*job[K, V] // to be looked up again: the context of the lookup has ended
}

// name gives a job its key in L2, and the token of its lease. If it returns an error,
// it has ended the job.
func (c *Cache[K, V]) name(j *job[K, V]) (err error) {
	if c.l2 == nil {
		return nil
	}
	if j.l2key, err = c.l2key(j.key); err != nil {
		c.fail(j, err)
		return err
	}
	j.lease = envelope.NewTokenOf(c.node)
	return nil
}

// restart notes that the job's value is asked for from now on.
func (c *Cache[K, V]) restart(j *job[K, V]) {
	j.gen = c.l1.Generation(j.key)
	j.asOf = c.flights.Now()
	j.replaced = !c.flights.Restart(j.key, j.call)
}

// lookUp looks the keys of jobs up in L2, in one batch. A job that refreshes finds
// nothing: it gets a lease over what is there.
func (c *Cache[K, V]) lookUp(jobs []*job[K, V]) looked[K, V] {
	return c.lookUpFor(context.Background(), jobs)
}

// lookUpFor is a lookup that ends early with ctx.
func (c *Cache[K, V]) lookUpFor(ctx context.Context, jobs []*job[K, V]) looked[K, V] {
	r := c.ask(ctx, jobs)
	for try := 0; len(r.over) > 0; try++ {
		over := r.over
		r.over = nil
		if try == maxOver {
			for _, j := range over {
				j.mode, j.ans.Miss, j.entry = fillNothing, MissRefresh, nil
			}
			r.load = append(r.load, over...)
			break
		}
		more := c.ask(ctx, c.nameEntries(over))
		r.found, r.load = append(r.found, more.found...), append(r.load, more.load...)
		r.leased, r.over = append(r.leased, more.leased...), more.over
		r.again = append(r.again, more.again...)
	}
	return r
}

// maxOver is how often a lease over an entry is asked for, which others replace meanwhile.
const maxOver = 8

// nameEntries prepares jobs to ask for a lease over the entries that they have found. An
// entry of which no lease can be had so is removed: its token cannot be read, or L2 does
// not know of such leases.
func (c *Cache[K, V]) nameEntries(jobs []*job[K, V]) []*job[K, V] {
	var evict []driver.EvictRequest
	for _, j := range jobs {
		_, token, ok := envelope.Head(j.entry)
		if ok && token != j.over {
			j.over = token
		} else {
			evict = append(evict, driver.EvictRequest{Key: j.l2key, Entry: j.entry})
		}
		j.entry = nil
	}
	if len(evict) > 0 {
		c.l2.evict(evict) // if that fails, it is found again
	}
	return jobs
}

// ask is a lookup in one batch.
func (c *Cache[K, V]) ask(ctx context.Context, jobs []*job[K, V]) (r looked[K, V]) {
	ask := jobs[:0:0]
	usable := c.l2.usable()
	for i, j := range jobs {
		c.restart(j)
		j.stale, j.carried = nil, 0
		switch {
		case !usable || c.outbox.Holds(j.key):
			j.mode, j.ans.Miss = fillDegraded, MissDegraded
			r.load = append(r.load, j)
		case j.asks&SkipL2 != 0:
			j.mode, j.ans.Miss = fillDegraded, MissSkipped
			r.load = append(r.load, j)
		default:
			ask = appendOf(ask, jobs, i)
		}
	}
	if len(ask) == 0 {
		return r
	}
	expect := c.expect.get()
	reqs := make([]driver.LeaseRequest, len(ask))
	start := time.Now()
	for i, j := range ask {
		if j.asked.IsZero() {
			j.asked = start
		}
		c.startLookup(j)
		reqs[i] = driver.LeaseRequest{
			Key: j.l2key, Lease: j.lease, TTL: c.leaseTTL(), Expect: expect,
			Over: j.over, Carried: j.asks&Refresh == 0 && !j.noCarried,
		}
	}
	c.headOfTags(ask)
	late := c.hedgeAfter(ask)
	answers := c.l2.acquire(ctx, reqs)
	late.stop()
	now := time.Now()
	var back []driver.AbandonRequest // leases that nobody needs any more
	for i, a := range answers {
		j := ask[i]
		if a.Err == errCallerLeft {
			c.askAgain(j)
			c.endLookup(j, a)
			r.again = append(r.again, j)
			continue
		}
		j.lookups++
		if !c.lookupAnswers(j, &a, &back) {
			c.endLookup(j, a)
			c.endJobOp(j, OutcomeWaited, nil)
			continue
		}
		j.ans.L2Time = now.Sub(j.asked)
		switch {
		case a.Err != nil:
			j.mode, j.ans.Miss = fillDegraded, MissDegraded
			r.load = append(r.load, j)
			if !nothingSent(a.Err) {
				c.dropAfterGrant(j) // it may have been granted all the same
				c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
			}
		case a.State == driver.StateFound && j.asks&Refresh != 0:
			r.over = append(r.over, j)
			j.entry = a.Entry
		case a.State == driver.StateFound:
			j.entry = a.Entry
			c.top.big.Raise(j.key, int64(len(a.Entry)), now)
			r.found = appendOf(r.found, ask, i)
		case a.State == driver.StateLeased && a.Entry != nil && a.Left > envelope.StaleFor(a.Entry):
			j.entry, j.carried = a.Entry, a.Left-envelope.StaleFor(a.Entry)
			r.found = append(r.found, j)
		case a.State == driver.StateLeased:
			j.carry(a, now)
			r.leased = append(r.leased, j)
		case a.State == driver.StateFenced:
			j.mode, j.ans.Miss = fillNothing, MissFenced
			r.load = append(r.load, j)
		default:
			c.dropAfterGrant(j)
			j.mode, j.ans.Miss = fillLeased, MissAbsent
			j.carry(a, now)
			switch {
			case j.asks&Refresh != 0:
				j.ans.Miss = MissRefresh
			case j.stale != nil:
				j.ans.Miss = MissStale
			}
			r.load = append(r.load, j)
		}
		c.endLookup(j, a)
	}
	if len(back) > 0 {
		go c.giveBack(back)
	}
	c.expect.observe(len(r.found)+len(r.over), len(ask))
	return r
}

// appendOf appends all[i] to some of the jobs before it in all. If those are all of them, no
// memory is needed.
func appendOf[K comparable, V any](some, all []*job[K, V], i int) []*job[K, V] {
	if len(some) == i {
		return all[: i+1 : i+1]
	}
	return append(some, all[i])
}

// askAgain prepares a job whose lookup was given up for another one. A lease may have been
// granted to it, so that is given back, and it asks for another.
func (c *Cache[K, V]) askAgain(j *job[K, V]) {
	c.dropAfterGrant(j)
	c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
	j.lease = envelope.NewTokenOf(c.node)
}

// A lease outlives the load's deadline and the round trips around it, so that
// it ends early only for a process that died.
func (c *Cache[K, V]) leaseTTL() time.Duration {
	return max(0, c.opts.Bulk.Wait) + c.opts.LoadTimeout + 2*c.opts.L2Timeout + time.Second
}
