package aside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
	"github.com/asidecache/aside/internal/follower"
	"github.com/asidecache/aside/internal/l1"
	"github.com/asidecache/aside/internal/outbox"
	"github.com/asidecache/aside/internal/tags"
)

// Cache is a typed cache with two tiers between an application and its primary. Make
// one with New. All methods are safe for concurrent use. docs/reference/guarantees.md
// says what a reader may see after a write.
type Cache[K comparable, V any] struct {
	opts       Options[K, V]
	prefix     string // of every key in L2: the 0 is the version of this layout
	node       NodeID
	entries    envelope.Reader
	customKeys bool
	log        *slog.Logger

	l1       *l1.Tier[K, V]
	l2       *guardedL2 // nil without L2
	flights  *flight.Group[K, answer[V]]
	lookups  batcher[*job[K, V]] // of single reads
	fills    batcher[*job[K, V]] // of loads, and leases to give back
	abandons batcher[*job[K, V]]
	gathered gatherings[K, V]
	hedges   hedgeBudget
	// what lookups and fills are run by, made once: each read would allocate its own
	lookUpBatch, fillBatch, aheadBatch, overBatch func([]*job[K, V])

	usedJobs sync.Pool // of *job[K, V], empty

	aheads     batcher[*job[K, V]] // refreshes of what L1 has
	overs      batcher[*job[K, V]] // refreshes of what L2 has
	refreshing sync.Map            // keys of these
	failing    moments[K]          // keys whose loads have failed, until they may be tried again
	late       moments[K]          // keys whose loads take longer than SoftTimeout
	expect     expectation         // of what lookups find
	waiters    waiters[K, V]
	outbox     *outbox.Outbox[K]           // what L2 has yet to be told
	limiters   [maxNesting + 1]loadLimiter // of the loads that run, by level of nesting
	n          counters
	warn       sometimes
	tags       tagging
	watchers   watchers[K]
	happenings *happenings[K] // nil without Observer.Event
	top        tops[K]

	limits   deadline.Queue // of the loads that run; Close gives up on them by it
	unwatch  func()
	closed   chan struct{} // Close has ended
	closeErr error

	inflight inflight // flights, writes and the recovery
	workers  workers  // run the batches
	writing  tally[K] // the keys of writes that run, for Inspect

	feed      *follower.Follower // nil without a feed
	feedEnds  func()
	feedEnded chan struct{}

	// rec is locked by callbacks of the breaker, under the breaker's own lock:
	// never call the breaker while holding it.
	rec struct {
		sync.Mutex
		running bool
		wanted  bool // asked for since the recovery last looked
	}
}

