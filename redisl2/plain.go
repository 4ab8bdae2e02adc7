package redisl2

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// Newer servers compare and set, and compare and delete, by one command:
//
//	SET k v IFEQ old PX ms   Valkey 8.1, Redis 8.4
//	DELIFEQ k old            Valkey 9.0
//	DELEX k IFEQ old         Redis 8.4
//
// That costs the server a fraction of a script. It does what the script does in the
// usual case, in which the bytes under the key are known: a lease that carries nothing,
// the fence of a writer who is alone, an entry that was found. Where the bytes are not
// those, the answer tells less than the script's, and the script is asked.
//
// A fill and a release that publishes are MULTI, SET, EXISTS, EXEC. The SET ends the
// tracking of the key and the EXISTS begins it anew: a change between the two would be
// seen by nobody, so nothing may come between.
//
// A script is known by the server only if that was cleared since it started (admit.go).
// A plain command finds out nothing of that: a lease or a fence that a snapshot has
// brought back matches as well. So it is sent only over a connection over which a script
// of the prefix has run, and its answer counts only if the connection is still the same
// by then. docs/decisions/0021-plain-commands-where-the-server-has-them.md has the reasons.
//
// Not in a cluster: a slot that moves would have to be thought of for each command.

// abilities are what a server that knows SET .. IFEQ can do without scripts, and the user
// may: see abilities.go.
type abilities struct {
	gen   uint64 // of the connection over which it was tried
	multi bool   // MULTI and EXEC
	delIf string // DELIFEQ, DELEX, or nothing
}

// plain is whether the commands are used.
type plain struct {
	can   atomic.Pointer[abilities]
	tried atomic.Uint64 // the generation for which that is known
	rest  atomic.Int64  // Unix ns before which they are not used: a server has refused one
}

// plainRest is for how long only scripts are sent after a server has refused a plain
// command. It may be out of memory, which the script is answered as well.
const plainRest = time.Second

// plainKeys is for how many keys at most plain commands are sent. For more, one script
// is less to send, and costs the server about as much.
const plainKeys = 4

// plainly returns what the server can do plainly for a key of some requests, or nil if
// that is to be a script.
func (s *Store) plainly(keys int, key string) *abilities {
	can := s.plain.can.Load()
	if can == nil || keys == 0 || keys > plainKeys || can.gen != s.conns.gen.Load() || !s.verified(s.own(key), can.gen) {
		return nil
	}
	if rest := s.plain.rest.Load(); rest != 0 && time.Now().UnixNano() < rest {
		return nil
	}
	return can
}

// refusedPlain is told of an answer that is no answer to a plain command.
func (s *Store) refusedPlain(err error) {
	s.plain.rest.Store(time.Now().Add(plainRest).UnixNano())
	s.refusedOne(err)
	s.demoted("", err)
}

// verify notes that a script of a prefix has run, over the connection of a generation
// if that is still the only one.
func (s *Store) verify(o *own, gen uint64) {
	if o.verified.Load() != gen && s.conns.only(gen) {
		o.verified.Store(gen)
	}
}

// verified reports whether a script of the prefix has run over the connection of a
// generation: the server was cleared, and is the same process as long as the connection
// lives.
func (s *Store) verified(o *own, gen uint64) bool { return gen != 0 && o.verified.Load() == gen }

// ifEqual is one SET .. IFEQ.
type ifEqual struct {
	key, old, value string
	ttl             time.Duration
}

func (e ifEqual) build(c rueidis.Client) rueidis.Completed {
	return c.B().Arbitrary("SET").Keys(e.key).Args(e.value, "IFEQ", e.old, "PX", ms(e.ttl)).Build()
}

