// Package aside is a typed cache between an application and its primary database
// (cache-aside, also called look-aside). It has two tiers: L1 in the process, and L2
// in Redis, which all nodes share. After a write has returned, no stale value is
// stored in either tier.
//
//	cache, err := aside.New(aside.Options[string, Todo]{Name: "todos", L2: redis})
//	todo, err := cache.Get(ctx, id, loader) // L1, then L2, then loader
//
// L1 keeps decoded values. Package redisl2 is the L2 on Redis. Without L2 the cache
// has L1 only.
//
// # Reads
//
// [Cache.Get] asks L1, then L2, then the [Loader], and fills both tiers. If many
// callers miss the same key, only one of them loads it: callers in one process share
// the load, and nodes agree by a lease in L2. A loaded value is stored only while its
// lease stands. If a loader returns [ErrNotFound], that is an answer, and the cache
// stores it as a negative entry. [Cache.Read] is Get with a [Mode]; its [Info] says
// where the answer came from. [Cache.GetMany] and [Cache.ReadMany] read several keys,
// with one load for all misses.
//
// # Writes
//
// [Cache.Write] puts a fence on the key, runs the function that changes the primary,
// and lifts the fence. [Cache.WriteMany] does so for several keys. While a fence
// stands, the primary answers all reads and nothing is stored. So no value from before
// the write can be stored after it. The function may publish the new record for the
// next reader. [Cache.Invalidate] is for records that another program has changed. With
// [Options.Feed] the cache hears of those from the primary itself.
//
// # What a reader may see
//
// After Write has returned nil, reads of the same process and [Strong] reads of all
// nodes return that write or a newer one. Default reads of other nodes may return the
// old value until the invalidation arrives, normally for milliseconds.
// docs/reference/guarantees.md in the repository lists what is promised, what is not,
// and what happens when Redis is down. docs/reference/protocol.md describes leases and
// fences. Leases are those of "Scaling Memcache at Facebook" (Nishtala et al., NSDI
// 2013); here the server compares the lease's token when it stores a value.
package aside
