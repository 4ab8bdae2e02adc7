package aside

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/outbox"
)

// Stats is a snapshot of the counters of a cache since New, and of its state. The
// counters are read one after the other, so operations that are running may be in
// some of them only.
type Stats struct {
	HitsL1    uint64 // answered by L1
	HitsL2    uint64 // answered by L2
	Misses    uint64 // answered by the primary, by a load of this read or a shared one
	Negatives uint64 // of all answers: there is no such record
	Stale     uint64 // of all answers: values past their TTL, see Options.StaleFor and StaleWhileRevalidate
	Failures  uint64 // reads that returned an error other than ErrNotFound

	Loads        uint64 // calls of a loader
	LoadFailures uint64 // of these: returned an error other than ErrNotFound
	BatchedLoads uint64 // of Loads: calls of Options.BulkLoader for single reads that came together
	BatchedKeys  uint64 // keys in these calls
	Hedges       uint64 // keys loaded beside a lookup that was slow, see Options.L2SoftTimeout
	HedgesWon    uint64 // of these: the load answered the read
	Coalesced    uint64 // reads that shared another's load or lookup
	Overloads    uint64 // loads that got no slot: the queue was full, or LoadTimeout passed in it
	LoadsDropped uint64 // loads that left the queue, since their callers had all left
	LoadsRunning int
	LoadsQueued  int
	Flights      int // keys that are being read past L1 now
	Waiting      int // reads that wait for these: the first of each, and those that share it

	Refreshes       uint64 // loads of single keys in the background, see Options.RefreshAhead, StaleWhileRevalidate, SoftTimeout
	RefreshFailures uint64 // of these: failed
	SoftTimeouts    uint64 // reads, or groups of them, that did not wait longer than SoftTimeout for a load

	LeaseWaits   uint64        // reads that waited LeaseWait for another node's load
	LeasesWaited uint64        // reads that waited for another node's load, however long
	LeaseTime    time.Duration // how long these have waited, together
	LeasesNow    int           // those that wait now

	Fills        uint64 // loaded values stored in L2
	FillsRefused uint64 // loaded values not stored: a write came between
	OlderLoads   uint64 // loaded values not stored: the cache had a newer version
	TooLarge     uint64 // values not stored in L2: larger than MaxEntrySize
	Unencodable  uint64 // values not stored in L2: the codec failed
	Undecodable  uint64 // L2 entries that could not be used, and were replaced
	Panics       uint64 // of callbacks other than loaders; each became an error of its key

	Writes        uint64 // calls of Write
	WritesUnknown uint64 // of these: ended with the outcome unknown
	Fences        uint64 // keys fenced
	FencesLost    uint64 // fences that were gone when their write ended
	Published     uint64 // keys released with the new value
	// Invalidations are the notices from L2 that a key was changed or dropped. Own writes of
	// a key that this node had read count too: Redis reports them as well.
	Invalidations uint64

	TagInvalidations uint64 // tags that InvalidateTag was called with on this node
	TagMisses        uint64 // entries of L2 that were not used, because one of their tags was invalidated

	// InvalidationLag is how long a notice takes at most from L2 to this node, measured at
	// the last sign of life of its connections. With several servers it is the longest. 0:
	// not known.
	InvalidationLag time.Duration

	L2Errors uint64
	// L2ErrorsBy are the same by operation, as Options.OnL2 names them. Operations that
	// never failed are in it too.
	L2ErrorsBy    map[string]uint64
	EntriesRead   uint64 // entries found in L2, with the bytes of all of them
	BytesRead     uint64
	EntriesStored uint64 // entries that L2 has taken: fills and published values
	BytesStored   uint64
	// Breaker is the circuit breaker of L2.
	Breaker Breaker

	L1Entries   int    // including those that have expired and were not read since
	L1Cost      uint64 // see Options.L1Cost; the number of entries without it
	L1Evictions uint64
	L1Flushes   uint64 // how often L1 was emptied because invalidations may have been missed

	// Degraded: L2 is set, but the cache does not use it, or not fully.
	// DegradedReason says why in a sentence, DegradedCause in one word. DegradedSince is
	// when that began, even if the reason has changed since; zero if L2 does not tell.
	Degraded       bool
	DegradedReason string
	DegradedCause  DegradedCause
	DegradedSince  time.Time
	Pending        int // keys and tags to invalidate when L2 is back
	PendingFences  int // keys to release once more when the fences of unknown writes have ended
	PendingLeases  int // leases to give back
	// Overdue is how long the oldest message that could be sent to L2 now has waited; 0
	// if there is none. While L2 works it is well below a second.
	Overdue time.Duration
	// PendingOverflows is how often the whole cache was cleared because more than
	// MaxPending keys would have been pending. Untold is the number of leases and fences
	// that L2 was not told to remove, because too many were queued. They expire by
	// themselves.
	PendingOverflows, Untold uint64

	Feed FeedStats
}

