package aside

import (
	"context"
	"errors"
	"time"

	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
)

// answer is what a flight brings back.
type answer[V any] struct {
	Result[V]
	loadErr error // of the load, where a stale value stands in for it
}

// job is one key of one flight.
type job[K comparable, V any] struct {
	key    K
	l2key  string
	call   *flight.Call[answer[V]]
	strong bool // its leader did not ask L1

	ctx    context.Context // of its leader, with the loader; nil in a batch
	loader Loader[K, V]

	lease Token
	how   fillHow
	asOf  flight.Ticket // when the read whose result is handed out began
	gen   uint64        // of L1, before that read was requested
	// replaced: another flight of the key had begun by then. That may know of a
	// newer value, so this one leaves L1 to it.
	replaced bool

	evicted    bool   // an undecodable entry was removed; once is enough
	stale      []byte // the value past its TTL that the lease was granted over
	staleUntil time.Time

	ans answer[V]
}

// fillHow says where a loaded value may be stored.
type fillHow uint8

const (
	fillUnknown  fillHow = iota // L2 has not answered yet, or with the value
	fillNothing                 // a write is under way, or the tiers are passed over
	fillLeased                  // in L2 under the lease, then in L1
	fillDegraded                // in L1 for a short while, L2 could not be asked
	fillL1                      // in L1, there is no L2
)

// read is a read that L1 did not answer.
//
// A caller takes the result of a flight only if that is as good as a read of
// its own: if the read behind it began after the caller came (asOf > ticket); or
// if the caller came before the read ended and the value's fill was accepted,
// since a lease that survived from before the read until after the caller came
// proves that no write was acknowledged in between; or, for a default read, if
// L1's generation had not moved when it joined, since then no write of this
// process came between. Otherwise it reads again, in a flight that begins after
// it came: so it waits for two at most.
func (c *Cache[K, V]) read(ctx context.Context, key K, loader Loader[K, V], level Level) Result[V] {
	if err := ctx.Err(); err != nil {
		return c.failed(err)
	}
	ticket := c.flights.Now()
	for {
		call, leader := c.flights.Join(key, c.l1.Generation(key))
		if leader {
			j := &job[K, V]{key: key, call: call, strong: level == Strong}
			if level == Default {
				if r, ok := c.again(j); ok {
					return r
				}
			}
			if !c.life.enter() {
				c.end(j, ErrClosed)
				return c.failed(ErrClosed)
			}
			j.ctx, j.loader = ctx, loader
			c.ask(j)
		}
		ans, ok, err := call.Wait(ctx, ticket, need(level))
		if err != nil {
			return c.failed(err)
		}
		if ok {
			return c.answered(ans, level, !leader)
		}
	}
}

// again looks into L1 once more for the leader of a new flight. It is needed:
// this caller misses L1; the flight before inserts its value and ends; this
// caller finds no flight to join. A flight ends only after its insert, so
// looking again now finds it, where a second load would break the promise of
// one.
func (c *Cache[K, V]) again(j *job[K, V]) (r Result[V], ok bool) {
	if r, ok = c.readL1(j.key); ok {
		j.ans.Result = r // asOf is zero: only for those whom L1 satisfies
		c.settle(j)
		c.finish(j, flight.TrustLocal)
	}
	return r, ok
}

func need(l Level) flight.Trust {
	if l == Strong {
		return flight.TrustAll
	}
	return flight.TrustLocal
}

// answered makes a caller's result of a flight's answer, and counts it.
func (c *Cache[K, V]) answered(ans answer[V], level Level, coalesced bool) Result[V] {
	r := ans.Result
	r.Coalesced = coalesced
	if r.Stale && level == Strong {
		return c.failed(ans.loadErr)
	}
	switch {
	case r.Err != nil && !r.Negative:
		c.n.failures.Add(1)
	case r.Source == SourceL2:
		c.n.hitsL2.Add(1)
	default:
		c.n.misses.Add(1)
	}
	if r.Negative {
		c.n.negatives.Add(1)
	}
	if r.Stale {
		c.n.stale.Add(1)
	}
	if coalesced {
		c.n.coalesced.Add(1)
	}
	return r
}

func (c *Cache[K, V]) failed(err error) Result[V] {
	c.n.failures.Add(1)
	return Result[V]{Err: err}
}

// ask looks a key up, together with the keys of those who come at the same time.
func (c *Cache[K, V]) ask(j *job[K, V]) {
	if c.tier == nil {
		go c.runGathered([]*job[K, V]{j})
		return
	}
	j.l2key, j.lease = c.l2key(j.key), envelope.NewToken()
	c.asked.add(c.tier.partition(j.l2key), j, c.runGathered)
}

