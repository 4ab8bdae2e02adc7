package redisl2

import (
	"context"
	"errors"

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
			return s.fastLease(ctx, c, reqs, out)
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

// Lookups by GET or MGET lack what acquire.lua has from being a script: it is refused by a
// server that began anew and was not cleared (see admit.go), and by a replica.
//
//   - A server cannot begin anew behind a connection that lasts. So they are tried only over
//     a connection on which a script of the prefix has run: see Store.verified.
//   - A master may become a replica behind a connection. So a command comes with them that
//     a replica refuses, and that does nothing: UNLINK of a key that nobody has.
//
// A cluster always uses the script: the servers of its slots change.

// fastGet answers those requests whose keys have a value.
func (s *Store) fastGet(ctx context.Context, c rueidis.Client, reqs []driver.LeaseRequest, out []driver.Grant) (left []int) {
	o, gen := s.own(reqs[0].Key), s.conns.gen.Load()
	if c.Mode() == rueidis.ClientModeCluster || !s.verified(o, gen) {
		return every(len(reqs))
	}
	entries, err, sent := s.getDirect(ctx, o, reqs)
	if !sent {
		entries, err = getMany(ctx, c, o, reqs)
	}
	switch {
	case err != nil && ctx.Err() != nil: // there is no time for a script either
		for i := range out {
			out[i] = driver.Grant{Err: wrap(err)}
		}
		return nil
	case err != nil || len(entries) != len(reqs) || s.conns.gen.Load() != gen:
		return every(len(reqs))
	}
	for i, e := range entries {
		if servable(&reqs[i], e.s) {
			out[i] = driver.Grant{State: driver.StateFound, Entry: e.s}
		} else {
			left = append(left, i)
		}
	}
	return left
}

// getMany looks keys up by rueidis.
func getMany(ctx context.Context, c rueidis.Client, o *own, reqs []driver.LeaseRequest) ([]answer, error) {
	get := c.B().Mget().Key(reqs[0].Key)
	for _, r := range reqs[1:] {
		get = get.Key(r.Key)
	}
	rs := c.DoMulti(ctx, get.Build(), c.B().Unlink().Key(o.nobodys).Build())
	if err := rs[1].Error(); err != nil {
		return nil, err
	}
	m, err := rs[0].ToMessage()
	if err != nil {
		return nil, err
	}
	found, err := answerOf(m)
	return found.of, err
}

// servable reports whether an entry answers a request as it is.
func servable(r *driver.LeaseRequest, entry []byte) bool {
	return len(entry) > 0 && (entry[0] == envelope.KindValue || entry[0] == envelope.KindNegative) &&
		envelope.StaleFor(entry) == 0 && // GET does not tell what is left to live
		!leasedOver(r, entry)
}

// getDirect looks keys up without rueidis. sent is false if that cannot be.
func (s *Store) getDirect(ctx context.Context, o *own, reqs []driver.LeaseRequest) (entries []answer, err error, sent bool) {
	get := make([]string, 0, 1+len(reqs))
	if get = append(get, "GET"); len(reqs) > 1 {
		get[0] = "MGET"
	}
	for i := range reqs {
		get = append(get, reqs[i].Key)
	}
	answers, err, sent := s.directLookup(ctx, len(reqs), get, []string{"UNLINK", o.nobodys})
	if !sent || err != nil {
		return nil, err, sent
	}
	rest := answers
	if len(reqs) > 1 {
		var n int
		if n, rest, err = arrayHead(answers); err == nil && n != len(reqs) {
			err = errFrame
		}
	}
	entries = make([]answer, len(reqs))
	for i := 0; i < len(entries) && err == nil; i++ {
		if entries[i], rest, err = nextAnswer(rest); err == nil && entries[i].kind != '$' && entries[i].kind != '_' {
			err = errRefused
		}
	}
	if err == nil && (len(rest) == 0 || rest[0] != ':') {
		err = errRefused
	}
	return entries, err, true
}

// errRefused: it is the script that tells why.
var errRefused = errors.New("redisl2: refused")

// leasedOver reports whether an entry is the one that the request is to lease.
func leasedOver(r *driver.LeaseRequest, entry []byte) bool {
	if r.Over == (driver.Token{}) {
		return false
	}
	_, t, ok := envelope.Head(entry)
	return ok && t == r.Over
}

// fastLease leases those keys that are absent. What else it finds is left to
// acquire.lua, since a command that writes does not have the server track what it
// returns, and reading it afterwards would miss a change in between. Replicas
// refuse it.
func (s *Store) fastLease(ctx context.Context, c rueidis.Client, reqs []driver.LeaseRequest, out []driver.Grant) (left []int) {
	var life lives
	cmds := make([][]string, len(reqs))
	for i := range reqs {
		r := &reqs[i]
		cmds[i] = []string{"SET", r.Key, lease(r.Lease), "NX", "GET", "PX", life.ms(r.TTL)}
	}
	if left, done := s.leaseDirect(ctx, c, reqs, cmds, out); done {
		return left
	}
	built := make([]rueidis.Completed, len(cmds))
	for i, w := range cmds {
		built[i] = c.B().Arbitrary(w[0]).Keys(w[1]).Args(w[2:]...).Build()
	}
	for i, r := range c.DoMulti(ctx, built...) {
		entry, err := r.ToString()
		switch {
		case rueidis.IsRedisNil(err), err == nil && entry == cmds[i][2]:
			out[i] = driver.Grant{State: driver.StateGranted}
		case err == nil, isRedisErr(err):
			left = append(left, i)
		default:
			out[i] = driver.Grant{Err: err}
		}
	}
	return left
}

// leaseDirect leases keys without rueidis. done is false if that cannot be.
func (s *Store) leaseDirect(ctx context.Context, c rueidis.Client, reqs []driver.LeaseRequest, cmds [][]string, out []driver.Grant) (left []int, done bool) {
	if !s.mayBeDirect(c, s.own(reqs[0].Key)) {
		return nil, false
	}
	rest, err, sent := s.direct(ctx, answerRoom*len(reqs), cmds...)
	if !sent {
		return nil, false
	}
	for i := range reqs {
		if err != nil {
			out[i] = driver.Grant{Err: err}
			continue
		}
		a, after, bad := nextAnswer(rest)
		if bad != nil {
			return append(left, every(len(reqs))[i:]...), true
		}
		if rest = after; a.kind == '_' || a.kind == '$' && string(a.s) == cmds[i][2] {
			out[i] = driver.Grant{State: driver.StateGranted}
		} else {
			left = append(left, i)
		}
	}
	return left, true
}

// isRedisErr reports whether the server has answered, and nothing was changed.
func isRedisErr(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok
}

// every returns 0 to n-1, not to be changed.
func every(n int) []int {
	if n <= len(few) {
		return few[:n:n]
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// few spares most calls of every an allocation.
var few = func() (all [64]int) {
	for i := range all {
		all[i] = i
	}
	return all
}()
