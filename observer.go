package aside

import (
	"context"
	"reflect"
	"time"

	"github.com/asidecache/aside/driver"
)

// Observer has functions that the cache calls to say what it does. Package asideotel makes
// traces and metrics with one. All functions are optional; one that is nil costs nothing.
// Many goroutines call them, never under a lock of the cache. A panic of one is recovered
// and counted (Stats.Panics). docs/reference/events.md says when each is called.
type Observer struct {
	// Start is called when an operation begins, and End when it has ended, once for each
	// Start that has returned. Start returns the context that the operation uses from then
	// on. It must be ctx, or derived from ctx. A loader and a write function get this
	// context. So a span that Start puts into it reaches the driver of the database. End is
	// called with the context that Start has returned.
	//
	// Both run in the goroutine of the operation, which waits for them. An operation may be
	// a child of another: the load and the lookup of a read get the context of that read. A
	// child may end after its parent: a caller that leaves does not end a load, and a loaded
	// value is stored after the caller has its answer.
	Start func(ctx context.Context, op Op) context.Context
	End   func(ctx context.Context, op Op, r OpResult)

	// Hit is called for each read that L1 has answered, and for each such key of a read of
	// several keys. Such a read is not an operation. The call costs more than the lookup in
	// L1.
	Hit func(ctx context.Context, op Op, info Info)

	// Event is called for what happens without a caller, and so without a context. e.Kind is
	// one of EventInvalidation, EventChange, EventChangeKnown, EventReplace, EventDeliver,
	// EventEvict, EventFlush, and of those of the cache's state: EventDegraded and
	// EventRestored, EventFed and EventUnfed, EventLead and EventFollow. key is of type K,
	// and nil if the event is of no single key. The cache looks at its state once a second,
	// and when its L2 fails.
	//
	// The calls come from one goroutine, in order. If 1024 events wait for it, further ones
	// are left out (Event.Missed), but not those of the cache's state.
	Event func(key any, e Event)
}

// operations reports whether it is told of operations.
func (o *Observer) operations() bool { return o.Start != nil || o.End != nil }

// OpKind is a kind of operation.
type OpKind uint8

const (
	OpRead          OpKind = iota + 1 // a call that reads, of one key or of several, that L1 has not answered
	OpLookup                          // L2 is asked for a key; another node's load may be waited for
	OpLoad                            // a call of a loader
	OpFill                            // a loaded value is stored in L2
	OpWrite                           // a call of Write
	OpFence                           // L2 is told that a write begins
	OpRelease                         // L2 is told that a write has ended
	OpInvalidate                      // a call of Invalidate
	OpInvalidateTag                   // a call of InvalidateTag, which names no keys
)

var opNames = [...]string{
	OpRead: "read", OpLookup: "lookup", OpLoad: "load", OpFill: "fill",
	OpWrite: "write", OpFence: "fence", OpRelease: "release", OpInvalidate: "invalidate", OpInvalidateTag: "invalidate-tag",
}

// String returns one word, of small letters and hyphens.
func (k OpKind) String() string {
	if int(k) < len(opNames) && opNames[k] != "" {
		return opNames[k]
	}
	return "none"
}

// Op is an operation that an Observer is told of.
type Op struct {
	Kind  OpKind
	Cache string // Options.Name
	Key   any    // of type K; nil if the operation is for several keys
	Keys  int    // how many
	Mode  Mode   // of an OpRead
	// Background: nobody has asked for it, such as the load of a refresh. Its context has
	// the values of the read that made it begin.
	Background bool
	// Links are the contexts of the other reads that the operation is for: the load of
	// several reads has the context of one.
	Links []context.Context
}

// Outcome is how an operation has ended, in one word.
type Outcome string

