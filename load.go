package aside

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/flight"
)

// loaded is a loader's answer for one key.
type loaded[V any] struct {
	v   V
	err error
}

// jobLoader calls the application's loader for one or more jobs.
type jobLoader[K comparable, V any] interface {
	load(ctx context.Context, jobs []*job[K, V]) []loaded[V]
}

type loadOne[K comparable, V any] struct{ Loader[K, V] }

func (l loadOne[K, V]) load(ctx context.Context, jobs []*job[K, V]) []loaded[V] {
	v, err := l.Load(ctx, jobs[0].key)
	return []loaded[V]{{v, err}}
}

type loadMany[K comparable, V any] struct{ BulkLoader[K, V] }

func (l loadMany[K, V]) load(ctx context.Context, jobs []*job[K, V]) []loaded[V] {
	keys := make([]K, len(jobs))
	for i, j := range jobs {
		keys[i] = j.key
	}
	values, err := l.LoadMany(ctx, keys)
	var perKey KeyErrors[K]
	isPerKey := errors.As(err, &perKey)
	out := make([]loaded[V], len(jobs))
	for i, k := range keys {
		v, ok := values[k]
		switch {
		case isPerKey && perKey[k] != nil:
			out[i].err = perKey[k]
		case ok:
			out[i].v = v
		case err != nil && !isPerKey:
			out[i].err = err
		default:
			out[i].err = ErrNotFound
		}
	}
	return out
}

// load calls the loader for the jobs and ends them. The load has a deadline of
// its own, and the jobs end at it even if the loader does not heed it: then
// only the loader's place stays taken until it returns.
func (c *Cache[K, V]) load(ctx context.Context, jobs []*job[K, V], loader jobLoader[K, V]) {
	start := time.Now()
	due := start.Add(c.opts.LoadTimeout)
	within := deadline.With(context.WithoutCancel(ctx), due, errLoadTimeout)
	defer within.Stop()
	const queued, running, ended = 0, 1, 2
	var l struct {
		limit deadline.Entry
		stage atomic.Uint32 // who moves it from running to ended has the jobs to end
	}
	l.limit.End = func(late bool) {
		err := error(errLoadTimeout)
		if !late {
			err = context.Canceled
			within.Stop()
		}
		if !l.stage.CompareAndSwap(queued, ended) && l.stage.CompareAndSwap(running, ended) {
			c.n.loadFailures.Add(1)
			c.loaded(jobs, failAll[V](len(jobs), err), time.Since(start))
		}
	}
	c.limits.Add(&l.limit, due)
	defer c.limits.Remove(&l.limit)

	err := c.takePlace(within)
	for _, j := range jobs {
		j.asOf = c.flights.Now() // not once it runs: then End may read it
	}
	if err == nil && !l.stage.CompareAndSwap(queued, running) {
		c.places.leave()
		err = errors.Join(ErrOverloaded, context.Cause(within))
	}
	if err != nil {
		c.loaded(jobs, failAll[V](len(jobs), err), time.Since(start))
		return
	}
	c.n.loads.Add(1)
	var out []loaded[V]
	defer func() { // deferred, since a loader may end the goroutine
		c.places.leave()
		if l.stage.CompareAndSwap(running, ended) {
			took := time.Since(start)
			if failure(out) != nil {
				c.n.loadFailures.Add(1)
			}
			c.loaded(jobs, out, took)
		}
	}()
	c.call(len(jobs), &out, func() []loaded[V] { return loader.load(within, jobs) })
}

// errLoadTimeout is the load's deadline, told from the caller's own.
var errLoadTimeout = &loadTimeoutError{}

type loadTimeoutError struct{}

