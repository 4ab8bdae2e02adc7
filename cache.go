package aside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/flight"
	"github.com/asidecache/aside/internal/l1"
)

// Cache is a typed two-tier cache-aside cache between an application and its
// primary. Make one with New; all methods are safe for concurrent use. What a
// reader may see after a write is stated in docs/guarantees.md.
type Cache[K comparable, V any] struct {
	opts       Options[K, V]
	prefix     string // of every key in L2: the 0 is the version of this layout
	entries    envelope.Reader
	customKeys bool
	log        *slog.Logger

	l1                *l1.Tier[K, V]
	tier              *tier // nil without L2
	flights           *flight.Group[K, answer[V]]
	asked             gather[*job[K, V]] // reads to look up
	toFill, toAbandon gather[*job[K, V]] // loads to store, and leases to give back
	expect            expectation        // of what look-ups find
	waiters           waiters[K]
	pending           pending[K]
	orphans           orphans
	overdue           overdue[K]
	places            *places // of the loaders that run
	n                 counters
	warn              sometimes

	limits  deadline.Queue // of the loads that run; Close gives up on them by it
	unwatch func()

	life life // flights, writes and the recovery

	// rec is locked by callbacks of the breaker, under the breaker's own lock:
	// never call the breaker while holding it.
	rec struct {
		sync.Mutex
		running bool
		wanted  bool // asked for since the recovery last looked
		// after is how far L2 was told of pending writes, in their order, when
		// that had to stop. The next time goes on there.
		after atomic.Uint64
	}
}

