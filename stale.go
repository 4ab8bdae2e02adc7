package aside

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
	"github.com/asidecache/aside/internal/tags"
)

// A value that is past its TTL can still answer, for two reasons. For
// StaleWhileRevalidate it does at once, while a load runs in the background; for StaleFor
// it does if the load fails, or takes longer than SoftTimeout, or has failed lately
// (FailedFor). In L2 the value is that over which the lease of the load was granted: the
// lease carries it, so other nodes have it too, and what removes the lease removes it. In
// a cache without L2 it is that which L1 keeps.

// keptValue is a value that L1 keeps past its TTL.
type keptValue[V any] struct {
	v     V
	fresh time.Time // until then
	marks *tags.Marks
}

// keeps is for how long past its TTL a value is kept.
func (o *Options[K, V]) keeps() time.Duration { return max(o.StaleFor, o.StaleWhileRevalidate) }

// past is by how much the job's value is past its TTL. ok is false if there is none.
func (j *job[K, V]) past(now time.Time) (past time.Duration, ok bool) {
	switch {
	case j.kept != nil:
		past = now.Sub(j.kept.fresh)
	case j.stale == nil || !j.staleUntil.After(now):
		return 0, false
	default:
		past = envelope.StaleFor(j.stale) - j.staleUntil.Sub(now)
	}
	return past, past >= 0
}

// revalidates reports whether the job's value may answer while it is loaded anew.
func (c *Cache[K, V]) revalidates(j *job[K, V], now time.Time) bool {
	past, ok := j.past(now)
	return ok && past < c.opts.StaleWhileRevalidate
}

// standsIn reports whether the job's value may answer in place of a load.
func (c *Cache[K, V]) standsIn(j *job[K, V], now time.Time) bool {
	past, ok := j.past(now)
	return ok && past < c.opts.StaleFor
}

// staleAnswer makes an answer of the job's value.
func (c *Cache[K, V]) staleAnswer(j *job[K, V]) (ans answer[V], ok bool) {
	past, _ := j.past(time.Now())
	ans.Stale, ans.Left, ans.Miss = true, -past, MissStale
	if j.kept != nil {
		if ans.marks = j.kept.marks; !c.tags.Good(ans.marks) {
			return ans, false
		}
		if ans.marks != nil {
			ans.Tags = ans.marks.Tags
		}
		ans.Source, ans.Value = SourceL1, j.kept.v
		ans.Version = c.versionOf(ans.Value, ans.marks)
		ans.Node = c.node
		return ans, true
	}
	v, e, err := c.decode(j.key, j.stale)
	if ans.marks = marksOf(e); !c.tags.Good(ans.marks) {
		return ans, false
	}
	ans.Source, ans.Value, ans.Version = SourceL2, v, e.Version
	ans.Age, ans.Tags, ans.Node = max(0, time.Since(e.Stored)), e.Tags, nodeOf(e.Token)
	return ans, err == nil && !e.Elsewhere && !e.Negative
}

// answerStale answers those in the job's flight that are content with its value. ok is
// false if the value is of no use, or the flight is answered. alone: nobody is left in it.
func (c *Cache[K, V]) answerStale(j *job[K, V]) (alone, ok bool) {
	ans, ok := c.staleAnswer(j)
	if !ok {
		return false, false
	}
	alone, ok = c.flights.Early(j.key, j.call, ans)
	c.wakeReader(j)
	return alone && !j.strong, ok // its leader may not wait there yet
}

// insteadOfLoad has the job's value stand in for a load that has failed, for all but
// strong reads.
func (c *Cache[K, V]) insteadOfLoad(j *job[K, V], failed error) {
	now := time.Now()
	past, ok := j.past(now)
	if !ok {
		return
	}
	if failed != ErrClosed && failed != errDropped && c.opts.FailedFor > 0 {
		c.failing.add(j.key, now.Add(c.opts.FailedFor))
	}
	if past >= c.opts.StaleFor {
		return
	}
	if ans, ok := c.staleAnswer(j); ok {
		ans.L2Time, ans.LoadTime, ans.loadErr, ans.by = j.ans.L2Time, j.ans.LoadTime, failed, j.ans.by
		j.ans, j.told.marks = ans, ans.marks
	}
}

