package aside

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a snapshot of a cache's counters, each since New, and of its state.
// The counters are read one by one, so they may be off against each other by
// the operations under way.
type Stats struct {
	HitsL1    uint64 // answered by L1
	HitsL2    uint64 // answered by L2
	Misses    uint64 // answered by the primary, by one's own load or a shared one
	Negatives uint64 // of all answers: confirmed absences
	Stale     uint64 // of all answers: values past their TTL, since the load failed
	Failures  uint64 // reads that returned an error other than ErrNotFound

	Loads        uint64 // calls of a loader
	LoadFailures uint64 // of these: returned an error other than ErrNotFound
	Coalesced    uint64 // reads that shared another's load or look-up
	Overloads    uint64 // loads refused, see Options.MaxQueuedLoads
	LoadsRunning int
	LoadsQueued  int

	FillsRefused uint64 // loaded values not stored: a write came between
	Undecodable  uint64 // L2 entries that could not be read, and were replaced

	Writes        uint64 // calls of Write
	WritesUnknown uint64 // of these: ended with the outcome unknown
	Fences        uint64 // keys fenced
	FencesLost    uint64 // fences that were gone when their write ended
	Published     uint64 // keys released with the new value
	Invalidations uint64 // changes told by other nodes

	L2Errors    uint64
	L1Entries   int    // with those that have expired and were not asked for since
	L1Cost      uint64 // see Options.L1Cost; the number of entries without it
	L1Evictions uint64
	L1Flushes   uint64 // times L1 was emptied since changes may have been missed

	// Degraded: L2 is set but not, or not fully, in use, for DegradedReason.
	Degraded       bool
	DegradedReason string
	Pending        int // keys to invalidate when L2 is back
}

// counters of everything but L1 hits, which are counted in internal/l1.
type counters struct {
	hitsL2, misses, negatives, stale, failures     atomic.Uint64
	loads, loadFailures, coalesced, overloads      atomic.Uint64
	fillsRefused, undecodable                      atomic.Uint64
	writes, writesUnknown, fences, lost, published atomic.Uint64
	invalidations, l2Errors, l1Flushes             atomic.Uint64
}

// Stats returns a snapshot. It is cheap enough to be called every second.
func (c *Cache[K, V]) Stats() Stats {
	n, l := &c.n, c.l1.Stats()
	s := Stats{
		HitsL1: l.Hits, HitsL2: n.hitsL2.Load(), Misses: n.misses.Load(),
		Negatives: n.negatives.Load(), Stale: n.stale.Load(), Failures: n.failures.Load(),
		Loads: n.loads.Load(), LoadFailures: n.loadFailures.Load(), Coalesced: n.coalesced.Load(),
		Overloads: n.overloads.Load(), LoadsRunning: c.places.running(), LoadsQueued: c.places.waiting(),
		FillsRefused: n.fillsRefused.Load(), Undecodable: n.undecodable.Load(),
		Writes: n.writes.Load(), WritesUnknown: n.writesUnknown.Load(), Fences: n.fences.Load(),
		FencesLost: n.lost.Load(), Published: n.published.Load(), Invalidations: n.invalidations.Load(),
		L2Errors: n.l2Errors.Load(), L1Entries: l.Entries, L1Cost: l.Cost, L1Evictions: l.Evictions, L1Flushes: n.l1Flushes.Load(),
		Pending: c.pending.len(),
	}
	if c.tier != nil {
		s.DegradedReason = c.tier.degraded()
		if s.DegradedReason == "" && s.Pending > 0 {
			s.DegradedReason = "invalidations wait to be sent to L2"
		}
		s.Degraded = s.DegradedReason != ""
	}
	return s
}

// sometimes runs a function at most once in ten seconds, for logs of what can
// happen to every request.
type sometimes struct {
	mu   sync.Mutex
	next time.Time
}

func (s *sometimes) do(f func()) {
	s.mu.Lock()
	now := time.Now()
	due := !now.Before(s.next)
	if due {
		s.next = now.Add(10 * time.Second)
	}
	s.mu.Unlock()
	if due {
		f()
	}
}