func (*loadTimeoutError) Error() string        { return "aside: load took longer than LoadTimeout" }
func (*loadTimeoutError) Timeout() bool        { return true }
func (*loadTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

func failAll[V any](n int, err error) []loaded[V] {
	return slices.Repeat([]loaded[V]{{err: err}}, n)
}

// takePlace takes one of the places for loaders, or waits for one in the queue.
func (c *Cache[K, V]) takePlace(ctx context.Context) error {
	err := c.places.take(ctx)
	if err == ErrOverloaded { // it did not wait
		c.n.overloads.Add(1)
	}
	return err
}

// call runs a loader for n keys, and makes an answer of a panic or a
// runtime.Goexit.
func (c *Cache[K, V]) call(n int, out *[]loaded[V], load func() []loaded[V]) {
	start := time.Now()
	returned := false
	defer func() {
		if !returned {
			p := recover()
			if p == nil {
				p = "loader called runtime.Goexit"
			}
			*out = failAll[V](n, &PanicError{Value: p, Stack: debug.Stack()})
		}
		if c.opts.OnLoad != nil {
			c.opts.OnLoad(time.Since(start), failure(*out))
		}
	}()
	*out = load()
	returned = true
}

// loaded hands the loader's answers out, then stores them where they may be.
func (c *Cache[K, V]) loaded(jobs []*job[K, V], out []loaded[V], took time.Duration) {
	var leased []*job[K, V]
	for i, j := range jobs {
		j.ans.Source, j.ans.LoadTime = SourceLoad, took
		l := out[i]
		switch {
		case l.err == nil:
			j.ans.Value = l.v
		case errors.Is(l.err, ErrNotFound):
			j.ans.Negative, j.ans.Err = true, ErrNotFound
		default:
			j.ans.Err = l.err
			if v, _, err := c.decode(j.stale); j.stale != nil && err == nil {
				j.ans.Value, j.ans.Err, j.ans.loadErr = v, nil, l.err
				j.ans.Stale, j.ans.Source = true, SourceL2
			}
		}
		ok := c.stores(j)
		if j.ans.Err == nil && !j.ans.Stale || j.ans.Negative {
			c.overtake(j)
		}
		trust := flight.TrustNone
		switch {
		case j.how == fillLeased:
			// Before the fill: those who came before this load need no proof,
			// and so do not wait for it.
			c.settle(j)
			leased = append(leased, j)
			continue
		case j.how == fillDegraded && ok:
			c.insertL1(j, min(c.opts.L1TTL, c.opts.DegradedL1TTL))
			trust = flight.TrustLocal
		case j.how == fillL1 && ok:
			c.insertL1(j, min(c.opts.L1TTL, c.ttl(j.ans.Negative)))
			trust = flight.TrustLocal
		}
		c.settle(j)
		c.finish(j, trust)
	}
	switch len(leased) {
	case 0:
	case 1: // together with those of other loads
		c.life.more(1) // the load's own registration holds Close up
		j := leased[0]
		g := &c.toFill
		if !c.stores(j) {
			g = &c.toAbandon
		}
		g.add(c.tier.partition(j.l2key), j, c.fillGathered)
	default:
		c.fill(leased)
	}
}

// failure returns one of the errors that are not ErrNotFound.
func failure[V any](out []loaded[V]) error {
	for _, l := range out {
		if l.err != nil && !errors.Is(l.err, ErrNotFound) {
			return l.err
		}
	}
	return nil
}

// stores reports whether a job's answer is to be kept in L2.
func (c *Cache[K, V]) stores(j *job[K, V]) bool {
	return j.ans.Err == nil && !j.ans.Stale || j.ans.Negative && c.opts.NegativeTTL > 0
}

// fill stores the answers of loads under their leases, or gives the leases
// back, and ends the jobs.
func (c *Cache[K, V]) fill(jobs []*job[K, V]) {
	var (
		fills             []FillRequest
		filled, abandoned []*job[K, V]
		abandons          []AbandonRequest
	)
	for _, j := range jobs {
		if req, ok := c.fillRequest(j); ok {
			fills = append(fills, req)
			filled = append(filled, j)
			continue
		}
		a := AbandonRequest{Key: j.l2key, Lease: j.lease}
		if left := time.Until(j.staleUntil); j.ans.Stale && left > 0 {
			a.Restore, a.TTL = j.stale, left
		}
		abandons = append(abandons, a)
		abandoned = append(abandoned, j)
	}
	if len(fills) > 0 {
		for i, r := range c.tier.fill(fills) {
			c.filled(filled[i], r, fills[i].TTL)
		}
	}
	if len(abandons) > 0 {
		if err := c.tier.abandon(abandons); err != nil {
			for _, a := range abandons {
				c.orphans.add(a)
			}
			c.recover()
		}
		// Not before the lease is gone: those who try again would wait for it.
		for _, j := range abandoned {
			c.finish(j, flight.TrustNone)
		}
	}
}

// fillGathered is fill for jobs of several loads. It is not the loads' goroutines
// that encode: each would have its stack grown for that.
func (c *Cache[K, V]) fillGathered(jobs []*job[K, V]) {
	defer c.life.leave(len(jobs))
	c.fill(jobs)
}

// fillRequest makes the request that stores a job's answer, if it is to be stored
// and can be.
func (c *Cache[K, V]) fillRequest(j *job[K, V]) (req FillRequest, ok bool) {
	if !c.stores(j) {
		return req, false
	}
	entry, err := c.encode(j.ans.Value, j.ans.Negative, j.lease)
	if err != nil {
		c.warn.do(func() { c.log.Error("a value cannot be encoded for L2", "l2_key", j.l2key, "error", err) })
		return req, false
	}
	return FillRequest{Key: j.l2key, Lease: j.lease, Entry: entry, TTL: c.ttl(j.ans.Negative) + c.staleFor(j.ans.Negative)}, true
}

// filled ends a job whose answer was to be stored in L2 for ttl.
func (c *Cache[K, V]) filled(j *job[K, V], r FillResult, ttl time.Duration) {
	trust := flight.TrustNone
	switch {
	case r.Stored:
		c.insertL1(j, min(c.opts.L1TTL, ttl-c.staleFor(j.ans.Negative)))
		trust = flight.TrustAll
	case r.Err == nil:
		c.n.fillsRefused.Add(1)
	default: // also with the breaker open: the lease was granted before that
		c.orphan(j)
	}
	c.finish(j, trust)
}

// ttl returns a TTL shortened by the jitter.
func (c *Cache[K, V]) ttl(negative bool) time.Duration {
	d := c.opts.TTL
	if negative {
		d = c.opts.NegativeTTL
	}
	return max(d-time.Duration(c.opts.Jitter*rand.Float64()*float64(d)), time.Millisecond)
}

func (c *Cache[K, V]) staleFor(negative bool) time.Duration {
	if negative {
		return 0
	}
	return c.opts.StaleFor
}
