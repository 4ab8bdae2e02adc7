package aside

import (
	"context"
	"time"
)

// DefaultKeys returns the functions for keys of a cache without its own.
func DefaultKeys[K comparable]() (func(K) string, func(string) (K, error), error) {
	var o Options[K, int]
	err := o.keys()
	return o.Key, o.ParseKey, err
}

// Flights returns the number of reads under way that can be joined.
func Flights[K comparable, V any](c *Cache[K, V]) int {
	n, _ := c.flights.Size()
	return n
}

// Followers returns how many reads share the key's flight with its leader.
func Followers[K comparable, V any](c *Cache[K, V], k K) int { return c.flights.Followers(k) }

// Waiters returns the number of flights that wait for another node's lease.
func Waiters[K comparable, V any](c *Cache[K, V]) int { return int(c.waiters.n.Load()) }

// AwaitLeaseTwice waits for another node's lease with two flights of a key, one that
// began before an invalidation and one after, and returns what tells that each is
// answered.
func AwaitLeaseTwice[K comparable, V any](c *Cache[K, V], k K, l Loader[K, V]) (answered [2]<-chan struct{}) {
	var jobs []*job[K, V]
	for i := range answered {
		call, _ := c.flights.Join(k, 0)
		j := &job[K, V]{key: k, call: call, strong: true, ctx: context.Background(), loader: l, asked: time.Now()}
		if _, _, err := c.begin(j, Strong); err != nil {
			panic(err)
		}
		if err := c.name(j); err != nil {
			panic(err)
		}
		c.restart(j)
		if i == 0 {
			c.flights.Forget(k)
			c.l1.Invalidate(k)
		}
		jobs = append(jobs, j)
		answered[i] = call.Published()
	}
	go c.awaitLeases(jobs)
	return answered
}

// LastOfEach is lastOfEach.
var LastOfEach = lastOfEach

// Marked reports whether L1 has the key, and with more than its value.
func Marked[K comparable, V any](c *Cache[K, V], k K) (there, marked bool) {
	e, ok := c.l1.Peek(k)
	return ok, e.Marks != nil
}
