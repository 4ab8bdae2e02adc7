package driver

import (
	"context"
	"fmt"
)

// Tagging is a Tier that keeps tables of tags, one for each cache that uses tags. A
// table has a number for each tag: that of its last invalidation. So one step
// invalidates a tag, however many entries have it.
//
// The table is bounded. The tags with the lowest numbers leave it, and its floor is the
// highest number that has left. A table has an epoch: who lost the table makes a new
// one, of another epoch.
type Tagging interface {
	Tier
	// Tags changes the table under req.Key as req asks, in one step, and returns what
	// the caller does not know of it. If there is no table, it makes one.
	//
	// Numbers only grow: that of an invalidation is higher than every number that the
	// table has given before, and than req.Known.Seq. They must stay so, as far as can
	// be, when the Tier loses its latest commands, such as in a failover: take them from
	// a clock.
	//
	// The table is watched from then on, as an entry that Acquire has found. Clear leaves
	// it alone.
	Tags(ctx context.Context, req TagRequest) (TagTable, error)
}

// TagStamp is a moment of a table. An entry with tags carries one from before the
// record was read. The entry is of use if the table has the same epoch, Seq is not
// below the table's floor, and none of the entry's tags has a higher number than Seq.
type TagStamp struct {
	Epoch uint64 // 0: of no table
	Seq   uint64 // the highest number that the table had given; below 1<<53
}

// TagRequest is a request about the tags of one cache.
type TagRequest struct {
	Key        string   // of the table, and not of an entry: such as "aside:NAME:tags:table"
	Invalidate []string // tags that get a new number; at most MaxTagsAtOnce of 1 to MaxTagLen bytes
	// Known is what the caller knows of the table. If the table has this epoch and a lower
	// Seq, it has lost what it had acknowledged, and begins anew.
	Known TagStamp
	// Renew: a table of the epoch Known.Epoch is to begin anew, empty and with another epoch.
	Renew bool
	// Fresh is the epoch of a table that is made or begins anew. It is random, not 0.
	Fresh uint64
	Max   int // how many tags the table has at most; 1 or more
}

// Limits of tags.
const (
	MaxTagLen     = 128  // bytes
	MaxTagsAtOnce = 1000 // in one TagRequest
)

// TagTable answers a TagRequest.
type TagTable struct {
	TagStamp        // of the table, after the request
	Floor    uint64 // entries with a lower Seq are of no use
	// Changed are the tags whose numbers are above TagRequest.Known.Seq; all tags if that
	// is of another epoch.
	Changed []TagNumber
}

// TagNumber is the number of one tag.
type TagNumber struct {
	Tag    string
	Number uint64
}

// Check returns an error that matches ErrKeyFailed if a limit is exceeded.
func (r TagRequest) Check() error {
	if n := len(r.Invalidate); n > MaxTagsAtOnce {
		return fmt.Errorf("%w: %d tags at once, want at most %d", ErrKeyFailed, n, MaxTagsAtOnce)
	}
	for _, t := range r.Invalidate {
		if len(t) == 0 || len(t) > MaxTagLen {
			return fmt.Errorf("%w: a tag has %d bytes, want 1 to %d", ErrKeyFailed, len(t), MaxTagLen)
		}
	}
	if r.Fresh == 0 || r.Max < 1 {
		return fmt.Errorf("%w: epoch %d and at most %d tags, want neither to be 0", ErrKeyFailed, r.Fresh, r.Max)
	}
	return nil
}
