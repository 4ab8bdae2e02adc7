package aside

import (
	"context"

	"github.com/asidecache/aside/internal/flight"
)

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
	ticket := c.flights.Now()
	for len(left) > 0 {
		left = c.readRound(ctx, left, results, &bulkRead[K, V]{ctx, outer, loader}, level, ticket, nested)
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
	ctx    context.Context
	outer  *nest // of ctx
	loader BulkLoader[K, V]
}

// readRound joins or leads a flight for each key and returns the keys that must
// be read again, as read does for one.
func (c *Cache[K, V]) readRound(ctx context.Context, keys []K, results map[K]Result[V], bulk *bulkRead[K, V], level Level, ticket flight.Ticket, nested int) (again []K) {
	if err := ctx.Err(); err != nil {
		for _, k := range keys {
			results[k] = c.failed(err)
		}
		return nil
	}
	calls := make([]*flight.Call[answer[V]], len(keys))
	led := make(map[K]bool, len(keys))
	var jobs []*job[K, V]
	for i, k := range keys {
		call, leader := c.flights.Join(k, nested)
		if calls[i] = call; leader {
			j := &job[K, V]{key: k, call: call, strong: level == Strong, ctx: ctx, bulk: bulk}
			r, ok, err := c.begin(j, level)
			if err == nil && !ok {
				err = c.name(j)
			}
			switch {
			case err != nil:
				results[k], calls[i] = c.failed(err), nil
			case ok:
				results[k], calls[i] = r, nil
			default:
				led[k] = true
				jobs = append(jobs, j)
			}
		}
	}
	if len(jobs) > 0 {
		go c.readJobs(jobs)
	}
	for i, k := range keys {
		if calls[i] == nil {
			continue
		}
		ans, ok, err := c.await(ctx, bulk.outer, nil, k, calls[i], ticket, level)
		switch {
		case err != nil:
			results[k] = c.failed(err)
		case ok:
			results[k] = c.answered(ans, level, !led[k])
		default:
			again = append(again, k)
		}
	}
	return again
}

// readJobs answers the jobs of a bulk read.
func (c *Cache[K, V]) readJobs(jobs []*job[K, V]) {
	if c.l2 != nil {
		c.dispatch(c.lookUp(jobs))
		return
	}
	for _, j := range jobs {
		c.withoutL2(j)
	}
	c.load(jobs)
}
