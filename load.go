package aside

import (
	"context"
	"errors"
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

// callLoader calls the application's loader for jobs of one read.
func callLoader[K comparable, V any](ctx context.Context, jobs []*job[K, V]) []loaded[V] {
	if b := jobs[0].bulk; b != nil {
		return callBulkLoader(ctx, b.loader, jobs)
	}
	v, err := jobs[0].loader.Load(ctx, jobs[0].key)
	return []loaded[V]{{v, err}}
}

func callBulkLoader[K comparable, V any](ctx context.Context, loader BulkLoader[K, V], jobs []*job[K, V]) []loaded[V] {
	keys := make([]K, len(jobs))
	for i, j := range jobs {
		keys[i] = j.key
	}
	values, err := loader.LoadMany(ctx, keys)
	var perKey KeyErrors[K]
	isPerKey := errors.As(err, &perKey)
	out := make([]loaded[V], len(jobs))
	for i, j := range jobs { // not keys, which the loader may have changed
		v, ok := values[j.key]
		switch {
		case isPerKey && perKey[j.key] != nil:
			out[i].err = perKey[j.key]
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

// running is one load. It is the context of its loader too.
type running[K comparable, V any] struct {
	*deadline.Context
	nest  nest
	jobs  []*job[K, V]
	limit deadline.Entry
	stage atomic.Uint32 // who moves it from loadRuns to loadEnded has the jobs to end
}

const (
	loadQueued = iota
	loadRuns
	loadEnded
)

// Value implements context.Context.
func (r *running[K, V]) Value(key any) any {
	if key == (nestKey{}) {
		return &r.nest
	}
	return r.Context.Value(key)
}

// load calls the loader for the jobs and ends them. The load has a deadline of
// its own, and the jobs end at it even if the loader does not heed it: then
// only the loader's slot stays taken until it returns.
func (c *Cache[K, V]) load(jobs []*job[K, V]) {
	c.inflight.add(1) // on behalf of the jobs, which may end before the loader returns
	defer c.inflight.done(1)
	parent := jobs[0].ctx
	start := time.Now()
	due := start.Add(c.opts.LoadTimeout)
	l := &running[K, V]{Context: deadline.With(context.WithoutCancel(parent), due, errLoadTimeout), jobs: jobs}
	l.nest = nest{cache: c, load: l, outer: nestOf(parent)}
	if o := l.nest.outer; o != nil {
		l.nest.wait.Outer = &o.wait
	}
	for _, j := range jobs {
		j.call.LoadedBy(&l.nest.wait)
	}
	defer l.Stop()
	l.limit.End = func(late bool) {
		err := error(errLoadTimeout)
		if !late {
			err = ErrClosed
			l.Stop()
		}
		if !l.stage.CompareAndSwap(loadQueued, loadEnded) && l.stage.CompareAndSwap(loadRuns, loadEnded) {
			c.n.loadFailures.Add(1)
			c.loaded(l.jobs, errorForAll[V](len(l.jobs), err), time.Since(start))
		}
	}
	c.limits.Add(&l.limit, due)
	defer c.limits.Remove(&l.limit)

	limiter, err := c.acquireSlot(l)
	if len(l.jobs) == 0 {
		return
	}
	for _, j := range l.jobs {
		j.asOf = c.flights.Now() // not once it runs: then End may read it
	}
	if err == nil && !l.stage.CompareAndSwap(loadQueued, loadRuns) {
		limiter.release()
		err = errors.Join(ErrOverloaded, context.Cause(l))
	}
	if err != nil {
		c.loaded(l.jobs, errorForAll[V](len(l.jobs), err), time.Since(start))
		return
	}
	c.n.loads.Add(1)
	var out []loaded[V]
	defer func() { // deferred, since a loader may end the goroutine
		limiter.release()
		if l.stage.CompareAndSwap(loadRuns, loadEnded) {
			if failure(out) != nil {
				c.n.loadFailures.Add(1)
			}
			c.loaded(l.jobs, out, time.Since(start))
		}
	}()
	c.call(l, &out)
}

// errLoadTimeout is the load's deadline, told from the caller's own.
var errLoadTimeout = &loadTimeoutError{}

type loadTimeoutError struct{}

func (*loadTimeoutError) Error() string        { return "aside: load took longer than LoadTimeout" }
func (*loadTimeoutError) Timeout() bool        { return true }
func (*loadTimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

func errorForAll[V any](n int, err error) []loaded[V] {
	return slices.Repeat([]loaded[V]{{err: err}}, n)
}

// acquireSlot takes one of the slots for loaders, or waits for one in the queue. It
// ends those of the load's jobs whose callers have all left by then.
func (c *Cache[K, V]) acquireSlot(l *running[K, V]) (*loadLimiter, error) {
	var wake chan struct{} // once it has to wait
	for {
		s := c.limiterOf(c.levelOf(l))
		queued, err := s.acquire()
		if err != nil {
			c.n.overloads.Add(1)
			return nil, err
		}
		if !queued {
			return s, nil
		}
		if wake == nil {
			wake = make(chan struct{}, 1)
			for _, j := range l.jobs {
				j.call.Notify(wake)
			}
		}
		if err := s.wait(l, wake); err != errWoken {
			return s, err
		}
		if c.dropAbandoned(l); len(l.jobs) == 0 {
			return nil, nil
		}
	}
}

// dropAbandoned ends the jobs that nobody waits for.
func (c *Cache[K, V]) dropAbandoned(l *running[K, V]) {
	var left, dropped []*job[K, V]
	for _, j := range l.jobs {
		if j.call.Drop() {
			dropped = append(dropped, j)
		} else {
			left = append(left, j)
		}
	}
	if len(dropped) == 0 {
		return
	}
	c.n.dropped.Add(uint64(len(dropped)))
	l.jobs = left
	c.loaded(dropped, errorForAll[V](len(dropped), context.Canceled), 0)
}

// call runs the loader, and makes an answer of a panic or a runtime.Goexit.
func (c *Cache[K, V]) call(l *running[K, V], out *[]loaded[V]) {
	start := time.Now()
	returned := false
	defer func() {
		if !returned {
			p := recover()
			if p == nil {
				p = errGoexit
			}
			*out = errorForAll[V](len(l.jobs), &PanicError{Callback: "loader", Value: p, Stack: debug.Stack()})
		}
		c.onLoad(time.Since(start), failure(*out))
	}()
	*out = callLoader(l, l.jobs)
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
			j.ans.Version, _ = c.version(l.v)
		case errors.Is(l.err, ErrNotFound):
			j.ans.Negative, j.ans.Err = true, ErrNotFound
		default:
			j.ans.Err = l.err
			if j.stale != nil && c.opts.StaleFor > 0 {
				if v, e, err := c.decode(j.key, j.stale); err == nil && !e.Elsewhere {
					j.ans.Value, j.ans.Version, j.ans.Err, j.ans.loadErr = v, e.Version, nil, l.err
					j.ans.Stale, j.ans.Source, j.ans.Miss = true, SourceL2, MissNone
				}
			}
		}
		ok := c.stores(j)
		if j.ans.Err == nil && !j.ans.Stale || j.ans.Negative {
			c.overtakeIfBehind(j)
		}
		trust := flight.TrustNone
		switch {
		case j.mode == fillLeased:
			// Before the fill: those who came before this load need no proof,
			// and so do not wait for it.
			c.publishAnswer(j)
			leased = append(leased, j)
			continue
		case j.mode == fillDegraded && ok:
			c.insertL1(j, min(c.opts.L1TTL, c.opts.DegradedL1TTL))
			trust = flight.TrustLocal
		case j.mode == fillElsewhere && ok:
			c.insertL1(j, min(c.opts.L1TTL, time.Until(j.until)))
			trust = flight.TrustLocal
		case j.mode == fillL1 && ok:
			c.insertL1(j, min(c.opts.L1TTL, c.ttl(j.ans.Negative)))
			trust = flight.TrustLocal
		}
		c.publishAnswer(j)
		c.closeJob(j, trust)
	}
	switch len(leased) {
	case 0:
	case 1: // together with those of other loads
		j := leased[0]
		b := &c.fills
		if !c.stores(j) {
			b = &c.abandons
		}
		b.add(c.l2.partition(j.l2key), j, c.fillBatch)
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