// setIfTracked sets keys that still have the given bytes, and has the server track them.
// It tells set of those that were set, and of those whose outcome is not known. The
// others are left.
func (s *Store) setIfTracked(ctx context.Context, can *abilities, n int, of func(i int) ifEqual, set func(i int, err error)) (left []int) {
	c, err := s.get()
	if err != nil || !can.multi {
		return every(n)
	}
	cmds := make([]rueidis.Completed, 0, n+3)
	cmds = append(cmds, c.B().Multi().Build())
	first := of(0)
	cmds = append(cmds, first.build(c))
	exists := c.B().Exists().Key(first.key)
	for i := 1; i < n; i++ {
		e := of(i)
		cmds = append(cmds, e.build(c))
		exists = exists.Key(e.key)
	}
	cmds = append(cmds, exists.Build(), c.B().Exec().Build())
	if n == 1 {
		if answers, err, sent := s.directBuilt(ctx, cmds...); sent && err != nil {
			set(0, wrap(err))
			return nil
		} else if sent && s.conns.gen.Load() == can.gen {
			switch string(answers) {
			case "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:1\r\n":
				set(0, nil)
				return nil
			case "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n_\r\n:1\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n_\r\n:0\r\n":
				return every(1)
			}
		}
	}
	rs := c.DoMulti(ctx, cmds...)
	exec := rs[len(rs)-1]
	if err := exec.NonRedisError(); err != nil {
		for i := range n {
			set(i, wrap(err))
		}
		return nil
	}
	answers, err := exec.ToArray()
	if err != nil || len(answers) != n+1 {
		for _, r := range rs {
			if err := r.Error(); isRedisErr(err) { // the first says why
				s.refusedPlain(err)
				break
			}
		}
		return every(n)
	}
	if s.conns.gen.Load() != can.gen {
		return every(n) // it may have been another server's answer
	}
	for i := range n {
		switch err := answers[i].Error(); {
		case err == nil:
			set(i, nil)
			continue
		case !rueidis.IsRedisNil(err):
			s.refusedPlain(err)
		}
		left = append(left, i)
	}
	return left
}

// onlyIf runs one command for each key which changes it if it has the given bytes, and
// tells done of those that it has changed, and of those whose outcome is not known. The
// others are left. sure: an answer that it has other bytes leaves nothing to ask.
func (s *Store) onlyIf(ctx context.Context, can *abilities, sure bool, n int, build func(c rueidis.Client, i int) rueidis.Completed, done func(i int, err error)) (left []int) {
	c, err := s.get()
	if err != nil {
		return every(n)
	}
	var rs []rueidis.RedisResult
	if n == 1 {
		cmd := build(c, 0)
		if answers, err, sent := s.directBuilt(ctx, cmd); sent && err != nil {
			done(0, wrap(err))
			return nil
		} else if sent && s.conns.gen.Load() == can.gen {
			switch text := string(answers); {
			case text == "+OK\r\n" || text == ":1\r\n" || sure && text == ":0\r\n":
				done(0, nil)
				return nil
			case text == "_\r\n" || text == ":0\r\n":
				return every(1)
			}
		}
		rs = []rueidis.RedisResult{c.Do(ctx, cmd)}
	} else {
		cmds := make([]rueidis.Completed, n)
		for i := range n {
			cmds[i] = build(c, i)
		}
		rs = c.DoMulti(ctx, cmds...)
	}
	same := s.conns.gen.Load() == can.gen // else it may have been another server's answer
	for i, r := range rs {
		err := r.Error()
		switch {
		case err == nil:
			if count, e := r.AsInt64(); same && (sure || e != nil || count == 1) { // OK, or 1
				done(i, nil)
				continue
			}
		case rueidis.IsRedisNil(err):
		case isRedisErr(err):
			s.refusedPlain(err)
		default:
			done(i, wrap(err))
			continue
		}
		left = append(left, i)
	}
	return left
}

// buildDelIf makes the command that deletes a key if it has the given bytes.
func (can *abilities) buildDelIf(c rueidis.Client, key, old string) rueidis.Completed {
	if can.delIf == "DELEX" {
		return c.B().Arbitrary("DELEX").Keys(key).Args("IFEQ", old).Build()
	}
	return c.B().Arbitrary(can.delIf).Keys(key).Args(old).Build()
}

