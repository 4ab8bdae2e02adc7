// Package aside is cache-aside (look-aside) for Go: a typed cache between an
// application and its primary database, in two tiers, that does not serve what
// the database no longer holds.
//
//	cache, err := aside.New(aside.Options[string, Todo]{Name: "todos", L2: redis})
//	todo, err := cache.Get(ctx, id, loader) // read-through: L1, then L2, then loader
//
// L1 lives in the process and keeps decoded values. L2 is shared by all nodes;
// package redisl2 is the one for Redis. Without L2 the cache is L1 only.
//
// # Reads
//
// [Cache.Get] asks L1, then L2, then the [Loader], and fills the tiers on the
// way back. However many callers on however many nodes miss one key, one of
// them loads it: in the process by sharing a flight, between nodes by a lease
// in L2. What a load brings back is stored only while its lease still stands.
// [ErrNotFound] from a loader is an answer and is cached as a negative entry.
// [Cache.Read] does the same at a [Level], and says in [Info] where the answer
// came from; [Cache.GetMany] and [Cache.ReadMany] read several keys with one
// load for all misses.
//
// # Writes
//
// [Cache.Write] puts a fence on the keys, runs the function that changes the
// primary, and lifts the fence. While it stands, readers are answered by the
// primary and nothing is stored, so nothing that was read before the write can
// survive it. The function may publish the new record for the next reader.
// [Cache.Invalidate] is for records that were changed elsewhere.
//
// # What a reader may see
//
// After Write has returned nil, reads of the same process and [Strong] reads
// anywhere return that write or a newer one. Default reads on other nodes may be
// answered by their L1 until its invalidation has been delivered, normally
// milliseconds. docs/reference/guarantees.md in the repository says what is promised,
// what is not, and when Redis is down.
//
// The names: a stale set is an older value stored over a newer one; lease and
// fence are described in docs/reference/protocol.md; leases are those of "Scaling Memcache
// at Facebook" (Nishtala et al., NSDI 2013), with the token compared by the
// server when it stores.
package aside