// New makes a cache. It reports all faults of opts at once. Call Close when you no
// longer need the cache.
func New[K comparable, V any](opts Options[K, V]) (*Cache[K, V], error) {
	custom := opts.Key != nil
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache[K, V]{
		opts:       opts,
		prefix:     "aside:" + opts.Name + ":0:",
		node:       NodeIDOf(opts.Node),
		entries:    envelope.Reader{Codec: opts.Codec.ID(), Schema: opts.SchemaVersion, Type: envelope.TypeOf(reflect.TypeFor[V]())},
		customKeys: custom,
		log:        opts.Logger.With("cache", opts.Name),
		unwatch:    func() {},
		closed:     make(chan struct{}),
		flights:    flight.NewGroup[K, answer[V]](),
		outbox:     outbox.New[K](opts.MaxPending, maxFenceDebts, maxLeaseDebts),
	}
	c.lookUpBatch = func(jobs []*job[K, V]) { c.dispatch(c.lookUp(jobs)) }
	c.fillBatch, c.aheadBatch, c.overBatch = c.fill, c.runAhead, c.runOver
	c.entries.MaxPayload = max(0, opts.MaxEntrySize)
	c.inflight.init()
	c.workers.init(c.inflight.closing)
	for _, b := range []*batcher[*job[K, V]]{&c.lookups, &c.fills, &c.abandons, &c.aheads, &c.overs} {
		b.workers = &c.workers
	}
	c.hedges.init()
	for i := range c.limiters {
		c.limiters[i].init(opts.MaxLoads, opts.MaxQueuedLoads)
	}
	c.initTags()
	if opts.Observer.Event != nil {
		c.happenings = newHappenings[K]()
	}
	if c.l1, err = l1.New(c.l1Config()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if opts.L2 != nil {
		c.l2 = newGuardedL2(opts.L2, opts.L2Timeout, opts.BreakerFailures, opts.BreakerDelay, &c.n, c.log, c.onL2, c.startRecovery, &c.workers)
	}
	c.makeFollower()
	if opts.L2 != nil {
		if c.unwatch, err = opts.L2.Watch(c.prefix, driver.Watcher{Changed: c.changed, Lost: c.lost}); err != nil {
			c.l1.Close()
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	c.follow()
	if c.happenings != nil {
		go c.tellHappenings()
	}
	return c, nil
}

// Source is where an answer came from.
type Source uint8

const (
	SourceNone Source = iota // nothing answered: such as when ctx had ended, or Peek found nothing
	SourceL1                 // this process' memory
	SourceL2                 // the shared tier
	SourceLoad               // the primary
)

// String returns "none", "L1", "L2" or "load".
func (s Source) String() string {
	switch s {
	case SourceL1:
		return "L1"
	case SourceL2:
		return "L2"
	case SourceLoad:
		return "load"
	}
	return "none"
}

// Miss is why the primary was asked for a read.
type Miss uint8

const (
	MissNone      Miss = iota // the primary was not asked
	MissAbsent                // no tier had the record; the answer is stored, unless a write came between
	MissFenced                // a write of the record is under way, or its outcome is unknown
	MissDegraded              // L2 is unavailable
	MissLeaseWait             // another node's load took longer than Options.LeaseWait
	MissTooLarge              // the record is larger than Options.MaxEntrySize
	MissNoL2                  // the cache has no L2, and L1 did not have the record
	MissSkipped               // the caller skipped L2, see SkipL2
	MissRefresh               // the caller asked for a load, see Refresh
	MissSlowL2                // L2 took longer than Options.L2SoftTimeout
	// MissStale: the record was there, past its TTL and kept for StaleFor or
	// StaleWhileRevalidate. The answer was loaded. If Info.Stale is set, the answer is the
	// old value: the load still runs, or it failed.
	MissStale
)

// String returns the reason in one or two words, such as "absent" or "slow L2".
func (m Miss) String() string {
	switch m {
	case MissAbsent:
		return "absent"
	case MissFenced:
		return "fenced"
	case MissDegraded:
		return "degraded"
	case MissLeaseWait:
		return "lease wait"
	case MissTooLarge:
		return "too large"
	case MissNoL2:
		return "no L2"
	case MissSkipped:
		return "skipped"
	case MissRefresh:
		return "refresh"
	case MissSlowL2:
		return "slow L2"
	case MissStale:
		return "stale"
	}
	return "none"
}

// Info is how a read was answered.
type Info struct {
	Source    Source
	Coalesced bool   // another read's lookup or load was shared
	Negative  bool   // the primary has no such record
	Stale     bool   // past its TTL: see Options.StaleFor and StaleWhileRevalidate
	Miss      Miss   // why the primary was asked
	Version   uint64 // of the record, if Options.Version or its loader gives it; the same in all tiers

	// Age is how long ago the entry was stored, by the clock of this node. 0: not known, as
	// of an answer from L1, or just loaded.
	Age time.Duration
	// Left is how long the entry stays fresh in the tier that answered. After a load it is
	// how long the answer is to be kept. It may still not be stored, for example because it
	// cannot be encoded, or is older than the stale value. In L2, Left is an upper limit:
	// the entry does not tell by how much its TTL was shortened at random. Negative: the
	// entry has been past its TTL for so long. 0: the answer is not to be kept.
	Left time.Duration
	Tags []string // of the entry; nobody may change them
	// Node is who loaded or wrote what L2 has. It is this node for an answer from L1 or
	// of a load.
	Node NodeID

	L2Time   time.Duration // spent asking L2, and waiting for another node's load
	LoadTime time.Duration // spent in the loader, its wait for a slot included

	marks *tags.Marks // of an answer from L1, for those who share it
}

// Result is the answer of a read.
type Result[V any] struct {
	Value V
	Info
	// Err is the error of this key. It is ErrNotFound if there is no such record.
	Err error
}

// Get returns the value of key from L1 or L2. On a miss it calls loader, and the
// cache then fills both tiers. Without a loader it calls Options.Loader. If there is no
// such record, the error is ErrNotFound. When ctx ends, Get returns its error at once. A
// load that has begun goes on.
//
// A hit in L1 allocates nothing. Make the loader once, not for each call, so that the
// loader does not allocate either. Of several loaders, only the first counts.
func (c *Cache[K, V]) Get(ctx context.Context, key K, loader ...Loader[K, V]) (V, error) {
	if e, ok := c.l1.Get(key); ok {
		if c.opts.Observer.Hit != nil {
			c.hit(ctx, key, Default, Info{Source: SourceL1, Negative: e.Negative(), Stale: e.Stale(), Miss: missOf(e)})
		}
		if e.Plain() {
			return e.Value, nil
		}
		c.hitL1(ctx, key, e, first(loader), nil)
		if e.Negative() {
			return e.Value, ErrNotFound
		}
		return e.Value, nil
	}
	r := c.read(ctx, key, first(loader), Default)
	return r.Value, r.Err
}

// Read is Get with a mode. The Result also says where the answer came from. The error
// is the same as Result.Err. If loader is nil, the cache calls Options.Loader.
func (c *Cache[K, V]) Read(ctx context.Context, key K, loader Loader[K, V], mode Mode) (Result[V], error) {
	if !mode.skipsL1() {
		if r, ok := c.readL1(ctx, key, loader, nil); ok {
			if c.opts.Observer.Hit != nil {
				c.hit(ctx, key, mode, r.Info)
			}
			return r, r.Err
		}
	}
	r := c.read(ctx, key, loader, mode)
	return r, r.Err
}

// GetMany returns the values of the keys that exist. It calls loader once for all
// misses together, or as often as Options.Bulk.MaxKeys asks for, and again for keys that
// another node was loading but did not fill. Without a loader it calls
// Options.BulkLoader, or Options.Loader for each key. If keys failed, the error is a
// KeyErrors that contains them, and the map has the values of the other keys. With
// ErrKey and ErrNoLoader the map is empty. Keys may repeat.
func (c *Cache[K, V]) GetMany(ctx context.Context, keys []K, loader ...BulkLoader[K, V]) (map[K]V, error) {
	results, err := c.ReadMany(ctx, keys, first(loader), Default)
	values := make(map[K]V, len(results))
	for k, r := range results {
		if r.Err == nil {
			values[k] = r.Value
		}
	}
	return values, err
}

// Invalidate drops keys from all tiers and nodes. Call it after their records were
// changed without Write, such as by another program. If L2 is unavailable, the
// invalidation is queued; with FailClosed, Invalidate then returns
// ErrL2Unavailable.
func (c *Cache[K, V]) Invalidate(ctx context.Context, keys ...K) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkKeys(keys...); err != nil {
		return err
	}
	if !c.inflight.begin() {
		return ErrClosed
	}
	defer c.inflight.done(1)
	return c.invalidate(ctx, keys)
}

func (c *Cache[K, V]) invalidate(ctx context.Context, keys []K) (err error) {
	keys = unique(keys)
	if len(keys) == 0 {
		return nil
	}
	if op := c.startOp(ctx, OpInvalidate, 0, keys...); op != nil {
		defer func() { c.endOp(op, OpResult{Err: err}) }()
	}
	c.sawAll(keys, EventDrop, 0, nil)
	// L1 before and after: a read between the two could fill it from the old L2.
	c.dropL1(keys)
	defer c.dropL1(keys)
	if c.l2 == nil {
		return nil
	}
	l2keys, err := c.l2keys(keys)
	if err != nil {
		return err
	}
	var failed error
	for i, err := range c.l2.invalidate(l2keys) {
		if err != nil {
			failed = err
			c.outbox.AddWrite(keys[i], driver.Token{}, time.Now())
		}
	}
	if failed == nil {
		return nil
	}
	return c.queued(failed)
}

// queued has the recovery deliver an invalidation that L2 could not be told of. It returns
// what the caller is told.
func (c *Cache[K, V]) queued(failed error) error {
	c.startRecovery()
	if c.opts.OnL2Down == FailClosed {
		return fmt.Errorf("%w: %w", ErrL2Unavailable, failed)
	}
	return nil
}

// Clear drops all entries of this cache, of all schema versions, from all tiers. It
// scans L2, so it takes time in proportion to the number of all keys there. ctx
// limits that time. If L2 fails, the error is ErrL2Unavailable, with any policy.
func (c *Cache[K, V]) Clear(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !c.inflight.begin() {
		return ErrClosed
	}
	defer c.inflight.done(1)
	if err := c.clear(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrL2Unavailable, err)
	}
	return nil
}

// clear is Clear, also while the cache is being closed.
func (c *Cache[K, V]) clear(ctx context.Context) error {
	c.flushL1()
	defer c.flushL1()
	c.sawFlush()
	if c.l2 == nil {
		return nil
	}
	return c.l2.clear(ctx, c.prefix)
}

// Close closes the cache, but not L2. New calls return ErrClosed. Close waits for
// running loads and writes and delivers queued invalidations, until ctx ends; it
// returns an error if something was left. A second Close waits for the first and
// returns the same error.
func (c *Cache[K, V]) Close(ctx context.Context) error {
	if c.inflight.close() {
		defer close(c.closed)
		c.closeErr = c.close(ctx)
		return c.closeErr
	}
	select {
	case <-c.closed:
		return c.closeErr
	case <-ctx.Done():
		return fmt.Errorf("aside: not closed yet: %w", ctx.Err())
	}
}

func (c *Cache[K, V]) close(ctx context.Context) error {
	var errs []error
	errs = append(errs, c.unfollow(ctx))
	c.limits.End(func(owner any) bool { return owner.(interface{ unneeded() bool }).unneeded() })
	select {
	case <-c.inflight.idle:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("aside: closed before all loads and writes ended: %w", ctx.Err()))
	}
	c.limits.Close()
	if c.l2 != nil && c.outbox.Len(outbox.Write) > 0 {
		c.drain(ctx, true)
		if n := c.outbox.Len(outbox.Write); n > 0 {
			errs = append(errs, fmt.Errorf("%w: %d written keys could not be invalidated", ErrL2Unavailable, n))
		}
	}
	if c.l2 != nil && c.tags.Pending() > 0 {
		if c.tellTags(); c.tags.Pending() > 0 {
			errs = append(errs, fmt.Errorf("%w: %d tags could not be invalidated", ErrL2Unavailable, c.tags.Pending()))
		}
	}
	c.unwatch()
	c.closeTags()
	c.l1.Close()
	c.watchers.close()
	c.happenings.close(ctx)
	return errors.Join(errs...)
}

