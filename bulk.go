package aside

import (
	"context"

	"github.com/asidecache/aside/internal/flight"
)

// ReadMany is GetMany at a level, with a Result for each distinct key. A
// confirmed absence has Err ErrNotFound in its Result, and is no failure.
func (c *Cache[K, V]) ReadMany(ctx context.Context, keys []K, loader BulkLoader[K, V], level Level) (map[K]Result[V], error) {
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
		results[k] = Result[V]{}
		left = append(left, k)
	}
	ticket := c.flights.Now()
	for len(left) > 0 {
		left = c.readRound(ctx, left, results, loader, level, ticket)
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

// readRound joins or leads a flight for each key and returns the keys that must
// be read again, as read does for one.
func (c *Cache[K, V]) readRound(ctx context.Context, keys []K, results map[K]Result[V], loader BulkLoader[K, V], level Level, ticket flight.Ticket) (again []K) {
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
		call, leader := c.flights.Join(k, c.l1.Generation(k))
		if calls[i] = call; leader {
			j := &job[K, V]{key: k, call: call, strong: level == Strong}
			if level == Default {
				if r, ok := c.again(j); ok {
					results[k], calls[i] = r, nil
					continue
				}
			}
			led[k] = true
			jobs = append(jobs, j)
		}
	}
	if len(jobs) > 0 {
		if c.life.enter() {
			go func() {
				defer c.life.leave(1)
				c.run(ctx, jobs, loadMany[K, V]{loader})
			}()
		} else {
			for _, j := range jobs {
				c.end(j, ErrClosed)
			}
		}
	}
	for i, k := range keys {
		if calls[i] == nil {
			continue
		}
		ans, ok, err := calls[i].Wait(ctx, ticket, need(level))
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
