package aside

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/internal/flight"
)

// read is a read that L1 did not answer.
//
// A caller takes the result of a flight only if that is as good as a read of
// its own: if the read behind it began after the caller came (asOf > ticket); or
// if the caller came before the read ended and the value's fill was accepted,
// since a lease that survived from before the read until after the caller came
// proves that no write was acknowledged in between; or, for a default read, if
// the key was not invalidated between the beginning of the flight and the moment
// it joined, since then no write of this process came between. Otherwise it reads
// again, in a flight that begins after it came: so it waits for two at most.
func (c *Cache[K, V]) read(ctx context.Context, key K, loader Loader[K, V], mode Mode) (answer Result[V]) {
	op := c.startOp(ctx, OpRead, mode, key)
	if op != nil {
		ctx = op.ctx
		defer func() { c.endOp(op, OpResult{Info: answer.Info, Err: answer.Err}) }()
	}
	if err := ctx.Err(); err != nil {
		return c.failed(err)
	}
	if err := checkKeys(key); err != nil {
		return c.failed(err)
	}
	loader, own, err := c.ownLoader(loader)
	if err != nil {
		return c.failed(err)
	}
	outer := nestOf(ctx)
	nested, err := c.admit(outer, key)
	if err != nil {
		return c.failed(err)
	}
	q := query[K, V]{ctx: ctx, op: op, outer: outer, nested: nested, mode: c.effective(mode), ticket: c.flights.Now(), began: c.watchClock(), loader: loader, own: own}
	for {
		s, r, done := c.join(&q, key)
		if done {
			return r
		}
		if s.led != nil {
			c.startRead(s.led)
		}
		if r, ok := c.wait(&q, key, s); ok {
			c.sawRead(&q, key, &r)
			return r
		}
	}
}

// query is one call that reads: of one key, or of several.
type query[K comparable, V any] struct {
	ctx    context.Context
	op     *operation
	outer  *nest // of ctx
	nested int   // how deeply, see nest
	mode   Mode
	ticket flight.Ticket   // when it came
	began  time.Time       // likewise, if somebody watched then
	loader Loader[K, V]    // of one key
	own    bool            // see ownLoader
	bulk   *bulkRead[K, V] // of several
}

// seat is a caller's place in a flight.
type seat[K comparable, V any] struct {
	call *flight.Call[answer[V]]
	led  *job[K, V] // if the caller leads it
}

// join has the caller join the key's flight, or lead a new one: then it must start the
// job. done: r is the answer already.
func (c *Cache[K, V]) join(q *query[K, V], key K) (s seat[K, V], r Result[V], done bool) {
	kind := kindOf(q.mode)
	call, leader := c.flights.JoinAs(key, q.nested, kind, q.mode&NoStore == 0)
	s.call = call
	if !leader {
		return s, r, false
	}
	if kind != 0 {
		c.l1.Advance(key) // it may have taken the place of another flight: one of them inserts
	}
	j := c.newJob()
	j.key, j.call, j.asks, j.strong = key, call, q.mode, q.mode.skipsL1()
	j.ctx, j.outer, j.loader, j.own, j.bulk = q.ctx, q.outer, q.loader, q.own, q.bulk
	r, done, err := c.begin(j, q.mode)
	if err == nil && !done {
		err = c.name(j)
	}
	if err != nil {
		return s, c.failed(err), true
	}
	s.led = j
	return s, r, done
}

// wait waits for the answer of the flight. ok is false if that is not as good as an
// answer of the caller's own: then it joins again.
func (c *Cache[K, V]) wait(q *query[K, V], key K, s seat[K, V]) (r Result[V], ok bool) {
	if q.outer != nil {
		if !flight.Await(&q.outer.wait, s.call) {
			return c.failed(fmt.Errorf("%w: a loader reads key %v, whose load waits for it", ErrNestedLoad, key)), true
		}
		defer flight.Awaited(&q.outer.wait, s.call)
	}
	if s.led != nil {
		c.lead(q.ctx, s.led)
	}
	ans, ok, err := s.call.Wait(q.ctx, q.ticket, need(q.mode))
	switch {
	case err != nil:
		return c.failed(err), true
	case !ok:
		return r, false
	case ans.Stale && !c.tags.Good(ans.marks):
		c.flights.Forget(key) // it goes on answering with a value that was invalidated since
		return r, false
	}
	if s.led == nil {
		q.op.share(ans.by)
	} else if s.led.ended {
		c.reuse(s.led)
	}
	return c.answered(ans, q.mode, s.led == nil), true
}

// begin registers a leader's job, which must be ended from then on. ok: L1 has
// answered after all.
//
// It looks into L1 once more. It is needed: this caller misses L1; the flight
// before inserts its value and ends; this caller finds no flight to join. A flight
// ends only after its insert, so looking again now finds it, where a second load
// would break the promise of one.
func (c *Cache[K, V]) begin(j *job[K, V], mode Mode) (r Result[V], ok bool, err error) {
	if !c.register(j) {
		return r, false, ErrClosed
	}
	if !mode.skipsL1() {
		if r, ok = c.readL1(j.ctx, j.key, j.loader, j.bulk); ok {
			j.told.marks = r.marks
			j.ans.Result = r // asOf is zero: only for those whom L1 satisfies
			c.publishAnswer(j)
			c.closeJob(j, flight.TrustLocal)
		}
	}
	return r, ok, nil
}

// lead waits with the leader of a single read until its entry is there to be
// decoded, or its flight is answered, or its context ends.
func (c *Cache[K, V]) lead(ctx context.Context, j *job[K, V]) {
	r := &j.reader
	if r.state.Load() == readerNone {
		return
	}
	decode := false
	select {
	case decode = <-r.woken:
	case <-ctx.Done():
		if r.state.CompareAndSwap(readerWaits, readerLeft) {
			return
		}
		decode = <-r.woken
	}
	if decode {
		c.decodeFound(ctx, j)
	}
}

// answered makes a caller's result of a flight's answer, and counts it.
func (c *Cache[K, V]) answered(ans answer[V], mode Mode, coalesced bool) Result[V] {
	r := ans.Result
	r.Coalesced = coalesced
	if r.Stale && mode&(Strong|Refresh) != 0 {
		return c.failed(ans.loadErr)
	}
	switch {
	case r.Err != nil && !r.Negative:
		c.n.failures.Add(1)
	case r.Source == SourceL2:
		c.n.hitsL2.Add(1)
	default:
		c.n.misses.Add(1)
	}
	if r.Negative {
		c.n.negatives.Add(1)
	}
	if r.Stale {
		c.n.stale.Add(1)
	}
	if coalesced {
		c.n.coalesced.Add(1)
	}
	return r
}

func (c *Cache[K, V]) failed(err error) Result[V] {
	c.n.failures.Add(1)
	return Result[V]{Err: err}
}