// runGathered answers flights that came together: looked up in one batch,
// loaded each with its own leader's loader.
func (c *Cache[K, V]) runGathered(jobs []*job[K, V]) {
	if len(jobs) == 1 {
		defer c.life.leave(1)
		c.run(jobs[0].ctx, jobs, loadOne[K, V]{jobs[0].loader})
		return
	}
	var toLoad []*job[K, V]
	leased := c.lookUp(jobs, &toLoad)
	c.life.leave(len(jobs) - len(leased) - len(toLoad)) // those that are answered
	for _, j := range leased {
		go func() {
			defer c.life.leave(1)
			c.await(j.ctx, j, loadOne[K, V]{j.loader})
		}()
	}
	for _, j := range toLoad {
		go func() {
			defer c.life.leave(1)
			c.load(j.ctx, []*job[K, V]{j}, loadOne[K, V]{j.loader})
		}()
	}
}

// run answers flights: look up, load what must be, fill.
func (c *Cache[K, V]) run(ctx context.Context, jobs []*job[K, V], loader jobLoader[K, V]) {
	toLoad := jobs[:0:0]
	for _, j := range c.lookUp(jobs, &toLoad) {
		if len(jobs) == 1 {
			c.await(ctx, j, loader)
			return
		}
		c.life.more(1) // the caller's own registration holds Close up
		go func() {
			defer c.life.leave(1)
			c.await(ctx, j, loader)
		}()
	}
	if len(toLoad) > 0 {
		c.load(ctx, toLoad, loader)
	}
}

// lookUp asks L2 for the jobs' keys, ends those that are answered, and appends
// those that must be loaded to toLoad. It returns those that other nodes load.
func (c *Cache[K, V]) lookUp(jobs []*job[K, V], toLoad *[]*job[K, V]) (leased []*job[K, V]) {
	ask := make([]*job[K, V], 0, len(jobs))
	usable := c.tier != nil && c.tier.usable()
	for _, j := range jobs {
		j.gen = c.l1.Generation(j.key)
		j.asOf = c.flights.Now()
		j.replaced = !c.flights.Restart(j.key, j.call, j.gen)
		switch {
		case c.tier == nil && !c.pending.holds(j.key):
			j.how = fillL1
			*toLoad = append(*toLoad, j)
		case !usable || c.pending.holds(j.key):
			j.how = fillDegraded
			*toLoad = append(*toLoad, j)
		default:
			if j.l2key == "" {
				j.l2key, j.lease = c.l2key(j.key), envelope.NewToken()
			}
			ask = append(ask, j)
		}
	}
	if len(ask) == 0 {
		return nil
	}
	expect := c.expect.get()
	reqs := make([]LeaseRequest, len(ask))
	for i, j := range ask {
		reqs[i] = LeaseRequest{Key: j.l2key, Lease: j.lease, TTL: c.leaseTTL(), Expect: expect}
	}
	start := time.Now()
	var again []*job[K, V]
	found := 0
	for i, a := range c.tier.acquire(reqs) {
		j := ask[i]
		j.ans.L2Time += time.Since(start)
		switch {
		case a.Err != nil:
			j.how = fillDegraded
			*toLoad = append(*toLoad, j)
			if !errors.Is(a.Err, errBreakerOpen) && !errors.Is(a.Err, ErrL2Refused) {
				c.granted(j) // it may have been all the same
				c.orphan(j)
			}
		case a.State == StateFound:
			found++
			err := c.found(j, a.Entry)
			if err == nil {
				continue
			}
			c.n.undecodable.Add(1)
			c.warn.do(func() {
				c.log.Warn("an entry in L2 cannot be decoded and is replaced", "l2_key", j.l2key, "bytes", len(a.Entry), "error", err)
			})
			if j.evicted || worst(c.tier.evict([]EvictRequest{{j.l2key, a.Entry}})...) != nil {
				j.how = fillDegraded
				*toLoad = append(*toLoad, j)
				continue
			}
			j.evicted = true
			again = append(again, j)
		case a.State == StateLeased:
			leased = append(leased, j)
		case a.State == StateFenced:
			j.how = fillNothing
			*toLoad = append(*toLoad, j)
		default:
			c.granted(j)
			j.how = fillLeased
			if a.Entry != nil {
				j.stale, j.staleUntil = a.Entry, time.Now().Add(a.Left)
			}
			*toLoad = append(*toLoad, j)
		}
	}
	c.expect.observe(found, len(ask))
	if len(again) > 0 {
		leased = append(leased, c.lookUp(again, toLoad)...)
	}
	return leased
}

// granted drops from L1 what was in L2 until it expired, and may be in L1 for a
// little longer: the lease has ended the watch of the key. Nobody else inserts in
// this generation (see overtake), unless this flight has been replaced; and what
// a release has published, not once it has expired.
func (c *Cache[K, V]) granted(j *job[K, V]) {
	if j.replaced {
		c.overtakes(j)
	} else {
		c.l1.Drop(j.key)
	}
}

