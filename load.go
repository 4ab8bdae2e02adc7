package aside

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/flight"
)

// callLoader calls the application's loader for jobs of one read.
func (c *Cache[K, V]) callLoader(ctx context.Context, jobs []*job[K, V]) []loaded[V] {
	j := jobs[0]
	if j.bulk != nil {
		return c.callBulkLoader(ctx, j.bulk.loader, jobs)
	}
	if e, ok := j.loader.(EntryLoader[K, V]); ok {
		old := c.previous(ctx, j)
		l, err := e.LoadEntry(ctx, j.key, old.Previous)
		return []loaded[V]{c.entry(j.key, l, err, old)}
	}
	v, err := j.loader.Load(ctx, j.key)
	return []loaded[V]{c.plain(j.key, v, err)}
}

func (c *Cache[K, V]) callBulkLoader(ctx context.Context, loader BulkLoader[K, V], jobs []*job[K, V]) []loaded[V] {
	keys := make([]K, len(jobs))
	for i, j := range jobs {
		keys[i] = j.key
	}
	if e, ok := loader.(BulkEntryLoader[K, V]); ok {
		var old map[K]before[V]
		var given map[K]Previous[V]
		for _, j := range jobs {
			if b := c.previous(ctx, j); b.OK {
				if old == nil {
					old, given = make(map[K]before[V]), make(map[K]Previous[V])
				}
				old[j.key], given[j.key] = b, b.Previous
			}
		}
		all, err := e.LoadEntries(ctx, keys, given)
		return eachLoaded(jobs, all, err, func(key K, l Loaded[V], err error) loaded[V] { return c.entry(key, l, err, old[key]) })
	}
	values, err := loader.LoadMany(ctx, keys)
	return eachLoaded(jobs, values, err, c.plain)
}

// eachLoaded gives each job what a bulk loader has returned for it.
func eachLoaded[K comparable, V, R any](jobs []*job[K, V], all map[K]R, err error, one func(key K, r R, err error) loaded[V]) []loaded[V] {
	var perKey KeyErrors[K]
	isPerKey := errors.As(err, &perKey)
	out := make([]loaded[V], len(jobs))
	for i, j := range jobs { // not keys, which the loader may have changed
		r, ok := all[j.key]
		var failed error
		switch {
		case isPerKey && perKey[j.key] != nil:
			failed = perKey[j.key]
		case ok:
		case err != nil && !isPerKey:
			failed = err
		default:
			failed = ErrNotFound
		}
		out[i] = one(j.key, r, failed)
	}
	return out
}

// running is one load. It is the context of its loader too.
type running[K comparable, V any] struct {
	*deadline.Context
	nest   nest
	jobs   []*job[K, V]
	all    []*job[K, V]    // that it began with
	parent context.Context // of its first job
	op     *operation
	limit  deadline.Entry
	gone   atomic.Bool   // see left
	stage  atomic.Uint32 // who moves it from loadRuns to loadEnded has the jobs to end
}

const (
	loadQueued = iota
	loadRuns
	loadEnded
)

// left says that the cache need not wait for the load any more.
func (r *running[K, V]) left(l *inflight) {
	if r.gone.CompareAndSwap(false, true) {
		l.done(1)
	}
}

// unneeded reports whether nobody waits for what is loaded in the background.
func (r *running[K, V]) unneeded() bool { return unneeded(r.all) }

func unneeded[K comparable, V any](jobs []*job[K, V]) bool {
	return !slices.ContainsFunc(jobs, func(j *job[K, V]) bool {
		return !j.ahead && !j.call.Answered() || !j.call.Unneeded()
	})
}

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
	c.loadUntil(jobs, time.Now().Add(c.opts.LoadTimeout), &c.limits)
}

// loadUntil is load with another deadline, which limits sees to.
func (c *Cache[K, V]) loadUntil(jobs []*job[K, V], due time.Time, limits limiting) {
	if jobs = c.beforeLoad(jobs); len(jobs) == 0 {
		return
	}
	defer c.softly(jobs)()
	parent := jobs[0].ctx
	start := time.Now()
	l := &running[K, V]{Context: deadline.With(context.WithoutCancel(parent), due, errLoadTimeout), jobs: jobs, all: jobs, parent: parent}
	l.nest = nest{cache: c, load: l, outer: nestOf(parent)}
	c.inflight.add(1) // on behalf of the jobs, which may end before the loader returns
	defer l.left(&c.inflight)
	l.limit.Owner = l
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
			if l.unneeded() {
				defer l.left(&c.inflight) // after the jobs' ends
			}
		}
		if !l.stage.CompareAndSwap(loadQueued, loadEnded) && l.stage.CompareAndSwap(loadRuns, loadEnded) {
			c.n.loadFailures.Add(1)
			c.loaded(l.jobs, errorForAll[V](len(l.jobs), err), time.Since(start))
		}
	}
	limits.Add(&l.limit, due)
	defer limits.Remove(&l.limit)
	if c.inflight.closed() && l.unneeded() {
		l.limit.End(false)
	}

	limiter, err := c.acquireSlot(l)
	if len(l.jobs) == 0 {
		return
	}
	if err == nil && !c.stampLoad(l) {
		limiter.release()
		err = context.Cause(l)
	}
	for _, j := range l.jobs {
		j.asOf = c.flights.Now() // not once it runs: then End may read it
	}
	if err == nil {
		c.startLoad(l)
	}
	if err == nil && !l.stage.CompareAndSwap(loadQueued, loadRuns) {
		limiter.release()
		err = errors.Join(ErrOverloaded, context.Cause(l))
	}
	if err != nil {
		if errors.Is(err, ErrOverloaded) && !c.inflight.closed() {
			c.n.overloads.Add(1)
		}
		c.endOp(l.op, OpResult{Err: err})
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
		if l.jobs = c.dropAbandoned(l.jobs); len(l.jobs) == 0 {
			return nil, nil
		}
	}
}

