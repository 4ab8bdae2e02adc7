package aside

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/flight"
)

// job is one key of one flight, on its way from lookup to load to fill. Its
// leader makes it. Whoever holds it ends it, once: with publishAnswer and then
// closeJob, or with fail.
type job[K comparable, V any] struct {
	key    K
	l2key  string
	call   *flight.Call[answer[V]]
	strong bool // its leader did not ask L1

	ctx    context.Context // of its leader
	loader Loader[K, V]
	bulk   *bulkRead[K, V] // nil for a single read; then its ctx and loader count
	reader reader          // the leader of a single read, which decodes

	lease driver.Token
	mode  fillMode
	asOf  flight.Ticket // when the read whose result is handed out began
	gen   uint64        // of L1, before that read was requested
	asked time.Time     // when L2 was asked first
	// replaced: another flight of the key had begun by then. That may know of a
	// newer value, so this one leaves L1 to it.
	replaced bool

	entry      []byte // found in L2
	evicted    bool   // an entry of no use was removed; once is enough
	stale      []byte // the value past its TTL that the lease was granted over
	staleUntil time.Time
	until      time.Time // of an entry that says that the value is elsewhere: its end

	ans answer[V]
}

// answer is what a flight brings back.
type answer[V any] struct {
	Result[V]
	loadErr error // of the load, where a stale value stands in for it
}

// fillMode says where a loaded value may be stored.
type fillMode uint8

const (
	fillUnknown   fillMode = iota // L2 has not answered yet, or with the value
	fillNothing                   // nowhere: a write is under way, or another node's load
	fillLeased                    // in L2 under the lease, then in L1
	fillDegraded                  // in L1 for a short while: L2 could not be asked
	fillElsewhere                 // in L1: L2 has an entry that stands for a large value
	fillL1                        // in L1: there is no L2
)

// reader is the leader of a single read. Decoding is its work: a value that takes
// long then holds up nobody who was looked up in the same batch.
type reader struct {
	found chan struct{} // job.entry is there to be decoded; nil: nobody waits for that
	state atomic.Uint32
}

const (
	readerWaits = iota
	readerLeft  // its context ended
	readerGiven // it has, or will be told of, the entry
)

// give hands the job's entry to its leader, unless that has left.
func (r *reader) give() bool {
	if r.found == nil || !r.state.CompareAndSwap(readerWaits, readerGiven) {
		return false
	}
	r.found <- struct{}{}
	return true
}

// publishAnswer makes the job's answer known to those who came before its read.
func (c *Cache[K, V]) publishAnswer(j *job[K, V]) {
	c.flights.Publish(j.call, j.ans, j.ans.Err != nil && !j.ans.Negative, j.asOf)
}

// closeJob ends a job whose answer is published.
func (c *Cache[K, V]) closeJob(j *job[K, V], t flight.Trust) {
	c.flights.Close(j.key, j.call, t)
	c.inflight.done(1)
}

// fail ends a job with an error.
func (c *Cache[K, V]) fail(j *job[K, V], err error) {
	j.ans.Err = err
	c.publishAnswer(j)
	c.closeJob(j, flight.TrustNone)
}

func (c *Cache[K, V]) failAll(jobs []*job[K, V], err error) {
	for _, j := range jobs {
		c.fail(j, err)
	}
}

// overtakeIfBehind makes sure, before a job's answer is known, that no default
// read that comes after it goes back to an older value: it drops what L1 holds,
// and refuses what others are about to insert. It is needed where L1 can be behind
// an answer, since the notice of another node's write comes when it may:
//
//   - a strong read did not ask L1;
//   - an answer of the primary that L2 knows nothing of need not be stored;
//   - another flight of the key has begun since an invalidation, and its read
//     may have ended before this one's.
//
// Elsewhere L1 had nothing when the flight began, and only this flight inserts:
// in each generation one flight of a key may (see job.replaced).
func (c *Cache[K, V]) overtakeIfBehind(j *job[K, V]) {
	if j.strong || j.mode == fillNothing || j.mode == fillDegraded || j.mode == fillElsewhere || !c.flights.Current(j.key, j.call) {
		c.overtake(j)
	}
}

// overtake drops what L1 has of the job's key, and leaves L1 to this flight.
func (c *Cache[K, V]) overtake(j *job[K, V]) {
	j.gen = c.l1.Overtake(j.key, j.gen)
	c.flights.Overtake(j.key, j.call)
}

// dropAfterGrant drops from L1 what was in L2 until it expired, and may be in L1
// for a little longer: the lease has ended the watch of the key. Nobody else
// inserts in this generation (see overtakeIfBehind), unless this flight has been
// replaced; and what a release has published, not once it has expired.
func (c *Cache[K, V]) dropAfterGrant(j *job[K, V]) {
	if j.replaced {
		c.overtake(j)
	} else {
		c.l1.Drop(j.key)
	}
}