// A lease outlives the load's deadline and the round trips around it, so that
// it ends early only for a process that died.
func (c *Cache[K, V]) leaseTTL() time.Duration {
	return c.opts.LoadTimeout + 2*c.opts.L2Timeout + time.Second
}

// found ends a job with an entry of L2, unless it cannot be decoded.
func (c *Cache[K, V]) found(j *job[K, V], entry []byte) error {
	v, e, err := c.decode(entry)
	if err != nil {
		return err
	}
	ttl := c.opts.TTL
	j.ans.Source, j.ans.Value, j.ans.Negative = SourceL2, v, e.Negative
	if e.Negative {
		ttl = c.opts.NegativeTTL
		j.ans.Err = ErrNotFound
	}
	// The clocks of nodes may differ, so an entry's age only ever shortens its
	// life in L1, and never to nothing.
	age := max(0, time.Since(e.Stored))
	c.overtake(j)
	c.insertL1(j, min(c.opts.L1TTL, max(ttl-age, time.Second)))
	c.settle(j)
	c.finish(j, flight.TrustLocal)
	return nil
}

// overtake makes sure, before a job's answer is known, that no default read that
// comes after it goes back to an older value: it drops what L1 holds, and
// refuses what others are about to insert. It is needed where L1 can be behind
// an answer, since the notice of another node's write comes when it may:
//
//   - a strong read did not ask L1;
//   - an answer of the primary that L2 knows nothing of need not be stored;
//   - another flight of the key has begun since an invalidation, and its read
//     may have ended before this one's.
//
// Elsewhere L1 had nothing when the flight began, and only this flight inserts:
// in each generation one flight of a key may (see job.replaced).
func (c *Cache[K, V]) overtake(j *job[K, V]) {
	if j.strong || j.how == fillNothing || j.how == fillDegraded || !c.flights.Current(j.key, j.call) {
		c.overtakes(j)
	}
}

// overtakes drops what L1 has of the job's key, and leaves L1 to this flight.
func (c *Cache[K, V]) overtakes(j *job[K, V]) {
	j.gen = c.l1.Overtake(j.key, j.gen)
	c.flights.Restart(j.key, j.call, j.gen)
}

func (c *Cache[K, V]) insertL1(j *job[K, V], ttl time.Duration) {
	if !j.replaced && c.invertible(j.key, j.l2key) {
		c.l1.Insert(j.key, j.gen, j.ans.Value, j.ans.Negative, ttl)
	}
}

// await waits until the node that holds the lease has filled the key, or given
// up, or died, and looks again.
func (c *Cache[K, V]) await(ctx context.Context, j *job[K, V], loader jobLoader[K, V]) {
	wake, stop := c.waiters.add(j.key)
	defer stop()
	poll := newPoll()
	defer poll.stop()
	for {
		var toLoad []*job[K, V]
		if len(c.lookUp([]*job[K, V]{j}, &toLoad)) == 0 {
			if len(toLoad) > 0 {
				c.load(ctx, toLoad, loader)
			}
			return
		}
		start := time.Now()
		select {
		case <-wake:
		case <-poll.next():
		case <-c.life.closing:
			c.end(j, ErrClosed)
			return
		}
		j.ans.L2Time += time.Since(start)
	}
}

// settle makes the job's answer known to those who came before its read.
func (c *Cache[K, V]) settle(j *job[K, V]) {
	c.flights.Settle(j.call, j.ans, j.ans.Err != nil && !j.ans.Negative, j.asOf)
}

func (c *Cache[K, V]) finish(j *job[K, V], t flight.Trust) { c.flights.Finish(j.key, j.call, t) }

// end ends a job with a failure.
func (c *Cache[K, V]) end(j *job[K, V], err error) {
	j.ans.Err = err
	c.settle(j)
	c.finish(j, flight.TrustNone)
}

func (c *Cache[K, V]) encode(v V, negative bool, token Token) ([]byte, error) {
	e := envelope.Entry{
		Negative: negative, Codec: c.entries.Codec, Schema: c.entries.Schema, Type: c.entries.Type,
		Token: token, Stored: time.Now(), StaleFor: c.staleFor(negative),
	}
	if !negative {
		var err error
		if e.Payload, err = c.opts.Codec.Encode(v); err != nil {
			return nil, err
		}
		if c.opts.Version != nil {
			e.Version = c.opts.Version(v)
		}
	}
	return envelope.Append(nil, e, c.opts.CompressAbove), nil
}

func (c *Cache[K, V]) decode(b []byte) (v V, e envelope.Entry, err error) {
	if e, err = c.entries.Decode(b); err == nil && !e.Negative {
		v, err = c.opts.Codec.Decode(e.Payload)
	}
	return v, e, err
}
