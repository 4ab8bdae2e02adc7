package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// user sends requests, one at a time. One goroutine uses it.
type user struct {
	*run
	line   exchanger
	rec    *recorder
	picker ids.Picker
	rng    *rand.Rand // for the choice of operations; nil if all requests read
	picks  *rand.Rand // for the choice of created records
	req    request
}

func (r *run) newUser(n int) *user {
	u := &user{
		run: r, line: r.connect(), rec: r.recorders[n%len(r.recorders)],
		picker: r.pickers(uint64(n) + r.streams),
	}
	if r.Mix.writes() {
		// These must differ from the workload's sequences, which may have the same seed.
		u.rng = rand.New(rand.NewPCG(r.Seed^0x9e3779b97f4a7c15, uint64(n)+r.streams))
		u.picks = rand.New(rand.NewPCG(r.Seed^0xbf58476d1ce4e5b9, uint64(n)+r.streams))
	}
	return u
}

// choose prepares the next request. It returns false if there are no more.
func (u *user) choose() bool {
	q := &u.req
	q.op, q.own, q.body = Read, nil, q.body[:0]
	if u.rng != nil {
		u.chooseOp()
	}
	switch {
	case q.op == Create:
		q.path = append(q.path[:0], u.endpoint.Path...)
		q.body = fmt.Appendf(q.body, `{"id":%q,"name":"Load test record","description":"Created by aside bench. You can delete it when the run has ended."}`, q.own.id)
		return true
	case q.own != nil:
		q.path = append(append(append(q.path[:0], u.endpoint.Path...), '/'), q.own.id...)
	default:
		var ok bool
		q.path = append(append(q.path[:0], u.endpoint.Path...), '/')
		if q.path, ok = u.picker.Next(q.path); !ok {
			return false
		}
	}
	if q.op == Update {
		// A new name each time: the server does not write if nothing changes.
		q.body = fmt.Appendf(q.body, `{"name":"Load test change %s%d"}`, u.created.prefix, u.created.serial.Add(1))
	}
	return true
}

// chooseOp always draws twice, and uses another source for the choice of records. So the
// choices of a seed do not depend on the records that other users have created.
func (u *user) chooseOp() {
	q := &u.req
	x, own, m := u.rng.Float64(), u.rng.Float64() < u.Mix.Own, &u.Mix
	switch {
	case x < m.Create:
		q.op = Create
	case x < m.Create+m.Update:
		q.op = Update
	case x < m.Create+m.Update+m.Delete:
		q.op = Delete
		if q.own = u.created.take(u.picks); q.own == nil {
			q.op = Create
		}
	}
	switch {
	case q.op == Create:
		q.own = u.created.invent()
	case q.op != Delete && own:
		q.own = u.created.pick(u.picks)
	}
}

// verdict is the result of a request.
type verdict uint8

const (
	answered verdict = iota // successful or failed
	noServer                // no server was there
	cutOff                  // ctx ended; not counted
)

// send sends the request and records it. Its latency starts at from. sent is the time of
// sending in an open loop, and zero in a closed loop.
func (u *user) send(ctx context.Context, from, sent time.Time) (verdict, time.Time) {
	q := &u.req
	a, failed := u.line.exchange(ctx, q)
	if failed != nil {
		now := time.Now()
		if ctx.Err() != nil {
			u.unfinished.Add(1)
			u.doubt(q)
			return cutOff, now
		}
		u.rec.fail(FailureKey{Kind: failed.Kind, Op: q.op}, failed.Detail, now)
		if failed.Kind == httpwire.Refused || failed.Kind == httpwire.NotConnected {
			if q.op == Delete {
				u.doubt(q)
			}
			return noServer, now
		}
		u.doubt(q)
		return answered, now
	}
	// Another user may have deleted the record. Then 404 is a success.
	absent := a.status == http.StatusNotFound && q.own != nil && q.own.gone.Load()
	if a.status/100 != 2 && !absent {
		u.rec.fail(FailureKey{BadStatus, a.status, q.op}, q.op.Method()+" "+string(q.path), a.ended)
		// After a server error the outcome of a write is unknown.
		if a.status >= 500 || q.op == Delete {
			u.doubt(q)
		}
		return answered, a.ended
	}
	if q.op == Create {
		u.created.add(q.own)
	}
	s := Sample{
		Op: q.op, Tier: a.cache.tier, Took: a.ended.Sub(from), Bytes: a.size,
		Coalesced: a.cache.collapsed, Negative: a.cache.negative, Stale: a.cache.stale,
	}
	if !sent.IsZero() {
		s.Served = max(a.ended.Sub(sent), 1)
	}
	u.rec.succeed(&s)
	return answered, a.ended
}

// doubt records that a record may exist.
func (u *user) doubt(q *request) {
	if q.op == Create || q.op == Delete {
		u.created.doubt(q.own)
	}
}