// fillPlainly fills under leases that carry nothing, and returns the requests that are
// left for fill.lua.
func (s *Store) fillPlainly(ctx context.Context, reqs []driver.FillRequest, out []driver.FillResult) (left []int) {
	can := s.plainly(len(reqs), firstKey(reqs, func(r *driver.FillRequest) string { return r.Key }))
	if can == nil || !can.multi || anyOf(reqs, func(r *driver.FillRequest) bool { return r.Carrying }) {
		return every(len(reqs))
	}
	return s.setIfTracked(ctx, can, len(reqs), func(i int) ifEqual {
		r := &reqs[i]
		return ifEqual{r.Key, lease(r.Lease), rueidis.BinaryString(r.Entry), r.TTL}
	}, func(i int, err error) { out[i] = driver.FillResult{Stored: err == nil, Err: err} })
}

// abandonPlainly gives back leases that carry nothing, and returns the requests that are
// left for abandon.lua.
func (s *Store) abandonPlainly(ctx context.Context, reqs []driver.AbandonRequest, out []error) (left []int) {
	can := s.plainly(len(reqs), firstKey(reqs, func(r *driver.AbandonRequest) string { return r.Key }))
	if can == nil || can.delIf == "" || anyOf(reqs, func(r *driver.AbandonRequest) bool { return r.Carrying }) {
		return every(len(reqs))
	}
	return s.onlyIf(ctx, can, false, len(reqs), func(c rueidis.Client, i int) rueidis.Completed {
		r := &reqs[i]
		if len(r.Restore) > 0 {
			return ifEqual{r.Key, lease(r.Lease), rueidis.BinaryString(r.Restore), r.TTL}.build(c)
		}
		return can.buildDelIf(c, r.Key, lease(r.Lease))
	}, func(i int, err error) { out[i] = err })
}

// evictPlainly removes entries, and returns the requests that are left for evict.lua.
func (s *Store) evictPlainly(ctx context.Context, reqs []driver.EvictRequest, out []error) (left []int) {
	can := s.plainly(len(reqs), firstKey(reqs, func(r *driver.EvictRequest) string { return r.Key }))
	if can == nil || can.delIf == "" {
		return every(len(reqs))
	}
	return s.onlyIf(ctx, can, true, len(reqs), func(c rueidis.Client, i int) rueidis.Completed {
		return can.buildDelIf(c, reqs[i].Key, rueidis.BinaryString(reqs[i].Entry))
	}, func(i int, err error) { out[i] = err })
}

// releasePlainly lifts fences that stand alone, and returns the requests that are left
// for release.lua.
func (s *Store) releasePlainly(ctx context.Context, reqs []driver.ReleaseRequest, out []driver.ReleaseResult) (left []int) {
	can := s.plainly(len(reqs), firstKey(reqs, func(r *driver.ReleaseRequest) string { return r.Key }))
	if can == nil {
		return every(len(reqs))
	}
	publish := len(reqs[0].Publish) > 0
	if publish && !can.multi || !publish && can.delIf == "" ||
		anyOf(reqs, func(r *driver.ReleaseRequest) bool { return len(r.Publish) > 0 != publish }) {
		return every(len(reqs))
	}
	if !publish {
		return s.onlyIf(ctx, can, false, len(reqs), func(c rueidis.Client, i int) rueidis.Completed {
			return can.buildDelIf(c, reqs[i].Key, fenceAlone(reqs[i].Token))
		}, func(i int, err error) { out[i].Err = err })
	}
	return s.setIfTracked(ctx, can, len(reqs), func(i int) ifEqual {
		r := &reqs[i]
		return ifEqual{r.Key, fenceAlone(r.Token), rueidis.BinaryString(r.Publish), r.TTL}
	}, func(i int, err error) { out[i] = driver.ReleaseResult{Published: err == nil, Err: err} })
}

// fenceAlone is the fence of a writer who is alone: see fences.lua.
func fenceAlone(t driver.Token) string {
	const ends = "0000000000000"
	b := make([]byte, 0, 2+len(t)+len(ends))
	b = append(b, "F0"...)
	b = append(b, t[:]...)
	return rueidis.BinaryString(append(b, ends...))
}

func firstKey[R any](reqs []R, key func(*R) string) string {
	if len(reqs) == 0 {
		return ""
	}
	return key(&reqs[0])
}

func anyOf[R any](reqs []R, is func(*R) bool) bool {
	for i := range reqs {
		if is(&reqs[i]) {
			return true
		}
	}
	return false
}