const (
	OutcomeFound   Outcome = "found"   // lookup: L2 has an entry
	OutcomeGranted Outcome = "granted" // lookup: this node loads the record, and may store it
	OutcomeFenced  Outcome = "fenced"  // lookup: a write is under way, so the primary is asked
	OutcomeWaited  Outcome = "waited"  // lookup: another node loads the record, and the read stopped waiting for it
	OutcomeLoaded  Outcome = "loaded"  // load: the primary has the record, or some of the records
	OutcomeAbsent  Outcome = "absent"  // load: it has no such record
	OutcomeStored  Outcome = "stored"  // fill
	OutcomeRefused Outcome = "refused" // fill: a write came between; write: the primary has refused it
	OutcomeWritten Outcome = "written" // write: the primary has applied it
	OutcomeUnknown Outcome = "unknown" // write: nobody knows whether the primary applies it
	OutcomeFailed  Outcome = "failed"  // Err says why
)

// OpResult is how an operation has ended.
type OpResult struct {
	Took    time.Duration
	Outcome Outcome // "" of kinds without one, if there was no error
	Info    Info    // of an OpRead of one key
	// Err is what the caller gets, or what the operation failed with. It is nil if an
	// OpLookup, OpLoad or OpFill found that there is no such record; an OpRead of one key
	// has ErrNotFound then.
	Err error
	// Shared are the contexts of lookups and loads of other reads that brought an OpRead its
	// answer: each is the one that Start has returned for it.
	Shared []context.Context
}

// operation is one that the observer has been told of. Of nil nothing is told.
type operation struct {
	ctx    context.Context // what it has from now on
	op     Op
	began  time.Time
	shared []context.Context
	silent bool // Start has panicked: End would get a context that is not its own
}

// startOp tells the observer, if there is one, of an operation.
func (c *Cache[K, V]) startOp(ctx context.Context, kind OpKind, mode Mode, keys ...K) *operation {
	if !c.opts.Observer.operations() {
		return nil
	}
	return c.startObserved(ctx, Op{Kind: kind, Mode: mode}, keys)
}

func (c *Cache[K, V]) startObserved(ctx context.Context, op Op, keys []K) *operation {
	op.Cache, op.Keys = c.opts.Name, len(keys)
	o := &operation{ctx: ctx, op: op, began: time.Now()}
	if len(keys) == 1 {
		o.op.Key = keys[0]
	}
	if c.opts.Observer.Start != nil {
		derived, err := c.observerStart(ctx, o.op)
		if o.silent = err != nil; derived != nil {
			o.ctx = derived
		}
	}
	return o
}

func (c *Cache[K, V]) observerStart(ctx context.Context, op Op) (derived context.Context, err error) {
	defer c.recovered("Observer.Start", &err)
	return c.opts.Observer.Start(ctx, op), nil
}

// endOp tells the observer that an operation has ended. An Outcome that is not given is
// OutcomeFailed if there was an error.
func (c *Cache[K, V]) endOp(o *operation, r OpResult) {
	if o == nil || o.silent || c.opts.Observer.End == nil {
		return
	}
	r.Took, r.Shared = time.Since(o.began), o.shared
	if r.Outcome == "" && r.Err != nil && !r.Info.Negative {
		r.Outcome = OutcomeFailed
	}
	var err error
	defer c.recovered("Observer.End", &err)
	c.opts.Observer.End(o.ctx, o.op, r)
}

// context returns that of the operation, or ctx if nothing is told of it.
func (o *operation) context(ctx context.Context) context.Context {
	if o == nil {
		return ctx
	}
	return o.ctx
}

// share notes that a read got its answer from another's lookup or load.
func (o *operation) share(ctx context.Context) {
	if o != nil && ctx != nil {
		o.shared = append(o.shared, ctx)
	}
}

// hit tells of a read that L1 has answered.
func (c *Cache[K, V]) hit(ctx context.Context, key K, mode Mode, info Info) {
	var err error
	defer c.recovered("Observer.Hit", &err)
	c.opts.Observer.Hit(ctx, Op{Kind: OpRead, Cache: c.opts.Name, Key: key, Keys: 1, Mode: mode}, info)
}