// changed is L2's notice that a key was changed, by another node or by this one, or that
// L2 dropped it.
func (c *Cache[K, V]) changed(s string) {
	if c.opts.ParseKey == nil {
		return // no L1: nothing to drop, and waiters poll
	}
	k, err := c.parseKey(s)
	if p := (*PanicError)(nil); errors.As(err, &p) {
		c.lost() // it may be in L1
		return
	}
	if err != nil {
		return // such a key was never let into L1
	}
	c.n.invalidations.Add(1)
	c.invalidateL1(k)
	c.saw(k, EventInvalidation, 0, 0, nil)
	c.waiters.wake(k)
}

// lost is L2's notice that changes may have been missed.
func (c *Cache[K, V]) lost() {
	c.n.l1Flushes.Add(1)
	c.flushL1()
	c.sawFlush()
	c.waiters.wakeAll()
	if c.feed != nil {
		c.feed.GoBack()
	}
	c.warn.do("L1 flush", func() {
		c.log.Warn("L1 was emptied: changes of other nodes may have been missed")
	})
}

// first returns the first element, or the zero value.
func first[T any](all []T) (t T) {
	if len(all) > 0 {
		t = all[0]
	}
	return t
}

// unique returns keys without repetitions, in order.
func unique[K comparable](keys []K) []K {
	if len(keys) < 2 {
		return keys
	}
	seen := make(map[K]struct{}, len(keys))
	out := make([]K, 0, len(keys))
	for _, k := range keys {
		if _, ok := seen[k]; !ok {
			seen[k] = struct{}{}
			out = append(out, k)
		}
	}
	return out
}
