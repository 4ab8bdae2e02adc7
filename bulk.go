package aside

import "context"

// ReadMany is GetMany with a mode, and with a Result for each distinct key. A
// confirmed absence has Err ErrNotFound in its Result, and is no failure.
func (c *Cache[K, V]) ReadMany(ctx context.Context, keys []K, loader BulkLoader[K, V], mode Mode) (_ map[K]Result[V], err error) {
	if err := checkKeys(keys...); err != nil {
		return nil, err
	}
	loader, single, err := c.ownBulkLoader(loader)
	if err != nil {
		return nil, err
	}
	outer, nested := nestOf(ctx), 0
	results := make(map[K]Result[V], len(keys))
	left := make([]K, 0, len(keys))
	hits := &bulkRead[K, V]{loader: loader} // those that are to be refreshed are loaded together
	for _, k := range keys {
		if _, ok := results[k]; ok {
			continue
		}
		if !mode.skipsL1() {
			if r, ok := c.readL1(ctx, k, single, hits); ok {
				if c.opts.Observer.Hit != nil {
					c.hit(ctx, k, mode, r.Info)
				}
				results[k] = r
				continue
			}
		}
		n, err := c.admit(outer, k)
		if err != nil {
			results[k] = c.failed(err)
			continue
		}
		nested = n
		results[k] = Result[V]{}
		left = append(left, k)
	}
	c.refreshDue(hits)
	var op *operation
	if len(left) > 0 {
		if op = c.startOp(ctx, OpRead, mode, left...); op != nil {
			ctx = op.ctx
			defer func() { c.endOp(op, OpResult{Err: err}) }()
		}
	}
	q := query[K, V]{ctx: ctx, op: op, outer: outer, nested: nested, mode: c.effective(mode), ticket: c.flights.Now(), began: c.watchClock(), loader: single}
	var led []waiting[K, V]
	for len(left) > 0 {
		q.bulk = &bulkRead[K, V]{loader: loader, level: nested} // those who lead in one round are loaded together
		followed, l := c.readRound(&q, left, results)
		led = append(led, l...)
		// Those that must be read again are, while the flights that this read leads go on.
		if left = c.waitFor(&q, followed, results); len(left) == 0 {
			left = c.waitFor(&q, led, results)
			led = nil
		}
	}
	errs := make(KeyErrors[K])
	for k, r := range results {
		if r.Err != nil && !r.Negative {
			errs[k] = r.Err
		}
	}
	if len(errs) > 0 {
		return results, errs
	}
	return results, nil
}

// bulkRead is the read that a job belongs to, if that is one of several keys.
type bulkRead[K comparable, V any] struct {
	loader   BulkLoader[K, V] // nil: each is loaded with its job's loader
	gathered bool             // rather of several reads, see gather
	level    int              // how deeply the read is nested in loads
	due      []*job[K, V]     // hits of L1 that are to be refreshed: used by the read alone
}

// waiting is a key whose flight a bulk read waits for.
type waiting[K comparable, V any] struct {
	key  K
	seat seat[K, V]
}

// readRound joins or leads a flight for each key, and puts the answers that are there
// already into results.
func (c *Cache[K, V]) readRound(q *query[K, V], keys []K, results map[K]Result[V]) (followed, led []waiting[K, V]) {
	if err := q.ctx.Err(); err != nil {
		for _, k := range keys {
			results[k] = c.failed(err)
		}
		return nil, nil
	}
	var jobs []*job[K, V]
	for _, k := range keys {
		s, r, done := c.join(q, k)
		switch {
		case done:
			results[k] = r
		case s.led == nil:
			followed = append(followed, waiting[K, V]{k, s})
		default:
			led = append(led, waiting[K, V]{k, s})
			jobs = append(jobs, s.led)
		}
	}
	c.refreshDue(q.bulk)
	if len(jobs) > 0 {
		go c.readJobs(jobs)
	}
	return followed, led
}

// waitFor puts the answers of flights into results, and returns the keys that must be
// read again.
func (c *Cache[K, V]) waitFor(q *query[K, V], flights []waiting[K, V], results map[K]Result[V]) (again []K) {
	for _, w := range flights {
		if r, ok := c.wait(q, w.key, w.seat); ok {
			c.sawRead(q, w.key, &r)
			results[w.key] = r
		} else {
			again = append(again, w.key)
		}
	}
	return again
}
