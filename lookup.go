package aside

import (
	"errors"
	"slices"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
)

// looked is what a lookup makes of its jobs. Those that have failed are in none.
type looked[K comparable, V any] struct {
	found  []*job[K, V] // with an entry that is yet to be decoded
	load   []*job[K, V] // to be loaded, each with its fillMode
	leased []*job[K, V] // loaded by other nodes at present
}

// ask looks a single read's key up, together with those of others that come at the
// same time. If it fails, the job has been ended.
func (c *Cache[K, V]) ask(j *job[K, V]) error {
	if err := c.name(j); err != nil {
		return err
	}
	j.reader = &reader{found: make(chan struct{}, 1)}
	c.lookups.add(c.l2.partition(j.l2key), j, func(jobs []*job[K, V]) { c.dispatch(c.lookUp(jobs)) })
	return nil
}

// name gives a job its key in L2, and a lease. If it fails, the job has been ended.
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

// withoutL2 has a job loaded in a cache without L2.
func (c *Cache[K, V]) withoutL2(j *job[K, V]) {
	c.restart(j)
	j.mode, j.ans.Miss = fillL1, MissNoL2
	if c.outbox.Holds(j.key) {
		j.mode, j.ans.Miss = fillDegraded, MissFenced
	}
}

// restart notes the moment from which on the job's value is asked for.
func (c *Cache[K, V]) restart(j *job[K, V]) {
	j.gen = c.l1.Generation(j.key)
	j.asOf = c.flights.Now()
	j.replaced = !c.flights.Restart(j.key, j.call)
}

// lookUp asks L2 for the jobs' keys.
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

// nothingSent reports whether L2 was not asked, or has refused.
func nothingSent(err error) bool {
	return errors.Is(err, errBreakerOpen) || errors.Is(err, ErrL2Refused)
}

// dispatch does what is to be done next for jobs that were looked up together:
// leaders decode what was found, loads and waits get goroutines of their own, but
// for the last one.
func (c *Cache[K, V]) dispatch(r looked[K, V]) {
	var here []*job[K, V]
	for _, j := range r.found {
		if !j.reader.give() {
			j.reader = nil
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

// startLoads loads each job with its own loader, or those of a bulk read together.
// The last load runs in the caller's goroutine.
func (c *Cache[K, V]) startLoads(jobs []*job[K, V]) {
	switch {
	case len(jobs) == 0:
		return
	case jobs[0].bulk != nil:
		c.load(jobs)
		return
	}
	for i := range jobs[1:] {
		go c.load(jobs[i : i+1])
	}
	c.load(jobs[len(jobs)-1:])
}

// decodeFound ends the leader's own job with the entry that was found. Where that is
// of no use, the rest is not the caller's work.
func (c *Cache[K, V]) decodeFound(j *job[K, V]) {
	if useless, elsewhere := c.decodeEntries([]*job[K, V]{j}); len(useless)+len(elsewhere) > 0 {
		go c.withoutEntries(useless, elsewhere)
	}
}

// decodeHere does the same for jobs whose leaders do not.
func (c *Cache[K, V]) decodeHere(jobs []*job[K, V]) { c.withoutEntries(c.decodeEntries(jobs)) }

// decodeEntries ends the jobs whose entries are of use, and returns the others.
func (c *Cache[K, V]) decodeEntries(jobs []*job[K, V]) (useless, elsewhere []*job[K, V]) {
	done := 0
	defer func() { // not all are if the codec has ended the goroutine
		if done < len(jobs) {
			c.failAll(slices.Concat(jobs[done:], useless, elsewhere), errGoexit)
		}
	}()
	for ; done < len(jobs); done++ {
		switch j := jobs[done]; c.decodeEntry(j) {
		case entryUseless:
			useless = append(useless, j)
		case entryElsewhere:
			elsewhere = append(elsewhere, j)
		}
	}
	return useless, elsewhere
}

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

type entryFate uint8

const (
	entryServed    entryFate = iota // the job is ended
	entryUseless                    // to be removed
	entryElsewhere                  // the value is too large for L2
)

// decodeEntry ends a job with its entry, if that is of use.
func (c *Cache[K, V]) decodeEntry(j *job[K, V]) entryFate {
	v, e, err := c.decode(j.key, j.entry)
	age := time.Since(e.Stored)
	if err == nil {
		err = c.checkAge(e, age)
	}
	if err == nil && c.older(j.key, e.Version) {
		err = errOlder
	}
	if err != nil {
		c.n.undecodable.Add(1)
		c.warn.do("undecodable", func() {
			c.log.Warn("an entry in L2 is of no use and is replaced", "l2_key", j.l2key, "bytes", len(j.entry), "error", err)
		})
		return entryUseless
	}
	// The clocks of nodes may differ, so an entry's age only ever shortens its
	// life in L1, and never to nothing.
	left := max(c.fullTTL(e.Negative)-max(0, age), time.Second)
	j.entry = nil
	if e.Elsewhere {
		j.mode, j.ans.Miss, j.until = fillElsewhere, MissTooLarge, time.Now().Add(left)
		return entryElsewhere
	}
	j.ans.Source, j.ans.Value, j.ans.Negative, j.ans.Version = SourceL2, v, e.Negative, e.Version
	if e.Negative {
		j.ans.Err = ErrNotFound
	}
	c.overtakeIfBehind(j)
	c.insertL1(j, min(c.opts.L1TTL, left))
	c.publishAnswer(j)
	c.closeJob(j, flight.TrustLocal)
	return entryServed
}

// errOlder: L2 has lost what it had acknowledged, in a failover or a restart.
var errOlder = errors.New("aside: the entry is older than the one in L1")

// older reports whether L1 holds a newer version of a record.
func (c *Cache[K, V]) older(key K, version uint64) bool {
	if version == 0 || c.opts.Version == nil {
		return false
	}
	e, ok := c.l1.Peek(key)
	if !ok || e.Negative() {
		return false
	}
	have, err := c.version(e.Value)
	return err == nil && have > version
}

// replace removes entries that are of no use, and looks their keys up again. If
// they cannot be removed, or come back, their keys are loaded.
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

// A lease outlives the load's deadline and the round trips around it, so that
// it ends early only for a process that died.
func (c *Cache[K, V]) leaseTTL() time.Duration {
	return c.opts.LoadTimeout + 2*c.opts.L2Timeout + time.Second
}
