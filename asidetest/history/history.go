// Package history checks whether a cache keeps its promises, from what its
// callers saw. A test records each operation, with the time of its call and of
// its return. [Check] then says which promises the operations break. The package
// does not use a cache itself, so it can also check a service that has one.
//
// Records need versions. A record is absent at first. Each write that is applied
// raises its version by one. A deleted record never comes back, so use a key for
// one record only.
//
// A write may go straight to the primary, past the cache: an outside write. The
// cache learns of it a little later, so it counts as acknowledged only
// [Options.MaxOutside] after its return. A [Drop] makes it count earlier.
//
// Record all operations on a key in a [Key], and call Check when the last one has
// ended. [Result.Add] puts the results of several keys together:
//
//	key := history.NewKey("a")
//	key.Record(history.Op{...}) // by any number of goroutines
//	total.Add(history.Check(key, history.Options{MaxStale: 5 * time.Second}))
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
	// Drop told a node to drop the record from the cache, by its key or by a tag. It
	// changes no record. From its return on, strong reads on all nodes, and all reads on
	// its own, return nothing that was read from the primary before its call.
	Drop
)

func (k Kind) String() string {
	switch k {
	case Write:
		return "write"
	case Delete:
		return "delete"
	case ReadStrong:
		return "strong read"
	case ReadDefault:
		return "default read"
	case Drop:
		return "drop"
	}
	return "unknown kind"
}

// Op is one operation on one key, as its caller saw it. Operations that
// certainly had no effect and told nothing, such as failed reads and refused
// writes, are not recorded. Nor are drops that failed.
type Op struct {
	Client int // the caller; its operations do not overlap
	Node   int // the process that was asked; of an outside write it means nothing
	Kind   Kind
	// Outside: a write or delete that went to the primary, past all nodes. Its
	// version is the next one too, as that of any other write.
	Outside bool
	// Unknown: the write may have been applied, or not, or may be applied yet.
	// Its Return has no meaning then.
	Unknown bool

	// Call and Return are times on the recorder's one monotonic clock. Operations
	// of which one returns in the instant in which the other is called overlap.
	Call, Return time.Duration

	// Version is what a read returned (0: absent) or what a write made (0 if
	// Unknown, and for a Delete and a Drop).
	Version int64
	// Tag is different for every write. The record holds the tag of its last
	// write, so that a read tells which write it saw. It means nothing for a
	// Delete, a Drop, and a read that returned absent.
	Tag uint64
}

func (o *Op) isRead() bool { return o.Kind == ReadStrong || o.Kind == ReadDefault }

func (o *Op) isWrite() bool { return o.Kind == Write || o.Kind == Delete }