// beforeLoad answers with values that need not wait for their loads, and returns the jobs
// that are to be loaded. The others are ended.
func (c *Cache[K, V]) beforeLoad(jobs []*job[K, V]) []*job[K, V] {
	if c.opts.keeps() == 0 {
		return jobs
	}
	left := jobs
	now := time.Now()
	for i, j := range jobs {
		// What L1 keeps it answers with by itself while it may, and without a lease
		// nobody else hears of a load that takes long.
		alone, idle := false, c.failing.has(j.key) || j.kept != nil && c.late.has(j.key)
		if j.kept == nil && c.revalidates(j, now) || idle && c.standsIn(j, now) {
			var ok bool
			if alone, ok = c.answerStale(j); ok && !idle {
				c.saw(j.key, EventRefresh, 0, 0, nil)
			}
		}
		end := alone && idle
		switch {
		case end && len(left) == len(jobs):
			left = append(make([]*job[K, V], 0, len(jobs)), jobs[:i]...)
		case !end && len(left) != len(jobs):
			left = append(left, j)
		}
		if end {
			c.unloaded(j)
		}
	}
	return left
}

// unloaded ends a job whose flight is answered, and whose load is not worth while now.
func (c *Cache[K, V]) unloaded(j *job[K, V]) {
	if j.mode != fillLeased {
		c.closeJob(j, flight.TrustNone)
		return
	}
	j.ans.Stale = true // so that the lease is given back
	c.abandons.add(c.l2.partition(j.l2key), j, c.fillBatch)
}

// softly answers with stale values, where there are any, if the load takes longer than
// SoftTimeout. stop must be called when it has ended.
func (c *Cache[K, V]) softly(jobs []*job[K, V]) (stop func()) {
	if c.opts.SoftTimeout <= 0 {
		return nothing
	}
	var soft []*job[K, V]
	now := time.Now()
	for _, j := range jobs {
		if c.standsIn(j, now) && !j.call.Answered() {
			soft = append(soft, j)
		}
	}
	if len(soft) == 0 {
		return nothing
	}
	var over atomic.Bool
	timer := time.AfterFunc(c.opts.SoftTimeout, func() {
		now := time.Now()
		for _, j := range soft {
			if !c.standsIn(j, now) {
				continue
			}
			if c.late.add(j.key, now.Add(c.opts.LoadTimeout)); over.Load() { // stop came before
				c.late.remove(j.key)
				return
			}
			if _, ok := c.answerStale(j); ok {
				c.n.softTimeouts.Add(1)
				c.saw(j.key, EventRefresh, 0, 0, nil)
			}
		}
	})
	return func() {
		over.Store(true)
		timer.Stop()
		for _, j := range soft {
			c.late.remove(j.key)
		}
	}
}

func nothing() {}

// meanwhile answers jobs of keys that another load has leased with the values that
// the leases carry, if they need not wait: at the moment, or, with soft, at all. It returns
// the jobs that wait on.
func (c *Cache[K, V]) meanwhile(jobs []*job[K, V], soft bool) []*job[K, V] {
	if c.opts.keeps() == 0 {
		return jobs
	}
	now := time.Now()
	left := jobs[:0:0]
	for _, j := range jobs {
		alone := false
		switch {
		case j.call.Answered():
		case c.revalidates(j, now):
			alone, _ = c.answerStale(j)
		case c.standsIn(j, now) && (soft || c.late.has(j.key) || c.failing.has(j.key)):
			var ok bool
			if alone, ok = c.answerStale(j); ok && soft {
				c.n.softTimeouts.Add(1)
				c.late.add(j.key, now.Add(c.opts.LeaseWait))
			}
		}
		if alone {
			c.closeJob(j, flight.TrustNone)
		} else {
			left = append(left, j)
		}
	}
	return left
}

// softTimer returns what fires when SoftTimeout is over for jobs that wait for a lease; nil
// if they have nothing to be answered with.
func (c *Cache[K, V]) softTimer(jobs []*job[K, V]) <-chan time.Time {
	if c.opts.SoftTimeout <= 0 || !slices.ContainsFunc(jobs, func(j *job[K, V]) bool { return j.stale != nil }) {
		return nil
	}
	return time.After(c.opts.SoftTimeout - time.Since(jobs[0].asked))
}

// keepL1 is for how long L1 keeps a value past its TTL: with L2, that keeps it.
func (c *Cache[K, V]) keepL1() time.Duration {
	if c.opts.L2 != nil {
		return 0
	}
	return c.opts.keeps()
}

// olderThanKept reports whether a loaded value is older than the one in L1 that it is to
// replace, in a cache without L2.
func (c *Cache[K, V]) olderThanKept(j *job[K, V]) bool {
	if j.mode != fillL1 || !j.ahead && j.kept == nil || j.ans.Negative || !c.older(j.key, j.ans.Version) {
		return false
	}
	c.n.olderLoads.Add(1)
	return true
}