// Breaker is the state of the circuit breaker of L2.
type Breaker uint8

const (
	BreakerNone     Breaker = iota // there is no L2
	BreakerClosed                  // L2 is in use
	BreakerHalfOpen                // L2 is tried
	BreakerOpen                    // L2 is skipped
)

// String returns "none", "closed", "half-open" or "open".
func (b Breaker) String() string {
	return [...]string{"none", "closed", "half-open", "open"}[min(b, BreakerOpen)]
}

// DegradedCause is why a cache does not, or not fully, use its L2. "" means that it does.
type DegradedCause string

const (
	DegradedReported DegradedCause = "reported" // L2 says that it cannot be used, or a part of it cannot
	DegradedFailing  DegradedCause = "failing"  // the last operation on L2 failed
	DegradedRefused  DegradedCause = "refused"  // L2 answers, but has refused an operation lately
	DegradedPending  DegradedCause = "pending"  // invalidations wait to be sent to L2
	DegradedOverflow DegradedCause = "overflow" // too many invalidations wait: the cache must be cleared first
)

// counters of everything but L1 hits, which are counted in internal/l1.
type counters struct {
	hitsL2, misses, negatives, stale, failures     atomic.Uint64
	loads, loadFailures, coalesced, overloads      atomic.Uint64
	dropped, leaseWaits, olderLoads, tooLarge      atomic.Uint64
	unencodable, panics, untold                    atomic.Uint64
	fillsRefused, undecodable                      atomic.Uint64
	writes, writesUnknown, fences, lost, published atomic.Uint64
	invalidations, l2Errors, l1Flushes             atomic.Uint64
	ownLeft, tagInvalidations, tagMisses, peekedL1 atomic.Uint64
	batchedLoads, batchedKeys, hedges, hedgesWon   atomic.Uint64
	refreshes, refreshFailures, softTimeouts       atomic.Uint64

	fills, leasesWaited, leaseTime atomic.Uint64 // leaseTime in ns
	entriesRead, bytesRead         atomic.Uint64
	entriesStored, bytesStored     atomic.Uint64
	l2ErrorsBy                     [len(l2Ops)]atomic.Uint64
}

// l2Ops are the names of the operations on L2.
var l2Ops = [...]string{
	"acquire", "fill", "abandon", "evict", "fence", "release", "invalidate", "drop older", "lead", "tags", "clear", "ping", "peek",
}

func (n *counters) l2Failed(op string) {
	n.l2Errors.Add(1)
	if i := slices.Index(l2Ops[:], op); i >= 0 {
		n.l2ErrorsBy[i].Add(1)
	}
}

func (n *counters) stored(bytes int) {
	n.entriesStored.Add(1)
	n.bytesStored.Add(uint64(bytes))
}

// leaseOver counts n reads that have waited for another node since start.
func (n *counters) leaseOver(reads int, start time.Time) {
	n.leasesWaited.Add(uint64(reads))
	n.leaseTime.Add(uint64(reads) * uint64(time.Since(start)))
}

