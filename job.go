package aside

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/flight"
	"github.com/asidecache/aside/internal/tags"
)

// job is one key of one flight, on its way from lookup to load to fill. Its
// leader makes it. Whoever holds it ends it, once: with publishAnswer and then
// closeJob, or with fail.
type job[K comparable, V any] struct {
	key    K
	l2key  string
	call   *flight.Call[answer[V]]
	asks   Mode // of its leader
	strong bool // its leader did not ask L1

	ctx    context.Context // of its leader
	outer  *nest           // of ctx
	op     *operation      // its lookup or fill, that the observer was told of
	loader Loader[K, V]
	own    bool            // see ownLoader
	bulk   *bulkRead[K, V] // nil for a single read; then its ctx and loader count
	reader reader          // the leader of a single read, which decodes
	ended  bool            // with the entry that its leader has decoded: the leader may reuse it

	hedge   *hedge     // shared with the job's hedge, if its lookup was slow
	hedges  *job[K, V] // it is the hedge of that job
	lookups int

	lease driver.Token
	mode  fillMode
	asOf  flight.Ticket // when the read whose result is handed out began
	// loadedAt is when its load had ended: the answer may be published later, after the fill.
	loadedAt flight.Ticket
	gen      uint64    // of L1, before that read was requested
	asked    time.Time // when L2 was asked first
	// replaced: another flight of the key had begun by then. That may know of a
	// newer value, so this one leaves L1 to it.
	replaced bool

	ahead  bool          // a refresh: nobody has asked for it, see refresh.go
	renews driver.Token  // of the entry in L2 that it is to refresh
	dueIn  time.Duration // in L1: in what time the entry in L2 is due; 0: not known

	entry      []byte        // found in L2
	carried    time.Duration // for how long that is fresh, if another node's lease carries it
	noCarried  bool          // what the lease carries is of no use
	over       driver.Token  // of an entry that a Refresh is to replace
	evicted    bool          // an entry of no use was removed; once is enough
	stale      []byte        // what the lease carries that is past its TTL, or is to be refreshed
	staleUntil time.Time
	kept       *keptValue[V] // the same of a cache without L2
	until      time.Time     // of an entry that says that the value is elsewhere: its end

	told told // by its loader
	// of tags: when its load began, if that is known; and the question that a strong read asks
	stamp   tags.Stamp
	stamped bool
	head    *tagCall
	ttl     time.Duration // of what it has loaded, with the jitter
	ans     answer[V]
}

// answer is what a flight brings back.
type answer[V any] struct {
	Result[V]
	loadErr error           // of the load, where a stale value stands in for it
	by      context.Context // of the lookup or load that brought it, for the observer
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

// reader is the leader of a single read that is looked up together with others. Decoding is
// its work: a value that takes long then holds up nobody else of the batch.
type reader struct {
	state atomic.Uint32
	woken chan bool // true: job.entry is there to be decoded; false: the flight is answered
}

const (
	readerNone = iota // nobody waits
	readerWaits
	readerLeft  // its context ended
	readerWoken // it was told, or will be
)

// waits is called before anybody else has the job.
func (r *reader) waits() {
	if r.woken == nil {
		r.woken = make(chan bool, 1)
	}
	r.state.Store(readerWaits)
}

// wake tells the reader, if it waits. It is told once.
func (r *reader) wake(decode bool) bool {
	if !r.state.CompareAndSwap(readerWaits, readerWoken) {
		return false
	}
	r.woken <- decode
	return true
}

// newJob returns an empty job.
func (c *Cache[K, V]) newJob() *job[K, V] {
	if j, ok := c.usedJobs.Get().(*job[K, V]); ok {
		return j
	}
	return &job[K, V]{}
}

// reuse takes back a job that nobody else has any more.
func (c *Cache[K, V]) reuse(j *job[K, V]) {
	woken := j.reader.woken
	*j = job[K, V]{}
	j.reader.woken = woken
	c.usedJobs.Put(j)
}

// wakeReader wakes the leader of the job's flight, if it waits for an entry to decode: the
// flight is answered.
func (c *Cache[K, V]) wakeReader(j *job[K, V]) {
	if j.hedges != nil {
		j = j.hedges
	}
	j.reader.wake(false)
}

// keeps reports whether anybody wants the job's answer to be stored. Who comes later
// reads again.
func (j *job[K, V]) keeps() bool { return j.asks&NoStore == 0 || j.call.Keep() }

// carry notes what a lease carries, if anything, which may answer in place of a load.
func (j *job[K, V]) carry(g driver.Grant, now time.Time) {
	if g.Entry != nil {
		j.stale, j.staleUntil = g.Entry, now.Add(g.Left)
	}
}

// register registers a new job, which must be ended from then on. If the cache is closed,
// it ends the job's flight.
func (c *Cache[K, V]) register(j *job[K, V]) bool {
	if c.inflight.begin() {
		return true
	}
	j.ans.Err = ErrClosed
	c.publishAnswer(j)
	c.flights.Close(j.key, j.call, flight.TrustNone)
	return false
}

// publishAnswer makes the job's answer known to those who came before its read.
func (c *Cache[K, V]) publishAnswer(j *job[K, V]) {
	ended := j.loadedAt
	if ended == 0 {
		ended = c.flights.Now()
	}
	c.flights.Publish(j.call, j.ans, j.ans.Err != nil && !j.ans.Negative, j.asOf, ended)
	c.wakeReader(j)
}

// closeJob ends a job whose answer is published.
func (c *Cache[K, V]) closeJob(j *job[K, V], t flight.Trust) {
	c.endJobOp(j, OutcomeWaited, nil)
	if j.renews != (driver.Token{}) {
		c.refreshing.Delete(j.key)
	}
	if m := j.told.marks; m.Tagged() {
		// An accepted fill proves that no write came between, but nothing about tags.
		c.flights.CloseWith(j.key, j.call, func() flight.Trust {
			if !c.tags.Good(m) {
				return flight.TrustNone
			}
			return min(t, flight.TrustLocal)
		})
	} else {
		c.flights.Close(j.key, j.call, t)
	}
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
//     may have ended before this one's;
//   - there is no L2, and an answer that is not stored takes the place of what L1 has.
//
// Elsewhere L1 had nothing when the flight began, and only this flight inserts:
// in each generation one flight of a key may (see job.replaced).
func (c *Cache[K, V]) overtakeIfBehind(j *job[K, V]) {
	if j.renews != (driver.Token{}) {
		return // its answer is known to nobody
	}
	unstored := j.mode == fillL1 && !c.stores(j) && j.keeps()
	if unstored || j.strong || j.mode == fillNothing || j.mode == fillDegraded || j.mode == fillElsewhere || !c.flights.Current(j.key, j.call) {
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