// startLookup tells that L2 is asked for a job's key, once until it has answered with
// something else than that another node loads the key.
func (c *Cache[K, V]) startLookup(j *job[K, V]) {
	if j.op != nil {
		return
	}
	if c.startJobOp(j, OpLookup); j.op != nil {
		j.ans.by = j.op.ctx
	}
}

// startJobOp starts the lookup or the fill of a job.
func (c *Cache[K, V]) startJobOp(j *job[K, V], kind OpKind) {
	if c.opts.Observer.operations() {
		j.op = c.startObserved(j.ctx, Op{Kind: kind, Background: j.ahead}, []K{j.key})
	}
}

// endJobOp ends the lookup or the fill of a job.
func (c *Cache[K, V]) endJobOp(j *job[K, V], outcome Outcome, err error) {
	if j.op != nil {
		c.endOp(j.op, OpResult{Outcome: outcome, Err: err})
		j.op = nil
	}
}

// startLoad tells that the loader is about to be called.
func (c *Cache[K, V]) startLoad(l *running[K, V]) {
	if !c.opts.Observer.operations() {
		return
	}
	keys := make([]K, len(l.jobs))
	var links []context.Context
	ahead := true
	for i, j := range l.jobs {
		keys[i] = j.key
		ahead = ahead && j.ahead
		if !same(j.ctx, l.parent) && (len(links) == 0 || !same(j.ctx, links[len(links)-1])) {
			links = append(links, j.ctx)
		}
	}
	l.op = c.startObserved(l, Op{Kind: OpLoad, Links: links, Background: ahead}, keys)
	for _, j := range l.jobs {
		j.ans.by = l.op.ctx
	}
}

// same reports whether two contexts are one. Not every context can be compared.
func same(a, b context.Context) bool {
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// endLoad tells what the loader has returned.
func endLoad[K comparable, V any](c *Cache[K, V], l *running[K, V], out []loaded[V]) {
	if l.op == nil {
		return
	}
	r := OpResult{Outcome: OutcomeAbsent, Err: failure(out)}
	for _, o := range out {
		if o.err == nil {
			r.Outcome = OutcomeLoaded
		}
	}
	if r.Err != nil {
		r.Outcome = OutcomeFailed
	}
	c.endOp(l.op, r)
}

// writeOutcome is what is known of a write whose function was called.
type writeOutcome struct {
	known bool
	err   error // of the function
}

// result is what the observer is told of a write that returns err.
func (f *fence[K, V]) result(err error) OpResult {
	switch {
	case f.outcome == nil:
		return OpResult{Err: err}
	case !f.outcome.known: // err is nil if the function has panicked
		return OpResult{Outcome: OutcomeUnknown, Err: f.outcome.err}
	case f.outcome.err != nil:
		return OpResult{Outcome: OutcomeRefused, Err: err}
	}
	return OpResult{Outcome: OutcomeWritten, Err: err}
}

// releaseHeld releases the keys of a write that has ended.
func (c *Cache[K, V]) releaseHeld(f *fence[K, V], published map[K]loaded[V]) error {
	if len(f.held) == 0 {
		return nil
	}
	op := c.startOp(f.ctx, OpRelease, 0, f.held...)
	err := c.release(f.held, f.names, f.token, published, f.outcome.err)
	c.endOp(op, OpResult{Err: err})
	return err
}

// endLookup tells what L2 has answered. A job whose key another node loads waits.
func (c *Cache[K, V]) endLookup(j *job[K, V], g driver.Grant) {
	switch {
	case j.op == nil:
	case g.Err != nil:
		c.endJobOp(j, OutcomeFailed, g.Err)
	case g.State == driver.StateFound:
		c.endJobOp(j, OutcomeFound, nil)
	case g.State == driver.StateFenced:
		c.endJobOp(j, OutcomeFenced, nil)
	case g.State != driver.StateLeased:
		c.endJobOp(j, OutcomeGranted, nil)
	}
}
