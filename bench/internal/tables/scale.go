package tables

import (
	"slices"
	"time"
)

// Scale says how much is measured.
type Scale struct {
	Rounds       int           // of each table, unless it says otherwise below
	L1Keys       int           // in the cache
	L1Slot       time.Duration // one peer is read for, in one way
	L2Keys       int
	L2Slot       time.Duration // one peer is read or written for, at one concurrency
	ColdRounds   int
	ColdSlot     time.Duration
	Trips        int // operations whose round trips are counted
	RushRounds   int
	Rushes       int // stampedes a round
	MemoryRounds int
	Entries      int // of the caches whose memory is measured
	StaleRounds  int
	StaleSlot    time.Duration
	Replays      int
}

// Full is what results are made with: the better part of an hour.
var Full = Scale{
	Rounds: 5, L1Keys: 200_000, L1Slot: 500 * time.Millisecond, L2Keys: 20_000, L2Slot: 1200 * time.Millisecond,
	ColdRounds: 3, ColdSlot: 1500 * time.Millisecond, Trips: 50, RushRounds: 3, Rushes: 10,
	MemoryRounds: 1, Entries: 1_000_000, StaleRounds: 2, StaleSlot: 10 * time.Second, Replays: 10,
}

// Short takes a few minutes. It shows that everything works; its figures say
// little.
var Short = Scale{
	Rounds: 2, L1Keys: 20_000, L1Slot: 50 * time.Millisecond, L2Keys: 2_000, L2Slot: 200 * time.Millisecond,
	ColdRounds: 1, ColdSlot: 200 * time.Millisecond, Trips: 10, RushRounds: 1, Rushes: 2,
	MemoryRounds: 1, Entries: 50_000, StaleRounds: 1, StaleSlot: 1500 * time.Millisecond, Replays: 2,
}

// inTurn yields the peers in order in even rounds and in reverse in odd ones, so
// that a machine that gets slower does so for all.
func inTurn(ids []string, round int) []string {
	if round%2 == 0 {
		return ids
	}
	r := slices.Clone(ids)
	slices.Reverse(r)
	return r
}
