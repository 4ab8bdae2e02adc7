package aside

import (
	"context"
	"errors"
	"time"

	"github.com/asidecache/aside/internal/envelope"
)

// Token identifies one lease or one write for ever.
type Token = envelope.Token

// L2 is the tier that the nodes share. Package redisl2 is the one for Redis;
// asidetest has an in-memory one and the conformance suite that both pass.
//
// An L2 holds one entry per key: a value, a confirmed absence, a lease or a
// fence (docs/protocol.md). Every method works on each of its keys atomically,
// judges time by one clock of its own, and takes a batch in one round trip per
// server. Methods are safe for concurrent use and return when ctx is done; it
// carries a deadline and nothing else, since a batch may be for many callers. An
// error means that the outcome for that key is unknown, unless it matches
// ErrL2Refused: then nothing was changed. An L2 may implement Partitioned and
// Reporting too. Requests and their bytes belong to the
// L2 from the call on, since a command that timed out may still be on its way.
type L2 interface {
	// Acquire looks a key up and, if it is absent, leases it. It leases a stale
	// value too, and hands it out beside the lease: one that is in the last part of
	// its life, as long as the value itself says. A value, an absence
	// or the lease of another that it finds is also watched (see Watch). A lease
	// that it grants may end the watch of the key.
	Acquire(ctx context.Context, reqs []LeaseRequest) []Acquired
	// Fill stores an entry if, and only if, the lease still stands.
	Fill(ctx context.Context, reqs []FillRequest) []FillResult
	// Abandon gives a lease back, if it still stands. It puts Restore back
	// where that is set.
	Abandon(ctx context.Context, reqs []AbandonRequest) []error
	// Evict removes entries whose bytes are still the given ones.
	Evict(ctx context.Context, reqs []EvictRequest) []error

	// Fence puts the token's fence on a key, beside the fences of others, over
	// whatever else is there.
	Fence(ctx context.Context, reqs []FenceRequest) []error
	// Release takes the token's fence off a key. With other fences standing
	// the key stays fenced. Otherwise it is removed, or replaced by Publish if
	// that is set and no other write or invalidation has touched the key since
	// it was fenced. Without a fence of this token (it expired, or was lost) whatever
	// is there is removed, and the writers still at work may not publish.
	Release(ctx context.Context, reqs []ReleaseRequest) []ReleaseResult
	// Invalidate removes values and leases. A fence stays, and its writers may
	// no longer publish.
	Invalidate(ctx context.Context, keys []string) []error
	// Clear invalidates every key that begins with prefix. ctx need not have a
	// deadline: Clear takes as long as that takes, and bounds each step by itself.
	Clear(ctx context.Context, prefix string) error

	// Watch calls w for keys that begin with prefix, until stop is called: when
	// a key that this L2 has found, filled or published, and not leased since, is
	// changed by someone else, or dropped, for the first time. It may be called for
	// this L2's own changes too. The calls come soon after the change, in any order
	// with the answers to this L2's own operations, and must return quickly. A
	// prefix ends in its third colon and can be watched once.
	Watch(prefix string, w Watcher) (stop func(), err error)
	// Ping reports whether the tier can be written now.
	Ping(ctx context.Context) error
}

// Partitioned is an L2 of several servers that can fail one by one. The cache
// asks about keys of different parts in different batches, so that a server that
// is silent holds up nobody who does not need it.
type Partitioned interface {
	L2
	// Partition returns the part that key belongs to at present. It must be
	// cheap, and may be wrong.
	Partition(key string) int
}

// Reporting is an L2 that knows by itself whether it can be used.
type Reporting interface {
	L2
	// State returns nil as long as nothing is known that keeps the L2, or a part of
	// it, from being used, and why it is not used otherwise. It must be cheap.
	State() error
}

// ErrL2Key is matched by errors of an L2 that answered, and failed for this key
// alone, for what is stored under it. Whether something was changed is unknown. It
// does not open the breaker.
var ErrL2Key = errors.New("aside: L2 failed for this key")

// ErrL2Refused is matched by errors of an L2 that answered, and changed
// nothing, where a retry or another key may fare better, such as Redis out of
// memory. It does not open the breaker, since what is stored can be read.
var ErrL2Refused = errors.New("aside: refused by L2")

// Watcher is told what was changed.
type Watcher struct {
	// Changed is called with the key, without the prefix.
	Changed func(key string)
	// Lost is called when changes may have been missed: nothing read before it
	// can be trusted.
	Lost func()
}

// LeaseRequest asks for one key.
type LeaseRequest struct {
	Key    string
	Lease  Token
	TTL    time.Duration // of the lease
	Expect Expectation
}

// Expectation is what most look-ups of late have found. An L2 that can ask for
// that at a lower price may do so first; its answers are the same.
type Expectation uint8

const (
	ExpectAnything Expectation = iota
	ExpectValue                // a value or a confirmed absence
	ExpectNothing              // the key is absent, and will be leased
)

// EntryState is what an Acquire found.
type EntryState uint8

const (
	// StateFound: Entry is a value or a confirmed absence.
	StateFound EntryState = iota + 1
	// StateGranted: the key was absent and is leased to the caller; Entry, if
	// set, is the stale value that was there, and Left how long it may yet live.
	StateGranted
	// StateLeased: another fill holds the lease.
	StateLeased
	// StateFenced: a write is under way.
	StateFenced
)

// Acquired answers one LeaseRequest.
type Acquired struct {
	State EntryState
	Entry []byte
	Left  time.Duration
	Err   error
}

// FillRequest stores one entry under a lease.
type FillRequest struct {
	Key   string
	Lease Token
	Entry []byte
	TTL   time.Duration
}

// FillResult answers one FillRequest.
type FillResult struct {
	Stored bool // false: the lease was gone
	Err    error
}

// AbandonRequest gives one lease back.
type AbandonRequest struct {
	Key     string
	Lease   Token
	Restore []byte // if set, put back for TTL
	TTL     time.Duration
}

// EvictRequest removes one entry.
type EvictRequest struct {
	Key   string
	Entry []byte // as it was found
}

// FenceRequest puts up one fence.
type FenceRequest struct {
	Key   string
	Token Token
	Life  time.Duration
}

// ReleaseRequest lifts one fence.
type ReleaseRequest struct {
	Key     string
	Token   Token
	Publish []byte // if set, the entry to store for TTL
	TTL     time.Duration
}

// ReleaseResult answers one ReleaseRequest.
type ReleaseResult struct {
	Published bool
	// Lost: the fence was no longer there.
	Lost bool
	Err  error
}
