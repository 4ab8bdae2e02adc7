package driver

import (
	"context"
	"errors"
	"time"
)

// Feed is the log of changes of a primary, such as the change streams of MongoDB or
// the logical replication of PostgreSQL. A cache follows it, so that it sees changes
// that were made without it.
//
// Methods are safe for concurrent use. A new implementation passes
// asidetest.TestFeed.
type Feed interface {
	// Open opens the feed behind the position from: the stream delivers every change
	// that was committed after it. A few that were committed before may be delivered
	// again. If from is nil, the stream delivers every change that is committed after
	// Open was called, and a read of the primary that begins after Open has returned sees
	// every change that the stream leaves out.
	//
	// from is a position that a stream of this feed has returned, in this process or
	// another one, lately or long ago. If the feed cannot deliver every change since
	// then, the error matches ErrGap. It is so too for a position of another primary, and
	// for one that the primary has not reached yet.
	//
	// If the primary allows one stream only, Open ends the one that is there.
	Open(ctx context.Context, from Position) (Stream, error)
}

// Position is a place in a feed. Only its feed knows what the bytes mean.
type Position []byte

// ErrGap: changes are missing. The feed cannot deliver all changes since a position.
var ErrGap = errors.New("aside: the feed does not have all changes since this position")

// Stream is an open feed. It is used by one goroutine, but Close by any.
type Stream interface {
	// Position returns where the stream is: behind all that Next has returned, at
	// first where the stream was opened.
	Position() Position
	// Next waits for changes and returns those that are there, in the order of their
	// commits. A transaction comes as a whole, or as a Batch with All. If nothing
	// changes, Next returns an empty Batch as soon as it knows from the primary that
	// nothing has changed: every second or so. An error ends the stream; it matches ErrGap
	// if the changes that come next are lost.
	//
	// A read of the primary that begins after Next has returned a change sees that
	// change.
	Next(ctx context.Context) (Batch, error)
	// Handled says that all changes up to a position have been handled. The primary
	// then need not keep them, but for what the feed needs to open older positions: it
	// should be able to open those that Handled was called with in the last two minutes.
	Handled(ctx context.Context, p Position) error
	// Close ends the stream, and a Next that waits.
	Close() error
}

// Batch is what Next returns.
type Batch struct {
	Changes []Change
	// All: every record may have changed, such as by TRUNCATE, or by more changes than
	// are worth telling one by one. Changes is then empty.
	All bool
	// Committed is when the last of the changes was committed, by the primary's clock;
	// zero if there are none, or it is not known.
	Committed time.Time
}

// Change is one change of one record. If a change gave a record another key, there
// are two: of the old key, deleted, and of the new one.
type Change struct {
	// Key is the record's key as the cache's Options.Key returns it.
	Key string
	// Version is the record's version after the change, as the cache's Options.Version or
	// its loader tells it; 0 if it is not known, or the record was deleted. If a transaction deletes
	// a record and makes it anew, and that is told as one change, its version is 0 too.
	Version uint64
	Deleted bool
	// Writer is the token of the write through a cache that made the change, if the
	// change is marked with it (aside.WriteTx.Token).
	Writer Token
}

// Then returns one change that stands for c and a later one of the same key. The later one
// counts, but for its version if c deleted the record: one that was made anew may begin with
// a lower version, so that tells nothing.
func (c Change) Then(later Change) Change {
	if c.Deleted || c.Version == 0 {
		later.Version = 0
	}
	return later
}

// Fed is a Tier that a cache needs to follow a feed.
type Fed interface {
	Tier
	// DropOlder removes from each key what a change made old. It leaves a value of the
	// change's version or a newer one, an absence if the record was deleted, and an
	// entry whose token is the change's writer. It removes any other value or absence,
	// and every lease. It leaves a fence, but what is older than the change may not be
	// published any more: only an entry of the change's version or a newer one, or the
	// entry of the change's writer. If the version is not known, nobody but the
	// change's writer may publish.
	DropOlder(ctx context.Context, reqs []ChangeRequest) []ChangeResult
	// Lead makes the caller the leader of key, or keeps it the leader, unless somebody
	// else is.
	Lead(ctx context.Context, req LeadRequest) (Leadership, error)
}

// ChangeRequest is one change.
type ChangeRequest struct {
	Key     string
	Version uint64 // 0: not known
	Deleted bool
	Writer  Token // zero: not known
}

// ChangeResult answers one ChangeRequest.
type ChangeResult struct {
	// Left: a value or an absence was left, or the change is that of the only writer whose
	// fence stands.
	Left bool
	Err  error
}

// LeadRequest asks to lead.
type LeadRequest struct {
	Key    string // not one of an entry
	Leader Token  // of the caller
	// TTL is how long the caller leads if it does not ask again. 0: it gives the
	// leadership up.
	TTL time.Duration
	// State is stored if the caller leads; nil leaves the state as it is. It is kept
	// for a week.
	State []byte
}

// Leadership answers a LeadRequest.
type Leadership struct {
	Leads bool   // the caller leads
	Led   bool   // somebody leads
	State []byte // as it was stored last, before this request; nil if there is none
}
