package aside

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/asidecache/aside/internal/deadline"
)

// BulkLimits says how keys are put together into calls of a BulkLoader.
type BulkLimits struct {
	// MaxKeys is how many keys one call of a BulkLoader gets at most. It also applies to a
	// loader that GetMany or ReadMany was given. A read of more keys makes several calls, at
	// most half of MaxLoads of them at once. Default 1000.
	MaxKeys int

	// Wait is how long the first miss waits for others, so that more of them become one
	// call of Options.BulkLoader. A call with MaxKeys keys does not wait. Each miss then
	// takes up to Wait longer. Wait is not part of LoadTimeout. Default 0: only misses that
	// come at the same moment are loaded together. Negative: single reads are loaded one by
	// one, with Options.Loader if there is one. At most LoadTimeout.
	Wait time.Duration
}

func (l *BulkLimits) withDefaults(loadTimeout time.Duration, count func(string, *int, int, bool), fault func(string, ...any)) {
	count("Bulk.MaxKeys", &l.MaxKeys, 1000, false)
	if l.Wait > loadTimeout && loadTimeout > 0 {
		fault("Bulk.Wait is %v, longer than LoadTimeout, %v", l.Wait, loadTimeout)
	}
}

// ownLoader returns what a read of one key loads with: loader, or else the cache's own.
// own: the read may be loaded together with others, by Options.BulkLoader.
func (c *Cache[K, V]) ownLoader(loader Loader[K, V]) (_ Loader[K, V], own bool, err error) {
	if loader != nil {
		return loader, false, nil
	}
	loader, own = c.opts.Loader, c.opts.BulkLoader != nil
	if loader == nil && !own {
		err = ErrNoLoader
	}
	return loader, own, err
}

// ownBulkLoader is the same for a read of several keys. bulk has no loader if they
// are to be loaded one by one, with single.
func (c *Cache[K, V]) ownBulkLoader(loader BulkLoader[K, V]) (bulk BulkLoader[K, V], single Loader[K, V], err error) {
	if loader == nil {
		loader = c.opts.BulkLoader
	}
	if loader == nil {
		if single = c.opts.Loader; single == nil {
			err = ErrNoLoader
		}
	}
	return loader, single, err
}

// gathering is a bulk load to be, of single reads.
type gathering[K comparable, V any] struct {
	jobs []*job[K, V]
	full chan struct{} // closed when it has MaxKeys keys
}

// gatherings are those that others can join. Only the reads of one loader, or those
// of no loader, are put together: such a load has one place in the chain of loads that
// wait for each other (see nest), and one level.
type gatherings[K comparable, V any] struct {
	mu   sync.Mutex
	open map[*nest]*gathering[K, V]
}

// gather takes those jobs out that may be loaded together with others, and has them
// loaded. It returns the rest.
func (c *Cache[K, V]) gather(jobs []*job[K, V]) (rest []*job[K, V]) {
	if !slices.ContainsFunc(jobs, func(j *job[K, V]) bool { return j.own }) {
		return jobs
	}
	if c.opts.Bulk.Wait > 0 {
		jobs = c.beforeLoad(jobs) // stale values do not wait for others
	}
	g := &c.gathered
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range jobs {
		if !j.own {
			rest = append(rest, j)
			continue
		}
		x := g.open[j.outer]
		if x == nil {
			x = &gathering[K, V]{full: make(chan struct{})}
			if g.open == nil {
				g.open = make(map[*nest]*gathering[K, V])
			}
			g.open[j.outer] = x
			go c.loadGathered(j.outer, x)
		}
		if x.jobs = append(x.jobs, j); len(x.jobs) >= c.opts.Bulk.MaxKeys || c.opts.Bulk.Wait < 0 {
			delete(g.open, j.outer)
			close(x.full)
		}
	}
	return rest
}

// loadGathered loads what x has gathered until it is full, or its time is over.
func (c *Cache[K, V]) loadGathered(outer *nest, x *gathering[K, V]) {
	wait := c.opts.Bulk.Wait
	if wait > 0 {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-x.full:
		case <-c.inflight.closing:
		}
		timer.Stop()
	} else {
		runtime.Gosched() // to those who are about to come
	}
	g := &c.gathered
	g.mu.Lock()
	if g.open[outer] == x {
		delete(g.open, outer)
	}
	jobs := x.jobs
	g.mu.Unlock()
	if wait > 0 {
		jobs = c.dropAbandoned(jobs)
	}
	switch n := len(jobs); {
	case n == 0:
		return
	case n > 1:
		bulk := &bulkRead[K, V]{loader: c.opts.BulkLoader, gathered: true}
		for _, j := range jobs {
			j.bulk = bulk
		}
		c.n.batchedLoads.Add(1)
		c.n.batchedKeys.Add(uint64(n))
	case jobs[0].loader == nil:
		jobs[0].bulk = &bulkRead[K, V]{loader: c.opts.BulkLoader}
	}
	c.load(jobs)
}

// loadsAlone loads a job once more, alone, if it was loaded together with others and
// that load had to wait for itself: a loader that reads other keys of its cache may
// have met one of those. A single read does not fail because of who came with it.
func (c *Cache[K, V]) loadsAlone(j *job[K, V], err error) bool {
	if j.bulk == nil || !j.bulk.gathered || !errors.Is(err, ErrNestedLoad) {
		return false
	}
	if j.bulk = nil; j.loader == nil {
		j.bulk = &bulkRead[K, V]{loader: c.opts.BulkLoader}
	}
	go c.load([]*job[K, V]{j})
	return true
}

