// Package driver is for authors of an L2, the tier that all nodes share. It
// defines [Tier], which an L2 implements, and what goes into its methods and comes
// out of them. Those who use a cache need package aside alone.
//
// Package redisl2 implements Tier on Redis, and asidetest in memory. A new
// implementation passes asidetest.TestL2.
//
// What an entry looks like is up to the cache: a Tier compares and stores bytes. It
// reads only the head of an entry, to tell the four kinds apart: a value, a
// confirmed absence, a lease and a fence. docs/reference/protocol.md has the layouts.
package driver

import (
	"context"
	"errors"
	"time"
)

// Tier is an L2. It holds one entry per key: a value, a confirmed absence, a lease
// or a fence.
//
// Every method works on each of its keys atomically. It answers the requests of a
// batch in their order, and needs one round trip per server for it. Time is judged
// by one clock, which is the Tier's and not the node's.
//
// Methods are safe for concurrent use and return when ctx is done. ctx has a
// deadline and nothing else, since a batch may be for many callers. The requests
// and their bytes belong to the Tier from the call on: it may still be sending them
// when the method has returned.
//
// An error of a key means that its outcome is unknown: the change may have been
// made. If the Tier knows that nothing was changed, its error matches ErrRefused.
//
// A Tier may also implement Partitioned, Reporting, Tracking, Fed, Noticing, Inspecting,
// Peeking, Roster and Tagging. The cache, or whoever has use for it, looks for them.
type Tier interface {
	// Acquire looks up each key. It leases a key that is absent to the caller. It also
	// leases a value that is stale, which is in the last part of its life, as its
	// StaleFor says, and the entry that LeaseRequest.Over names. Such a lease carries the
	// entry, which others can be answered with while the caller loads, and which goes with
	// the lease: when that ends, is filled, or is removed. The same request sent again is
	// answered as before.
	//
	// A key at which it finds a value, an absence or another lease is watched from
	// then on (see Watch). Granting a lease may end the watch of that key, and changes
	// it: those who have found the entry are told.
	Acquire(ctx context.Context, reqs []LeaseRequest) []Grant
	// Fill stores an entry if the lease still stands, and only then.
	Fill(ctx context.Context, reqs []FillRequest) []FillResult
	// Abandon removes a lease, if it still stands. It stores Restore in its place, if
	// that is set, or else the entry that the lease carries, for what that has left to
	// live, unless Drop is set.
	Abandon(ctx context.Context, reqs []AbandonRequest) []error
	// Evict removes an entry if its bytes are still the given ones. An entry that a lease
	// carries stays.
	Evict(ctx context.Context, reqs []EvictRequest) []error

	// Fence puts a fence of the token on a key. It replaces what is there, but for the
	// fences of other tokens: they all stand side by side.
	Fence(ctx context.Context, reqs []FenceRequest) []error
	// Release removes the token's fence from a key. While fences of others stand, the
	// key stays fenced. Without others it stores Publish, if that is set and no other
	// write or invalidation has touched the key since the token's fence was put up. In
	// all other cases it removes the key.
	//
	// If the token's fence is not there, since it expired or was lost, Release removes
	// whatever is there. Writers whose fences stand may not publish any more.
	Release(ctx context.Context, reqs []ReleaseRequest) []ReleaseResult
	// Invalidate removes values and leases. It leaves a fence, but its writers may not
	// publish any more.
	Invalidate(ctx context.Context, keys []string) []error
	// Clear invalidates every key that begins with prefix. ctx may have no deadline:
	// Clear takes as long as it needs, and limits each of its steps by itself.
	Clear(ctx context.Context, prefix string) error

	// Watch calls w for keys that begin with prefix until stop is called.
	//
	// It calls Changed for a key that this Tier has found, filled or published, when
	// somebody else changes it or it is dropped. It need not call it again before the
	// key has been found, filled or published again, nor after it has leased the key to
	// this node. It may call it for this Tier's own changes. Calls come soon after the
	// change, in any order with the answers to this Tier's own operations.
	//
	// A prefix ends in its third colon. It can be watched once.
	Watch(prefix string, w Watcher) (stop func(), err error)
	// Ping returns nil if the tier can be written now.
	Ping(ctx context.Context) error
}

// Partitioned is a Tier of several servers that can fail one by one. The cache
// puts keys of different parts into different batches, so that a silent server
// delays only those who need it.
type Partitioned interface {
	Tier
	// Partition returns the part that key belongs to now. It must be cheap. A wrong
	// answer costs time, and nothing else.
	Partition(key string) int
}

// Reporting is a Tier that knows by itself whether it can be used.
type Reporting interface {
	Tier
	// State returns why the Tier, or a part of it, cannot be used; nil if it knows of
	// no such reason. An *Outage says since when, too. It must be cheap.
	State() error
}

// Outage is an error that has lasted since a moment. Its text is that of Err.
type Outage struct {
	Err   error
	Since time.Time
}

func (o *Outage) Error() string { return o.Err.Error() }
func (o *Outage) Unwrap() error { return o.Err }

// Tracking is a Tier whose servers remember which client has read which key, as
// Redis does for client-side caching. Package asideprom exports the figures.
type Tracking interface {
	Tier
	// Tracked returns the latest figures. ok is false if there are none. It must be
	// cheap: it does not ask the servers.
	Tracked() (t Tracked, ok bool)
}