// errDropped is for those who have all left before their load began.
var errDropped = fmt.Errorf("aside: nobody waits for the load any more: %w", context.Canceled)

// dropAbandoned ends the jobs that nobody waits for, and returns the others.
func (c *Cache[K, V]) dropAbandoned(jobs []*job[K, V]) (left []*job[K, V]) {
	var dropped []*job[K, V]
	for _, j := range jobs {
		if j.call.Drop() {
			dropped = append(dropped, j)
		} else {
			left = append(left, j)
		}
	}
	if len(dropped) == 0 {
		return jobs
	}
	c.n.dropped.Add(uint64(len(dropped)))
	c.loaded(dropped, errorForAll[V](len(dropped), errDropped), 0)
	return left
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
		for i := range *out {
			(*out)[i].err = sound((*out)[i].err)
		}
		c.onLoad(time.Since(start), failure(*out))
		endLoad(c, l, *out)
	}()
	*out = c.callLoader(l.op.context(l), l.jobs)
	returned = true
}

// loaded hands the loader's answers out, then stores them where they may be.
func (c *Cache[K, V]) loaded(jobs []*job[K, V], out []loaded[V], took time.Duration) {
	var leased, apart []*job[K, V]
	for i, j := range jobs {
		j.ans.Source, j.ans.LoadTime = SourceLoad, took
		j.loadedAt = c.flights.Now()
		l := out[i]
		if c.loadsAlone(j, l.err) || j.hedges != nil && !c.hedgeAnswers(j, l.err) {
			continue
		}
		j.told = l.told
		j.told.noStore = l.noStore || !j.keeps()
		c.mark(&j.told, j.stamp, j.stamped)
		switch {
		case l.err == nil:
			j.ans.Value, j.ans.Version, j.ans.Tags, j.ans.Node = l.v, l.version, l.tags, c.node
		case errors.Is(l.err, ErrNotFound):
			j.ans.Negative, j.ans.Err, j.ans.Tags, j.ans.Node = true, ErrNotFound, l.tags, c.node
		default:
			j.ans.Err = l.err
			c.insteadOfLoad(j, l.err)
		}
		c.refreshed(j, l.err)
		c.sawLoad(j, took, l.err)
		ok := c.stores(j) && !c.olderThanKept(j)
		c.setLife(j, ok)
		if j.ans.Err == nil && !j.ans.Stale || j.ans.Negative {
			c.overtakeIfBehind(j)
		}
		trust := flight.TrustNone
		switch {
		case j.mode == fillLeased:
			// Before the fill: those who came before this load need no proof,
			// and so do not wait for it. But for a Refresh, see closeFilled.
			if !j.refreshes() {
				c.publishAnswer(j)
			}
			leased = append(leased, j)
			continue
		case j.refreshes() && j.overtaken(): // L2 may have, or get, what is older
			apart = append(apart, j)
			continue
		case j.mode == fillDegraded && ok:
			c.sawInsert(j, c.insertL1(j, j.ttl))
			trust = flight.TrustLocal
		case j.mode == fillElsewhere && ok:
			c.sawInsert(j, c.insertL1(j, j.ttl))
			trust = flight.TrustLocal
		case j.mode == fillL1 && ok:
			c.sawInsert(j, c.insertL1(j, j.ttl))
			trust = flight.TrustLocal
		}
		c.publishAnswer(j)
		c.closeJob(j, trust)
	}
	c.dropOvertaken(apart)
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

// setLife says how long the job's answer is to live, in L2 if it is to be stored there and
// in L1 otherwise.
func (c *Cache[K, V]) setLife(j *job[K, V], stores bool) {
	switch {
	case !stores || j.mode == fillNothing:
		return
	case j.mode == fillDegraded:
		j.ttl = c.l1TTL(c.opts.DegradedL1TTL, j.told)
	case j.mode == fillElsewhere:
		j.ttl = c.l1TTL(time.Until(j.until), j.told)
	case j.mode == fillL1:
		j.ttl = min(c.opts.L1TTL, c.ttl(j.ans.Negative, j.told))
	default:
		j.ttl = c.ttl(j.ans.Negative, j.told)
	}
	j.ans.Left = max(0, j.ttl)
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