// loadMany loads the jobs of a read of several keys.
func (c *Cache[K, V]) loadMany(jobs []*job[K, V]) {
	size, level := c.opts.Bulk.MaxKeys, jobs[0].bulk.level
	if jobs[0].bulk.loader == nil {
		size = 1
		for _, j := range jobs {
			j.bulk = nil
		}
	}
	if len(jobs) <= size {
		c.load(jobs)
		return
	}
	if jobs = c.beforeLoad(jobs); len(jobs) == 0 {
		return
	}
	defer c.softly(jobs)()
	g := &loadGroup[K, V]{all: jobs, left: slices.Collect(slices.Chunk(jobs, size)), runs: make(map[*deadline.Entry]struct{})}
	g.start = time.Now()
	g.due = g.start.Add(c.opts.LoadTimeout)
	g.limit.End, g.limit.Owner = func(late bool) { g.end(c, late) }, g
	c.limits.Add(&g.limit, g.due)
	var wg sync.WaitGroup
	workers := min(len(g.left), max(1, c.opts.MaxLoads/2))
	if workers < len(g.left) {
		g.wake, g.empty = make(chan struct{}, 1), make(chan struct{})
		for _, j := range jobs {
			j.call.Notify(g.wake)
		}
		wg.Go(func() { g.workOnNested(c, level, &wg) })
	}
	for range workers - 1 {
		wg.Go(func() { g.work(c) })
	}
	g.work(c)
	wg.Wait()
	c.limits.Remove(&g.limit)
}

// loadGroup is the loads of one read of several keys. Some of them run; the others wait
// here, and not in the queue for slots, where they would be in the way of other reads.
// They end together, at LoadTimeout.
type loadGroup[K comparable, V any] struct {
	all        []*job[K, V]
	start, due time.Time
	limit      deadline.Entry

	mu    sync.Mutex
	left  [][]*job[K, V]
	runs  map[*deadline.Entry]struct{} // the loads that run
	ended bool
	late  bool // why it has ended

	// Of a group with loads that wait: wake receives when one of their flights has other
	// callers than before, and empty is closed when none waits any more.
	wake, empty chan struct{}
}

func (g *loadGroup[K, V]) unneeded() bool { return unneeded(g.all) }

// work runs one load after the other.
func (g *loadGroup[K, V]) work(c *Cache[K, V]) {
	for first := true; ; first = false {
		g.mu.Lock()
		if len(g.left) == 0 {
			g.mu.Unlock()
			return
		}
		jobs := g.left[0]
		g.setLeft(g.left[1:])
		g.mu.Unlock()
		if !first {
			jobs = c.dropAbandoned(jobs)
		}
		if len(jobs) > 0 {
			c.loadUntil(jobs, g.due, g)
		}
	}
}

// setLeft is called with the lock.
func (g *loadGroup[K, V]) setLeft(left [][]*job[K, V]) {
	if len(g.left) > 0 && len(left) == 0 && g.empty != nil {
		close(g.empty)
	}
	g.left = left
}

// workOnNested runs the loads for which the loader of another load waits, as soon as it
// does: the workers may all run such loaders. level is that of the read.
func (g *loadGroup[K, V]) workOnNested(c *Cache[K, V], level int, wg *sync.WaitGroup) {
	nested := func(j *job[K, V]) bool { return j.call.Level() > level }
	for {
		select {
		case <-g.wake:
		case <-g.empty:
			return
		}
		var run, left [][]*job[K, V]
		g.mu.Lock()
		for _, jobs := range g.left {
			if slices.ContainsFunc(jobs, nested) {
				run = append(run, jobs)
			} else {
				left = append(left, jobs)
			}
		}
		g.setLeft(left)
		g.mu.Unlock()
		for _, jobs := range run {
			if jobs = c.dropAbandoned(jobs); len(jobs) > 0 {
				wg.Go(func() { c.loadUntil(jobs, g.due, g) })
			}
		}
	}
}

// Add and Remove are called by the loads: see limiting.
func (g *loadGroup[K, V]) Add(e *deadline.Entry, _ time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		go e.End(g.late)
		return
	}
	g.runs[e] = struct{}{}
}

func (g *loadGroup[K, V]) Remove(e *deadline.Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.runs, e)
}

// end gives up on all loads, whatever their loaders do.
func (g *loadGroup[K, V]) end(c *Cache[K, V], late bool) {
	g.mu.Lock()
	g.ended, g.late = true, late
	left := slices.Concat(g.left...)
	g.setLeft(nil)
	for e := range g.runs {
		go e.End(late)
	}
	clear(g.runs)
	g.mu.Unlock()
	if len(left) == 0 {
		return
	}
	err := error(errLoadTimeout)
	if !late {
		err = ErrClosed
	}
	c.loaded(left, errorForAll[V](len(left), err), time.Since(g.start))
}

// limiting ends loads that take too long: a deadline.Queue, or a loadGroup.
type limiting interface {
	Add(e *deadline.Entry, due time.Time)
	Remove(e *deadline.Entry)
}
