// Package story shows what a cache is warned of, on the running servers of "aside demo": a
// burst on a cold key, a change made past the cache, a storm of writes, Redis that is gone,
// and a restart with an empty cache. Each story sends real requests to the servers, tells
// its steps as they happen, and puts back what it has changed.
package story
