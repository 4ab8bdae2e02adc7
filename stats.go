package aside

import (
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
	Stale     uint64 // of all answers: values past their TTL, since the load failed
	Failures  uint64 // reads that returned an error other than ErrNotFound

	Loads        uint64 // calls of a loader
	LoadFailures uint64 // of these: returned an error other than ErrNotFound
	Coalesced    uint64 // reads that shared another's load or lookup
	Overloads    uint64 // loads refused, see Options.MaxQueuedLoads
	LoadsDropped uint64 // loads that left the queue, since their callers had all left
	LoadsRunning int
	LoadsQueued  int
	LeaseWaits   uint64 // reads that waited LeaseWait for another node's load

	FillsRefused uint64 // loaded values not stored: a write came between
	OlderLoads   uint64 // loaded values not stored: the cache had a newer version
	TooLarge     uint64 // values not stored in L2: larger than MaxEntrySize
	Unencodable  uint64 // values not stored in L2: the codec failed
	Undecodable  uint64 // L2 entries that were of no use, and were replaced
	Panics       uint64 // of callbacks other than loaders; each became an error of its key

	Writes        uint64 // calls of Write
	WritesUnknown uint64 // of these: ended with the outcome unknown
	Fences        uint64 // keys fenced
	FencesLost    uint64 // fences that were gone when their write ended
	Published     uint64 // keys released with the new value
	Invalidations uint64 // invalidations received from other nodes

	L2Errors    uint64
	L1Entries   int    // including those that have expired and were not read since
	L1Cost      uint64 // see Options.L1Cost; the number of entries without it
	L1Evictions uint64
	L1Flushes   uint64 // how often L1 was emptied, since invalidations may have been missed

	// Degraded: L2 is set, but the cache does not, or not fully, use it.
	// DegradedReason says why.
	Degraded       bool
	DegradedReason string
	Pending        int // keys to invalidate when L2 is back
	// PendingOverflows is how often more than MaxPending keys would have been pending,
	// so that the whole cache was cleared. Untold is the number of leases and fences
	// that L2 was not told to remove, because too many were queued. They expire by
	// themselves.
	PendingOverflows, Untold uint64

	Feed FeedStats
}

// counters of everything but L1 hits, which are counted in internal/l1.
type counters struct {
	hitsL2, misses, negatives, stale, failures     atomic.Uint64
	loads, loadFailures, coalesced, overloads      atomic.Uint64
	dropped, leaseWaits, olderLoads, tooLarge      atomic.Uint64
	unencodable, panics, untold                    atomic.Uint64
	fillsRefused, undecodable                      atomic.Uint64
	writes, writesUnknown, fences, lost, published atomic.Uint64
	invalidations, l2Errors, l1Flushes             atomic.Uint64
	ownLeft                                        atomic.Uint64
}

// Stats returns a snapshot. It is cheap: call it every second if you like.
func (c *Cache[K, V]) Stats() Stats {
	n, l := &c.n, c.l1.Stats()
	s := Stats{
		HitsL1: l.Hits, HitsL2: n.hitsL2.Load(), Misses: n.misses.Load(),
		Negatives: n.negatives.Load(), Stale: n.stale.Load(), Failures: n.failures.Load(),
		Loads: n.loads.Load(), LoadFailures: n.loadFailures.Load(), Coalesced: n.coalesced.Load(),
		Overloads: n.overloads.Load(), LoadsDropped: n.dropped.Load(), LeaseWaits: n.leaseWaits.Load(),
		FillsRefused: n.fillsRefused.Load(), OlderLoads: n.olderLoads.Load(), TooLarge: n.tooLarge.Load(),
		Unencodable: n.unencodable.Load(), Undecodable: n.undecodable.Load(), Panics: n.panics.Load(),
		PendingOverflows: c.outbox.Overflows(), Untold: n.untold.Load(),
		Writes: n.writes.Load(), WritesUnknown: n.writesUnknown.Load(), Fences: n.fences.Load(),
		FencesLost: n.lost.Load(), Published: n.published.Load(), Invalidations: n.invalidations.Load(),
		L2Errors: n.l2Errors.Load(), L1Entries: l.Entries, L1Cost: l.Cost, L1Evictions: l.Evictions, L1Flushes: n.l1Flushes.Load(),
		Pending: c.outbox.Len(outbox.Write), Feed: c.feedStats(),
	}
	for i := range c.limiters {
		s.LoadsRunning += c.limiters[i].running()
		s.LoadsQueued += c.limiters[i].waiting()
	}
	if c.l2 != nil {
		s.DegradedReason = c.l2.degraded()
		switch {
		case c.outbox.Overflowed():
			s.DegradedReason = "more than MaxPending keys were written while L2 could not be reached: the cache is not used until it has been cleared"
		case s.DegradedReason == "" && s.Pending > 0:
			s.DegradedReason = "invalidations wait to be sent to L2"
		}
		s.Degraded = s.DegradedReason != ""
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
