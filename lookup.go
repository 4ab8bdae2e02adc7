package aside

import (
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// looked is the result of a lookup: its jobs by what comes next.
type looked[K comparable, V any] struct {
	found  []*job[K, V] // with an entry that is yet to be decoded
	load   []*job[K, V] // to be loaded, each with its fillMode
	leased []*job[K, V] // loaded by other nodes at present
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
	j.lease = envelope.NewToken()
	return nil
}

// restart notes that the job's value is asked for from now on.
func (c *Cache[K, V]) restart(j *job[K, V]) {
	j.gen = c.l1.Generation(j.key)
	j.asOf = c.flights.Now()
	j.replaced = !c.flights.Restart(j.key, j.call)
}

// lookUp looks the keys of jobs up in L2, in one batch.
func (c *Cache[K, V]) lookUp(jobs []*job[K, V]) (r looked[K, V]) {
	ask := make([]*job[K, V], 0, len(jobs))
	usable := c.l2.usable()
	for _, j := range jobs {
		c.restart(j)
		if !usable || c.outbox.Holds(j.key) {
			j.mode, j.ans.Miss = fillDegraded, MissDegraded
			r.load = append(r.load, j)
		} else {
			ask = append(ask, j)
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
		reqs[i] = driver.LeaseRequest{Key: j.l2key, Lease: j.lease, TTL: c.leaseTTL(), Expect: expect}
	}
	answers := c.l2.acquire(reqs)
	now := time.Now()
	for i, a := range answers {
		j := ask[i]
		j.ans.L2Time = now.Sub(j.asked)
		switch {
		case a.Err != nil:
			j.mode, j.ans.Miss = fillDegraded, MissDegraded
			r.load = append(r.load, j)
			if !nothingSent(a.Err) {
				c.dropAfterGrant(j) // it may have been granted all the same
				c.oweLease(driver.AbandonRequest{Key: j.l2key, Lease: j.lease})
			}
		case a.State == driver.StateFound:
			j.entry = a.Entry
			r.found = append(r.found, j)
		case a.State == driver.StateLeased:
			r.leased = append(r.leased, j)
		case a.State == driver.StateFenced:
			j.mode, j.ans.Miss = fillNothing, MissFenced
			r.load = append(r.load, j)
		default:
			c.dropAfterGrant(j)
			j.mode, j.ans.Miss = fillLeased, MissAbsent
			if a.Entry != nil {
				j.stale, j.staleUntil = a.Entry, now.Add(a.Left)
			}
			r.load = append(r.load, j)
		}
	}
	c.expect.observe(len(r.found), len(ask))
	return r
}

// A lease outlives the load's deadline and the round trips around it, so that
// it ends early only for a process that died.
func (c *Cache[K, V]) leaseTTL() time.Duration {
	return c.opts.LoadTimeout + 2*c.opts.L2Timeout + time.Second
}
