package aside

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/tags"
)

// Inspection is what the tiers have of one key, see [Cache.Inspect].
type Inspection[V any] struct {
	Key   string // as Options.Key gives it
	L2Key string // its name in L2; "" without L2

	// L1 and L2 are nil if there is nothing.
	L1, L2 *InspectedEntry[V]
	// L2Err is why L2 could not be looked at, or nil. L2 is then nil too.
	L2Err error

	Writing bool // a Write of this key runs on this node
	Loading bool // a loader of this key runs, or queues, on this node
	// Pending: this node has yet to tell L2 of a change of the record, or waits for the
	// end of a write whose outcome is unknown. Until then the primary answers reads.
	Pending bool
}

// EntryKind is what an entry is.
type EntryKind uint8

const (
	EntryUnknown  EntryKind = iota // not an entry of a cache: it is replaced
	EntryValue                     // a value
	EntryNegative                  // the primary has no such record
	EntryLease                     // a node loads the record
	EntryFence                     // writes are under way, or the outcome of one is unknown
)

// String returns "value", "negative", "lease", "fence" or "unknown".
func (k EntryKind) String() string {
	switch k {
	case EntryValue:
		return "value"
	case EntryNegative:
		return "negative"
	case EntryLease:
		return "lease"
	case EntryFence:
		return "fence"
	}
	return "unknown"
}

// InspectedEntry is an entry as a tier has it. L1 has only values and absences, and only
// the fields that are marked with "L1 too".
type InspectedEntry[V any] struct {
	Kind  EntryKind // L1 too
	Value V         // L1 too: of an EntryValue, if Err is nil
	// Err is why this cache cannot use the entry. For example, the value cannot be decoded,
	// should have expired, or has a tag that was invalidated. A read handles such an entry as
	// absent and replaces it. Exceptions are a fence of an unknown format, which stays, and a
	// value with TooLarge.
	Err error
	// TooLarge: the value is larger than MaxEntrySize of the node that loaded it. The entry
	// does not contain it. Each node loads it for itself.
	TooLarge bool

	// Version of the record, if Options.Version or its loader gives it. Of a fence: the feed
	// has told of this version, so no older one is published. 0: none. L1 too.
	Version uint64
	Stored  time.Time     // by the clock of the node that stored it; zero: not known
	Age     time.Duration // since then, by the clock of this node
	// Left is how long the entry still lives, or the lease or fence holds. Negative: it
	// has no end. It includes the time in which a value is Stale. L1 too.
	Left  time.Duration
	Stale bool     // a value that is past its TTL and kept for StaleFor or StaleWhileRevalidate. L1 too
	Tags  []string // L1 too

	// As the entry says, of values and absences.
	Format     byte // also of leases and fences: their second byte
	Codec      byte
	Schema     uint32
	Compressed bool

	Size int    // in bytes, as stored
	Node NodeID // who stored it, or leases it; of L1 this node. Zero: not known

	Writers []InspectedWriter // of a fence

	// Carried is the entry that was there when the lease was granted, such as a stale value,
	// or one that a node refreshes. Other reads may get it while the load runs, and it is put
	// back if the load fails. Nil: the lease carries nothing, or that entry has ended.
	Carried *InspectedEntry[V]
}

// InspectedWriter is one writer of a fence, or what is left of one that crashed.
type InspectedWriter struct {
	Node NodeID
	Left time.Duration // until its fence ends by itself; negative: it does not
	// MayPublish: the writer may store its record when its write ends, since nothing
	// else has touched the key.
	MayPublish bool
	// Crowd: this stands for all writers beyond the 32nd.
	Crowd bool
}

// inspectTimeout is for connecting too, which is why it is longer than L2Timeout.
const inspectTimeout = 2 * time.Second

