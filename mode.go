package aside

import "github.com/asidecache/aside/internal/flight"

// Mode is how a read may be answered. The zero value is Default; the others are
// combined with |.
type Mode uint8

const (
	// Strong: the read sees every write through a Cache of this name that any node
	// acknowledged before the read began. It skips L1 and asks L2, or the primary if L2
	// is unavailable.
	Strong Mode = 1 << iota

	// Refresh: the answer comes from a load that began after the call, and replaces what the
	// tiers have. So it has every change of the primary from before the call, also one that
	// was made past the cache. Reads with Refresh that come to this process before the load
	// begins share it. When it ends, no read on any node can find in L2 what was there
	// before. If the load fails, the read fails, and L2 keeps what it has. While a write is
	// under way, the answer is not stored. If another load of the key takes longer than
	// Options.LeaseWait, or L2 is unavailable, the answer is not stored in L2, and what L2 has
	// is dropped, as soon as that can be.
	Refresh

	// NoStore: the read stores nothing. What it loads, or finds in L2, is put into no tier.
	// Use it for a pass over many records that nobody else asks for. What the tiers have is
	// used as usual. If another read waits for the same load and wants to store it, it is
	// stored. With Strong, L1 drops what it has of the key, which may be older than the
	// answer. With Refresh, both tiers drop it.
	NoStore

	// SkipL2: L2 is not asked. L1 answers, or the primary; with Strong, the primary alone.
	// What is loaded is kept in L1 as if L2 were unavailable, for Options.DegradedL1TTL.
	// In a cache without L2 it has no effect.
	SkipL2

	// Default: L1 may answer. The read sees every write that this process has
	// acknowledged, and writes of other processes when their invalidation has arrived.
	Default Mode = 0
)

func (m Mode) skipsL1() bool { return m&(Strong|Refresh) != 0 }

// effective is a mode without what has no effect in this cache.
func (c *Cache[K, V]) effective(m Mode) Mode {
	if c.l2 == nil {
		m &^= SkipL2
	}
	return m
}

// kindOf returns the kind of flight that a read of a mode needs.
func kindOf(m Mode) (k flight.Kind) {
	if m&Refresh != 0 {
		k |= flight.Fresh
	}
	if m&SkipL2 != 0 {
		k |= flight.Direct
	}
	return k
}

// need returns which results of a flight a read of a mode takes that joined it late.
func need(m Mode) flight.Trust {
	switch {
	case m&Refresh != 0:
		return flight.TrustNever
	case m&Strong != 0:
		return flight.TrustAll
	}
	return flight.TrustLocal
}
