package driver

import (
	"context"
	"fmt"
	"time"
)

// Inspecting is a Tier that shows what it has, for people who look for a fault.
type Inspecting interface {
	Tier
	// Inspect returns what is stored under key, and changes nothing: not the entry, nor
	// when it ends, nor who is told of its changes (see Tier.Watch). It returns at most
	// the first most bytes of the entry; with 0, all of them.
	//
	// It returns an error if the Tier would not use what it has there, such as on a
	// server that still has to be cleared.
	Inspect(ctx context.Context, key string, most int) (Raw, error)
}

// Raw is what is stored under one key.
type Raw struct {
	// Entry is nil if there is none. It is cut if it is longer than was asked for.
	Entry []byte
	Size  int // of the whole entry, in bytes
	// Foreign: something is there that cannot be an entry, such as a list in Redis.
	Foreign bool
	Left    time.Duration // until the entry ends; negative: it does not
	Now     time.Time     // by the clock of the Tier, to the millisecond
}

// Roster is a Tier that lets nodes know of each other. What they tell is for people:
// no promise of a cache depends on it.
type Roster interface {
	Tier
	// Announce stores the caller's Data under its name for TTL, in place of what it
	// stored before. It returns the data of all nodes that have announced themselves
	// under this key and have not ended, by name, the caller's too.
	//
	// Clear, and the entries of caches, have nothing to do with it. A Tier may refuse
	// what is too large, and nodes that are too many, with an error that matches
	// ErrKeyFailed.
	Announce(ctx context.Context, req AnnounceRequest) (map[string][]byte, error)
}

// Limits of an AnnounceRequest, in bytes.
const (
	MaxNodeName     = 255
	MaxAnnouncement = 64 << 10
	MaxRoster       = 1 << 20 // of all nodes of one key together, names and some 40 bytes each included
)

// AnnounceRequest announces one node.
type AnnounceRequest struct {
	Key  string // not one of an entry: such as "aside:NAME:nodes:roster"
	Node string // of the caller, 1 to MaxNodeName bytes
	Data []byte // at most MaxAnnouncement
	TTL  time.Duration
}

// Check returns an error that matches ErrKeyFailed if a limit is exceeded.
func (r AnnounceRequest) Check() error {
	if n := len(r.Node); n == 0 || n > MaxNodeName {
		return fmt.Errorf("%w: the name of a node has %d bytes, want 1 to %d", ErrKeyFailed, n, MaxNodeName)
	}
	if n := len(r.Data); n > MaxAnnouncement {
		return fmt.Errorf("%w: an announcement of %d bytes, want at most %d", ErrKeyFailed, n, MaxAnnouncement)
	}
	return nil
}