// Inspect returns what the tiers have of key, for people who look for a fault. It
// changes nothing, and is not a read: nothing is loaded, leased or counted, no entry
// lives longer for it, and L2 does not begin to report changes of the key. It asks L2
// also while the cache does not use L2.
//
// The error is ErrClosed or ErrKey, that of ctx, or a *PanicError of Options.Key. A
// failure of L2 is Inspection.L2Err.
func (c *Cache[K, V]) Inspect(ctx context.Context, key K) (i Inspection[V], err error) {
	if err := ctx.Err(); err != nil {
		return i, err
	}
	if err := checkKeys(key); err != nil {
		return i, err
	}
	if !c.inflight.begin() {
		return i, ErrClosed
	}
	defer c.inflight.done(1)
	if c.opts.Key == nil {
		i.Key = fmt.Sprint(key)
	} else if i.Key, err = c.key(key); err != nil {
		return i, err
	}
	i.Writing, i.Loading, i.Pending = c.writing.has(key), c.flights.Loading(key), c.outbox.Holds(key)
	if e, left, ok := c.l1.Inspect(key); ok {
		i.L1 = &InspectedEntry[V]{Kind: EntryValue, Value: e.Value, Left: left, Stale: e.Stale(), Node: c.node}
		if e.Negative() {
			i.L1.Kind = EntryNegative
		} else {
			i.L1.Version = c.versionOf(e.Value, e.Marks)
		}
		if e.Marks != nil {
			i.L1.Tags = slices.Clone(e.Marks.Tags)
		}
	}
	if c.l2 == nil {
		return i, nil
	}
	i.L2Key = c.prefix + i.Key
	raw, err := c.l2.inspect(ctx, i.L2Key, c.mostInspected())
	if err != nil {
		i.L2Err = err
		return i, ctx.Err()
	}
	i.L2 = c.inspected(ctx, key, raw)
	return i, nil
}

// mostInspected is how many bytes of an entry are of use, 0 for all: as a fence, which
// has a bound, or as a value.
func (c *Cache[K, V]) mostInspected() int {
	if c.opts.MaxEntrySize < 0 {
		return 0
	}
	// A lease may carry a value. 1: it is seen to be longer.
	return max(envelope.MaxFence, c.opts.MaxEntrySize+envelope.MaxHeaderLen+envelope.LeaseOverhead) + 1
}

// inspect asks past the circuit breaker: what people look for may be why it is open,
// and what they do is no sign of how L2 is.
func (g *guardedL2) inspect(ctx context.Context, key string, most int) (driver.Raw, error) {
	t, ok := g.l2.(driver.Inspecting)
	if !ok {
		return driver.Raw{}, fmt.Errorf("aside: L2 (%T) is not a driver.Inspecting", g.l2)
	}
	ctx, cancel := context.WithTimeout(ctx, max(inspectTimeout, g.batchTimeout(1, int(g.entrySize.Load()))))
	defer cancel()
	return t.Inspect(ctx, key, most)
}

var errForeign = errors.New("aside: not an entry of a cache")

// inspected reads what L2 has. It may be anything.
func (c *Cache[K, V]) inspected(ctx context.Context, key K, raw driver.Raw) *InspectedEntry[V] {
	b := raw.Entry
	if b == nil && !raw.Foreign {
		return nil
	}
	e := &InspectedEntry[V]{Left: raw.Left, Size: raw.Size}
	if len(b) == 0 {
		e.Err = errForeign
		return e
	}
	if len(b) > 1 {
		e.Format = b[1]
	}
	switch b[0] {
	case envelope.KindValue, envelope.KindNegative:
		c.inspectEntry(ctx, key, e, raw)
	case envelope.KindLease:
		e.Kind = EntryLease
		if l, ok := envelope.ParseLease(b); ok {
			e.Node = nodeOf(l.Token)
			if left := l.Ends.Sub(raw.Now); l.Carried != nil && left > 0 {
				e.Carried = c.inspected(ctx, key, driver.Raw{Entry: l.Carried, Size: raw.Size - envelope.LeaseOverhead, Left: left, Now: raw.Now})
			}
		}
		if most := 10 * c.leaseTTL(); raw.Left < 0 || raw.Left > most {
			e.Err = fmt.Errorf("aside: a lease that lasts longer than %v: no cache creates such a lease, and a read takes it over", most)
		}
	case envelope.KindFence:
		e.Kind = EntryFence
		f, ok := envelope.ParseFence(b)
		if !ok { // so is one that was cut: it is longer than any
			e.Err = errors.New("aside: a fence of a format that is not known: it stands until it ends")
			return e
		}
		e.Version = f.Since
		e.Writers = inspectWriters(f, raw)
	default:
		e.Format, e.Err = 0, errForeign
	}
	return e
}

