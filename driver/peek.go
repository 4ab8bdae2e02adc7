package driver

import "context"

// Peeking is a Tier that can be asked without a lease, as Cache.Peek does.
type Peeking interface {
	Tier
	// Peek looks up each key and changes nothing. It need not watch the key. It answers
	// with StateFound, StateLeased, StateFenced or StateAbsent, and never with a lease.
	//
	// Of a value that is kept when it is stale, Left is how long it still lives. If a lease
	// carries an entry that still lives, Entry and Left are of that, as those of Acquire.
	Peek(ctx context.Context, keys []string) []Grant
}

// StateAbsent: there is nothing. Only Peek answers so.
const StateAbsent State = StateFenced + 1