// Stats returns a snapshot. It is cheap: call it every second if you like.
func (c *Cache[K, V]) Stats() Stats {
	n, l := &c.n, c.l1.Stats()
	s := Stats{
		HitsL1: l.Hits + n.peekedL1.Load(), HitsL2: n.hitsL2.Load(), Misses: n.misses.Load(),
		Negatives: n.negatives.Load(), Stale: n.stale.Load(), Failures: n.failures.Load(),
		Loads: n.loads.Load(), LoadFailures: n.loadFailures.Load(), Coalesced: n.coalesced.Load(),
		Overloads: n.overloads.Load(), LoadsDropped: n.dropped.Load(), LeaseWaits: n.leaseWaits.Load(),
		Refreshes: n.refreshes.Load(), RefreshFailures: n.refreshFailures.Load(), SoftTimeouts: n.softTimeouts.Load(),
		FillsRefused: n.fillsRefused.Load(), OlderLoads: n.olderLoads.Load(), TooLarge: n.tooLarge.Load(),
		BatchedLoads: n.batchedLoads.Load(), BatchedKeys: n.batchedKeys.Load(), Hedges: n.hedges.Load(), HedgesWon: n.hedgesWon.Load(),
		Unencodable: n.unencodable.Load(), Undecodable: n.undecodable.Load(), Panics: n.panics.Load(),
		PendingOverflows: c.outbox.Overflows(), Untold: n.untold.Load(),
		Writes: n.writes.Load(), WritesUnknown: n.writesUnknown.Load(), Fences: n.fences.Load(),
		FencesLost: n.lost.Load(), Published: n.published.Load(), Invalidations: n.invalidations.Load(),
		L2Errors: n.l2Errors.Load(), L1Entries: l.Entries, L1Cost: l.Cost, L1Evictions: l.Evictions, L1Flushes: n.l1Flushes.Load(),
		TagInvalidations: n.tagInvalidations.Load(), TagMisses: n.tagMisses.Load(),
		Pending: c.outbox.Len(outbox.Write) + c.tags.Pending(), PendingFences: c.outbox.Len(outbox.Fence), PendingLeases: c.outbox.Len(outbox.Lease),
		Overdue: c.outbox.Overdue(time.Now()), Feed: c.feedStats(),
		Fills: n.fills.Load(), LeasesWaited: n.leasesWaited.Load(), LeaseTime: time.Duration(n.leaseTime.Load()), LeasesNow: int(c.waiters.n.Load()),
		EntriesRead: n.entriesRead.Load(), BytesRead: n.bytesRead.Load(), EntriesStored: n.entriesStored.Load(), BytesStored: n.bytesStored.Load(),
		L2ErrorsBy: make(map[string]uint64, len(l2Ops)),
	}
	for i, op := range l2Ops {
		s.L2ErrorsBy[op] = n.l2ErrorsBy[i].Load()
	}
	s.Flights, s.Waiting = c.flights.Size()
	for i := range c.limiters {
		s.LoadsRunning += c.limiters[i].running()
		s.LoadsQueued += c.limiters[i].waiting()
	}
	if c.l2 != nil {
		s.Breaker, s.InvalidationLag = c.l2.state(), c.l2.lag()
		d := c.l2.why()
		if s.Pending > 0 {
			d.also(DegradedPending, "invalidations wait to be sent to L2", c.outbox.Since())
			d.lasts(c.tags.PendingSince())
		}
		if c.outbox.Overflowed() {
			d.cause = DegradedOverflow
			d.reason = "more than MaxPending keys were written while L2 could not be reached: the cache is not used until it has been cleared"
		}
		s.Degraded, s.DegradedCause, s.DegradedReason, s.DegradedSince = d.cause != "", d.cause, d.reason, d.since
	}
	return s
}

// sometimes runs a function at most once in ten seconds for each subject, for logs
// of what can happen to every request.
type sometimes struct {
	mu   sync.Mutex
	next map[string]time.Time // by subject, of which there are a few
}

func (s *sometimes) do(subject string, f func()) {
	s.mu.Lock()
	now := time.Now()
	due := !now.Before(s.next[subject])
	if due {
		if s.next == nil {
			s.next = make(map[string]time.Time)
		}
		s.next[subject] = now.Add(10 * time.Second)
	}
	s.mu.Unlock()
	if due {
		f()
	}
}