// New makes a cache, or reports every fault of opts at once. Close it when done.
func New[K comparable, V any](opts Options[K, V]) (*Cache[K, V], error) {
	custom := opts.Key != nil
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache[K, V]{
		opts:       opts,
		prefix:     "aside:" + opts.Name + ":0:",
		entries:    envelope.Reader{Codec: opts.Codec.ID(), Schema: opts.SchemaVersion, Type: envelope.TypeOf(reflect.TypeFor[V]())},
		customKeys: custom,
		log:        opts.Logger.With("cache", opts.Name),
		places:     newPlaces(opts.MaxLoads, opts.MaxQueuedLoads),
		unwatch:    func() {},
		flights:    flight.NewGroup[K, answer[V]](),
	}
	c.pending.max = opts.MaxPending
	c.life.init()
	if c.l1, err = l1.New(l1.Config[K, V]{MaxEntries: opts.L1Size, MaxCost: opts.L1MaxCost, Cost: opts.L1Cost}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if opts.L2 != nil {
		c.tier = newTier(opts.L2, opts.L2Timeout, opts.BreakerFailures, opts.BreakerDelay, &c.n, c.log, opts.OnL2, c.recover)
		if c.unwatch, err = opts.L2.Watch(c.prefix, Watcher{Changed: c.changed, Lost: c.lost}); err != nil {
			c.l1.Close()
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	return c, nil
}

// Level is how current a read must be.
type Level uint8

const (
	// Default may be answered by L1. It sees every write acknowledged by this
	// process, and those of others once their invalidation has been delivered.
	Default Level = iota
	// Strong sees every write through a Cache of this name that was
	// acknowledged, on any node, before the read began. It passes L1 over and
	// asks L2, or the primary where there is no L2 to ask.
	Strong
)

// Source says where an answer came from.
type Source uint8

const (
	SourceNone Source = iota
	SourceL1          // this process' memory
	SourceL2          // the shared tier
	SourceLoad        // the primary
)

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

// Info says how a read was answered.
type Info struct {
	Source    Source
	Coalesced bool // another read's look-up or load was shared
	Negative  bool // the primary has no such record
	Stale     bool // past its TTL: the load failed, see Options.StaleFor

	L2Time   time.Duration // spent asking L2, and waiting for another node's load
	LoadTime time.Duration // spent in the loader, its wait for a place included
}

// Result is a value and how it was found.
type Result[V any] struct {
	Value V
	Info
	// Err is the key's own failure, or ErrNotFound for a confirmed absence.
	Err error
}

// Get returns the value for key, from L1, from L2, or from loader on a miss,
// in which case both tiers are filled (read-through). A confirmed absence is
// ErrNotFound. It returns early, with ctx's error, when ctx ends; the load then
// goes on for whoever else waits for it.
//
// A hit in L1 allocates nothing; make the loader once rather than for each call
// to keep it so.
func (c *Cache[K, V]) Get(ctx context.Context, key K, loader Loader[K, V]) (V, error) {
	if e, ok := c.l1.Get(key); ok {
		if e.Negative() {
			c.n.negatives.Add(1)
			return e.Value, ErrNotFound
		}
		return e.Value, nil
	}
	r := c.read(ctx, key, loader, Default)
	return r.Value, r.Err
}

// Read is Get at a level, and tells how the answer was found. The error is the
// Result's Err.
func (c *Cache[K, V]) Read(ctx context.Context, key K, loader Loader[K, V], level Level) (Result[V], error) {
	if level == Default {
		if r, ok := c.readL1(key); ok {
			return r, r.Err
		}
	}
	r := c.read(ctx, key, loader, level)
	return r, r.Err
}

func (c *Cache[K, V]) readL1(key K) (r Result[V], ok bool) {
	e, ok := c.l1.Get(key)
	if !ok {
		return r, false
	}
	r.Source, r.Value = SourceL1, e.Value
	if e.Negative() {
		c.n.negatives.Add(1)
		r.Negative, r.Err = true, ErrNotFound
	}
	return r, true
}

// GetMany returns the values of those keys that exist, with at most one call of
// loader for all misses together (and one for each key that another node was
// loading and failed to). If any key failed, the error is a KeyErrors with each
// of them, beside the values of the others. Keys may repeat.
func (c *Cache[K, V]) GetMany(ctx context.Context, keys []K, loader BulkLoader[K, V]) (map[K]V, error) {
	results, err := c.ReadMany(ctx, keys, loader, Default)
	values := make(map[K]V, len(results))
	for k, r := range results {
		if r.Err == nil {
			values[k] = r.Value
		}
	}
	return values, err
}

// Invalidate drops keys whose records were changed elsewhere, without Write,
// from every tier and node. Call it after the change. If L2 cannot be reached
// the keys are remembered and, with FailClosed, ErrL2Unavailable is returned.
func (c *Cache[K, V]) Invalidate(ctx context.Context, keys ...K) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !c.life.enter() {
		return ErrClosed
	}
	defer c.life.leave(1)
	keys = unique(keys)
	if len(keys) == 0 {
		return nil
	}
	// L1 before and after: a read between the two could fill it from the old L2.
	c.dropL1(keys)
	defer c.dropL1(keys)
	if c.tier == nil {
		return nil
	}
	l2keys := make([]string, len(keys))
	for i, k := range keys {
		l2keys[i] = c.l2key(k)
	}
	var failed error
	for i, err := range c.tier.invalidate(l2keys) {
		if err != nil {
			failed = err
			c.pending.add(keys[i], Token{}, time.Now())
		}
	}
	if failed == nil {
		return nil
	}
	c.recover()
	if c.opts.OnL2Down == FailClosed {
		return fmt.Errorf("%w: %w", ErrL2Unavailable, failed)
	}
	return nil
}

// Clear drops every entry of this cache, of all schema versions, from all tiers.
// It scans L2, which takes time in proportion to all that is there; ctx bounds it.
func (c *Cache[K, V]) Clear(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !c.life.enter() {
		return ErrClosed
	}
	defer c.life.leave(1)
	c.l1.Flush()
	defer c.l1.Flush()
	if c.tier == nil {
		return nil
	}
	if err := c.tier.clear(c.prefix); err != nil {
		return fmt.Errorf("%w: %w", ErrL2Unavailable, err)
	}
	return nil
}

// Close ends the cache: new calls return ErrClosed, running loads and writes are
// waited for until ctx ends and then given up, and L2 is told of what it does
// not know yet. It returns an error if something had to be given up. It does
// not close L2.
func (c *Cache[K, V]) Close(ctx context.Context) error {
	if !c.life.close() {
		return nil
	}
	var errs []error
	select {
	case <-c.life.idle:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("aside: closed before all loads and writes ended: %w", ctx.Err()))
	}
	c.limits.Close()
	if c.tier != nil && c.pending.len() > 0 {
		c.drain(true)
		if n := c.pending.len(); n > 0 {
			errs = append(errs, fmt.Errorf("%w: %d written keys could not be invalidated", ErrL2Unavailable, n))
		}
	}
	c.unwatch()
	c.l1.Close()
	return errors.Join(errs...)
}

// changed is L2's notice that another node changed a key.
func (c *Cache[K, V]) changed(s string) {
	if c.opts.ParseKey == nil {
		return // no L1: nothing to drop, and waiters poll
	}
	k, err := c.opts.ParseKey(s)
	if err != nil {
		return // such a key was never let into L1
	}
	c.n.invalidations.Add(1)
	c.l1.Invalidate(k)
	c.waiters.wake(k)
}

// lost is L2's notice that changes may have been missed.
func (c *Cache[K, V]) lost() {
	c.n.l1Flushes.Add(1)
	c.l1.Flush()
	c.waiters.wakeAll()
}

func (c *Cache[K, V]) dropL1(keys []K) {
	for _, k := range keys {
		c.l1.Invalidate(k)
	}
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