func (c *Cache[K, V]) inspectEntry(ctx context.Context, key K, e *InspectedEntry[V], raw driver.Raw) {
	b := raw.Entry
	e.Kind = EntryNegative
	if b[0] == envelope.KindValue {
		e.Kind = EntryValue
	}
	if version, token, ok := envelope.Head(b); ok {
		e.Version, e.Node = version, nodeOf(token)
	}
	var v V
	var d envelope.Entry
	var err error
	if len(b) < raw.Size {
		d, _ = c.entries.Decode(b) // its header
		err = fmt.Errorf("aside: an entry of %d bytes, more than MaxEntrySize allows", raw.Size)
	} else {
		v, d, err = c.decode(key, b)
	}
	if !d.Stored.IsZero() { // the format is known
		e.Codec, e.Schema, e.Compressed = d.Codec, d.Schema, envelope.Compressed(b)
		if y := d.Stored.UTC().Year(); 0 < y && y < 10_000 { // JSON has no others
			e.Stored, e.Age = d.Stored, time.Since(d.Stored)
		}
	}
	keep := envelope.StaleFor(b)
	e.Stale = keep > 0 && raw.Left >= 0 && raw.Left <= keep
	if err == nil {
		err = c.checkAge(d, time.Since(d.Stored))
	}
	if err == nil && c.older(key, d.Version) {
		err = errOlder
	}
	if e.Tags = d.Tags; err == nil && c.invalidated(ctx, marksOf(d)) {
		err = errTagged
	}
	if e.TooLarge = d.Elsewhere; e.TooLarge && err == nil {
		err = errors.New("aside: the value is larger than MaxEntrySize: each node loads it for itself")
	}
	if e.Err = err; err == nil {
		e.Value = v
	}
}

// invalidated reports whether an entry of L2 has a tag that was invalidated since. It asks
// for the table, as a read does, if this node cannot tell.
func (c *Cache[K, V]) invalidated(ctx context.Context, m *tags.Marks) bool {
	if !m.Tagged() || c.l2.tagging == nil {
		return false
	}
	if !c.tags.Watched() || c.tags.Judge(m) == tags.Unknown {
		_ = c.askTagsOnce(ctx)
	}
	return c.tags.Judge(m) == tags.Useless
}

// inspectWriters returns the writers whose fences stand.
func inspectWriters(f envelope.Fence, raw driver.Raw) (all []InspectedWriter) {
	for _, w := range f.Writers {
		left := raw.Left
		if !w.Ends.IsZero() {
			if left = w.Ends.Sub(raw.Now); left <= 0 {
				continue
			}
			if raw.Left >= 0 {
				left = min(left, raw.Left) // no record outlives its key
			}
		}
		crowd := w.Token == envelope.Common
		iw := InspectedWriter{Left: left, Crowd: crowd, MayPublish: !f.Shared && len(f.Writers) == 1 && !crowd}
		if !crowd {
			iw.Node = nodeOf(w.Token)
		}
		all = append(all, iw)
	}
	return all
}

// tally counts what runs for each key.
type tally[K comparable] struct {
	mu sync.Mutex
	n  map[K]int
}

func (t *tally[K]) add(keys []K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[K]int{}
	}
	for _, k := range keys {
		t.n[k]++
	}
}

func (t *tally[K]) done(keys []K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if t.n[k]--; t.n[k] == 0 {
			delete(t.n, k)
		}
	}
}

// many reports whether more than one runs for k.
func (t *tally[K]) many(k K) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[k] > 1
}

func (t *tally[K]) has(k K) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[k] > 0
}
