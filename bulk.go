package aside

import "context"

// ReadMany is GetMany at a level, with a Result for each distinct key. A
// confirmed absence has Err ErrNotFound in its Result, and is no failure.
func (c *Cache[K, V]) ReadMany(ctx context.Context, keys []K, loader BulkLoader[K, V], level Level) (map[K]Result[V], error) {
	if err := checkKeys(keys...); err != nil {
		return nil, err
	}
	outer, nested := nestOf(ctx), 0
	results := make(map[K]Result[V], len(keys))
	left := make([]K, 0, len(keys))
	for _, k := range keys {
		if _, ok := results[k]; ok {
			continue
		}
		if level == Default {
			if r, ok := c.readL1(k); ok {
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
	q := query[K, V]{ctx: ctx, outer: outer, nested: nested, level: level, ticket: c.flights.Now()}
	for len(left) > 0 {
		q.bulk = &bulkRead[K, V]{loader} // those who lead in one round are loaded together
		left = c.readRound(&q, left, results)
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
	loader BulkLoader[K, V]
}

// readRound joins or leads a flight for each key, puts the answers into results, and
// returns the keys that must be read again.
func (c *Cache[K, V]) readRound(q *query[K, V], keys []K, results map[K]Result[V]) (again []K) {
	if err := q.ctx.Err(); err != nil {
		for _, k := range keys {
			results[k] = c.failed(err)
		}
		return nil
	}
	type waiting struct {
		key  K
		seat seat[K, V]
	}
	waits := make([]waiting, 0, len(keys))
	var led []*job[K, V]
	for _, k := range keys {
		s, r, done := c.join(q, k)
		if done {
			results[k] = r
			continue
		}
		waits = append(waits, waiting{k, s})
		if s.led != nil {
			led = append(led, s.led)
		}
	}
	if len(led) > 0 {
		go c.readJobs(led)
	}
	for _, w := range waits {
		if r, ok := c.wait(q, w.key, w.seat); ok {
			results[w.key] = r
		} else {
			again = append(again, w.key)
		}
	}
	return again
}
