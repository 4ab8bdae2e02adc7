// Package history checks what callers of a cache saw against what the cache
// promises. It knows nothing of caches: it is given operations, each with the
// time of its call and of its return, and says which promise they break.
//
// Versions make that exact. A record begins absent, every write that is applied
// raises its version by one, and a record that was deleted never comes back: a
// key lives once.
package history

import "time"

// Kind is what an operation was.
type Kind uint8

// The kinds.
const (
	Write       Kind = iota + 1 // created the record or changed it
	Delete                      // the end of the key's life
	ReadStrong                  // a read that asked for the newest value
	ReadDefault                 // a read that any tier may answer
)

// Op is one operation on one key, as its caller saw it. Operations that
// certainly had no effect and told nothing, such as failed reads and refused
// writes, are not recorded.
type Op struct {
	Client int // the caller; its operations do not overlap
	Node   int // the process that was asked
	Kind   Kind

	// Call and Return are times on the recorder's one monotonic clock.
	Call, Return time.Duration

	// Version is what a read returned (0: absent) or what a write made (0 if
	// Unknown, and for a Delete).
	Version int64
	// Tag is different for every write. The record holds the tag of its last
	// write, so that a read tells which write it saw.
	Tag uint64
	// Unknown: the write may have been applied, or not, or may be applied yet.
	// Its Return has no meaning then.
	Unknown bool
}
