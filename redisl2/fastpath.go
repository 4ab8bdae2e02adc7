package redisl2

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// tryFastPath tries what acquire.lua does with plain commands, which cost the server
// less, and returns the requests that it could not answer so. Those take one more
// round trip.
func (s *Store) tryFastPath(ctx context.Context, reqs []driver.LeaseRequest, out []driver.Grant) (left []int) {
	if c, err := s.get(); err == nil && len(reqs) < maxBatch {
		switch expectation(reqs) {
		case driver.ExpectValue:
			return s.fastGet(ctx, c, reqs, out)
		case driver.ExpectNothing:
			return fastLease(ctx, c, reqs, out)
		}
	}
	return every(len(reqs))
}

// expectation returns that of all requests, which come from one cache.
func expectation(reqs []driver.LeaseRequest) (e driver.Expectation) {
	for i := range reqs {
		if i > 0 && reqs[i].Expect != e {
			return driver.ExpectAnything
		}
		e = reqs[i].Expect
	}
	return e
}

// fewest is from how many lookups on MGET is tried first: the script that asks
// whether this server is a master is one command more.
const fewest = 4

// fastGet answers those requests whose keys have a value. The ping before them
// refuses on a replica, and on a server that began anew, whose values may be old, as
// acquire.lua does. A cluster always uses the script: otherwise each of its servers
// would have to be asked.
func (s *Store) fastGet(ctx context.Context, c rueidis.Client, reqs []driver.LeaseRequest, out []driver.Grant) (left []int) {
	if len(reqs) < fewest || c.Mode() == rueidis.ClientModeCluster {
		return every(len(reqs))
	}
	get := c.B().Mget().Key(reqs[0].Key)
	for _, r := range reqs[1:] {
		get = get.Key(r.Key)
	}
	rs := c.DoMulti(ctx, c.B().Evalsha().Sha1(s.own(reqs[0].Key).script(ping).sha).Numkeys(0).Build(), get.Build())
	found, err := rs[1].ToArray()
	if rs[0].Error() != nil || err != nil || len(found) != len(reqs) {
		return every(len(reqs))
	}
	for i, m := range found {
		entry, err := m.AsBytes()
		if err == nil && len(entry) > 0 && (entry[0] == envelope.KindValue || entry[0] == envelope.KindNegative) &&
			envelope.StaleFor(entry) == 0 { // MGET does not tell what is left to live
			out[i] = driver.Grant{State: driver.StateFound, Entry: entry}
		} else {
			left = append(left, i)
		}
	}
	return left
}

// fastLease leases those keys that are absent. What else it finds is left to
// acquire.lua, since a command that writes does not have the server track what it
// returns, and reading it afterwards would miss a change in between. Replicas
// refuse it.
func fastLease(ctx context.Context, c rueidis.Client, reqs []driver.LeaseRequest, out []driver.Grant) (left []int) {
	cmds := make([]rueidis.Completed, len(reqs))
	for i := range reqs {
		r := &reqs[i]
		cmds[i] = c.B().Set().Key(r.Key).Value(lease(r.Lease)).Nx().Get().PxMilliseconds(max(1, r.TTL.Milliseconds())).Build()
	}
	for i, r := range c.DoMulti(ctx, cmds...) {
		entry, err := r.ToString()
		switch {
		case rueidis.IsRedisNil(err), err == nil && entry == lease(reqs[i].Lease):
			out[i] = driver.Grant{State: driver.StateGranted}
		case err == nil, isRedisErr(err):
			left = append(left, i)
		default:
			out[i] = driver.Grant{Err: err}
		}
	}
	return left
}

// isRedisErr reports whether the server has answered, and nothing was changed.
func isRedisErr(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok
}

func every(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