// Tracked is the size of the servers' tracking tables: of all clients and all
// applications together, summed over the servers.
type Tracked struct {
	Keys  uint64 // that some client has read
	Items uint64 // pairs of such a key and a client, also clients that are long gone
	// Limit is the number of keys that a server remembers at most; 0: no limit. Of
	// several servers it is the lowest.
	Limit uint64
}

// Noticing is a Tier that knows how late its notices come (Tier.Watch).
type Noticing interface {
	Tier
	// NoticeDelay returns how long a notice takes at most from the Tier to this node, as
	// it was lately; 0 if that is not known. It must be cheap.
	NoticeDelay() time.Duration
}

// Errors that a Tier returns for a key. Neither opens the cache's circuit breaker,
// since the Tier has answered. Package aside has them too, as ErrL2Key and
// ErrL2Refused: an application compares with those.
var (
	// ErrKeyFailed: the Tier answered, but failed for this key alone, because of what
	// is stored under it. Whether something was changed is unknown.
	ErrKeyFailed = errors.New("aside: L2 failed for this key")

	// ErrRefused: the Tier answered and changed nothing. A retry, or another key, may
	// succeed. Example: Redis is out of memory.
	ErrRefused = errors.New("aside: refused by L2")
)

// Watcher receives notices of changes. Its functions must return quickly.
type Watcher struct {
	// Changed is called with the key that was changed, without the prefix.
	Changed func(key string)
	// Lost is called when notices may have been missed. The cache then drops all that
	// it has read.
	Lost func()
}

// TokenLen is the length of a Token in bytes, NodeLen that of its beginning, which
// stands for the node that drew it. Before 0.2 all bytes were random.
const (
	TokenLen = 16
	NodeLen  = 6
)

// Token identifies one lease or one write. The cache draws a new one for each: NodeLen
// bytes that stand for the node, then random ones, so no two are the same.
type Token [TokenLen]byte

// LeaseRequest asks for one key.
type LeaseRequest struct {
	Key    string        // the whole key, as it is stored
	Lease  Token         // of the lease, if one is granted
	TTL    time.Duration // of the lease
	Expect Expectation   // what the caller expects to find
	// Over, if it is not zero: a value or an absence that has this token is leased too,
	// however long it still lives. Anything else is answered as without Over.
	Over Token
	// Carried: if somebody else has the lease, the caller has use for the entry that it
	// carries. Otherwise that is not sent: who waits for a lease asks again and again.
	Carried bool
}

// Expectation is a hint: what recent lookups mostly found. A Tier may use it to
// choose a cheaper command. It must not change the answer.
type Expectation uint8

const (
	ExpectAnything Expectation = iota // no hint: lookups found both, or there were too few
	ExpectValue                       // a value or a confirmed absence
	ExpectNothing                     // the key is absent, and will be leased
)

// State is what an Acquire found.
type State uint8

const (
	// StateFound: Entry is a value or a confirmed absence.
	StateFound State = iota + 1
	// StateGranted: the caller has the lease. The key was absent, or Entry is what was
	// there, a stale value or what Over named. The lease carries it. It has Left to live.
	StateGranted
	// StateLeased: somebody else has the lease. With LeaseRequest.Carried, Entry is the
	// entry that the lease carries, and Left what it has left to live, if it does carry
	// one that still lives. As long as it does, it is as good as one that was found.
	StateLeased
	// StateFenced: a write is under way.
	StateFenced
)

// Grant answers one LeaseRequest.
type Grant struct {
	State State         // what was found; of no meaning if Err is set
	Entry []byte        // the entry's bytes, as State says
	Left  time.Duration // how long Entry still lives; after an Acquire with StateFound: 0
	Err   error         // the key failed
}

// FillRequest stores one entry under a lease.
type FillRequest struct {
	Key   string
	Lease Token         // as it was granted
	Entry []byte        // to store
	TTL   time.Duration // of the entry
	// Carrying is a hint: the lease was granted over an entry (Grant.Entry). It must not
	// change the answer.
	Carrying bool
}

// FillResult answers one FillRequest.
type FillResult struct {
	Stored bool  // false without Err: the lease was gone
	Err    error // whether it was stored is unknown, unless it matches ErrRefused
}

// AbandonRequest gives one lease back.
type AbandonRequest struct {
	Key     string
	Lease   Token         // as it was granted, or asked for
	Restore []byte        // if set, stored for TTL
	TTL     time.Duration // of Restore
	// Drop: the entry that the lease carries is not put back. Something newer is known.
	Drop bool
	// Carrying is a hint: the lease was granted over an entry (Grant.Entry). It must not
	// change the answer.
	Carrying bool
}

// EvictRequest removes one entry.
type EvictRequest struct {
	Key   string
	Entry []byte // as it was found
}

// FenceRequest puts up one fence.
type FenceRequest struct {
	Key   string
	Token Token         // of the write
	Life  time.Duration // after it the fence ends by itself
}

// ReleaseRequest removes one fence.
type ReleaseRequest struct {
	Key     string
	Token   Token         // of the write, as in its FenceRequest
	Publish []byte        // if set, the entry to store for TTL
	TTL     time.Duration // of Publish
}

// ReleaseResult answers one ReleaseRequest.
type ReleaseResult struct {
	Published bool  // Publish was stored
	Lost      bool  // the fence was not there any more
	Err       error // whether the fence was removed is unknown, unless it matches ErrRefused
}
