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
	rng    *rand.Rand // of what is done; nil if all requests read
	picks  *rand.Rand // of the run's own records
	req    request
}

func (r *run) newUser(n int) *user {
	u := &user{
		run: r, line: r.connect(), rec: r.recorders[n%len(r.recorders)],
		picker: r.pickers(uint64(n) + r.streams),
	}
	if r.Mix.writes() {
		// Other sequences than the workload's, which may have the same seed.
		u.rng = rand.New(rand.NewPCG(r.Seed^0x9e3779b97f4a7c15, uint64(n)+r.streams))
		u.picks = rand.New(rand.NewPCG(r.Seed^0xbf58476d1ce4e5b9, uint64(n)+r.streams))
	}
	return u
}

// choose makes up the next request; it reports false if there is none left.
func (u *user) choose() bool {
	q := &u.req
	q.op, q.own, q.body = Read, nil, q.body[:0]
	if u.rng != nil {
		u.chooseOp()
	}
	switch {
	case q.op == Create:
		q.path = append(q.path[:0], u.endpoint.Path...)
		q.body = fmt.Appendf(q.body, `{"id":%q,"name":"Load test record","description":"Made by aside bench, and of no use to anybody once that has ended."}`, q.own.id)
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
		// A name that it never had: a change that changes nothing is not written.
		q.body = fmt.Appendf(q.body, `{"name":"Load test change %s%d"}`, u.created.prefix, u.created.serial.Add(1))
	}
	return true
}

// chooseOp draws twice whatever comes out, and from another source for records,
// so that what a seed chooses does not depend on what other users have created.
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

// verdict is what became of a request.
type verdict uint8

const (
	answered verdict = iota // well or not
	noServer                // there was none to send it to
	cutOff                  // by ctx; it is counted nowhere
)

// send sends the request and records it. Its latency counts from from; sent is
// the zero time in a closed loop, where that is the same.
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
	// A record that somebody deletes meanwhile may be absent; that is an answer.
	absent := a.status == http.StatusNotFound && q.own != nil && q.own.gone.Load()
	if a.status/100 != 2 && !absent {
		u.rec.fail(FailureKey{BadStatus, a.status, q.op}, q.op.Method()+" "+string(q.path), a.ended)
		// A server's error tells nothing of what was written.
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

// doubt keeps in mind that a record may exist.
func (u *user) doubt(q *request) {
	if q.op == Create || q.op == Delete {
		u.created.doubt(q.own)
	}
}
