package check

import (
	"cmp"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// slot has one record at a time. All clients use it.
type slot struct {
	// patient: the slot is rarely used, and its records live long enough for a default
	// read to be too stale. They get only default reads; see strongShare.
	patient  bool
	newID    func() string
	targets  int
	ops      int           // of a life, approximately
	strong   float64       // share of the reads
	maxStale time.Duration // for default reads
	// outside: there are outside writers, and bound is when reads must show what they
	// wrote. The records of a patient slot are then changed only by them.
	outside bool
	bound   time.Duration

	mu   sync.Mutex
	now  *life
	last *life // deleted but still read; or nil
	next int   // number of the next life among all of the run
	step int   // from it to the one after it
	// lives counts the lives of the slot. It begins with another number in each slot.
	lives int
}

// life is the life of one record, from before its creation until after its deletion. The
// slot's mutex guards it.
type life struct {
	id  string
	key *history.Key
	// tag is that of the record in the nodes' caches; "" until a write was acknowledged.
	tag string

	strong   float64 // share of its reads
	state    state
	born     time.Duration // by the run's clock
	maxBegun int           // it ends after this number of operations,
	maxAge   time.Duration // or at that age
	early    int           // remaining reads before its creation
	late     int           // remaining reads after its deletion
	lateFrom time.Duration // reads before it do not count as such

	begun int // operations
	busy  int // operations that are running
	// closed: no operation will start. When none is running, the history is complete.
	closed bool
	// turning: a running operation creates or deletes the record.
	turning bool
	// doubtful: the outcome of a creation is unknown. It may be applied at any time. If
	// this happened after a deletion, the record would be back, which breaks no
	// promise. So such a record is not deleted before the end of the run.
	doubtful bool
	// remains: the record may be in the database.
	remains bool

	// outside is about outside writes.
	outside struct {
		// ends: an outside writer deletes the record at its end.
		ends bool
		// The records of a patient slot get some writes, rest, and get some again. next
		// is the end of the rest; never while there are writes. left are those to come,
		// running those that have begun.
		next          time.Duration
		left, running int
	}
}

const never = time.Duration(math.MaxInt64)

type state uint8

const (
	absent state = iota
	live
	deleted
)

// The age of records: long enough for several nodes to have them in memory, and short
// enough to check a history in less than a second and to see many creations and deletions.
const (
	minAge = 2 * time.Second
	maxAge = 10 * time.Second
	// patience is how many times less often a patient slot is used than others.
	patience = 16
	// outsidePatience is patience with outside writers: these slots then have more to show.
	outsidePatience = 4
	// maxTogether is the maximum number of outside writes without a rest in between, and
	// minRest the least time by which a rest is longer than the bound. After the bound,
	// reads of the record show whether a node missed the last of these writes.
	maxTogether = 4
	minRest     = 200 * time.Millisecond
)

func (s *slot) newLife(now time.Duration, rng *rand.Rand) *life {
	l := &life{id: s.newID(), born: now}
	l.key = history.NewKey(l.id)
	l.maxBegun = s.ops/2 + rng.IntN(s.ops+1)
	l.maxAge = minAge + time.Duration(rng.Int64N(int64(maxAge-minAge)))
	l.early, l.late = rng.IntN(4*s.targets), 4*s.targets
	l.strong = strongShare(s.strong, s.next)
	s.next += s.step
	if s.patient {
		l.maxBegun, l.maxAge = 4*s.ops, max(2*s.maxStale, maxAge)
		if s.strong < 1 {
			// It is rarely written too: a write through a node would update the
			// memory of that node.
			l.strong = 0
		}
	}
	if s.outside {
		s.withOutside(l, rng)
	}
	return l
}

// withOutside prepares a life for outside writers.
func (s *slot) withOutside(l *life, rng *rand.Rand) {
	l.outside.ends = rng.IntN(4) == 0
	if !s.patient {
		return
	}
	l.outside.ends = rng.IntN(2) == 0
	// Its age ends it, after some rests. It begins with one, in which nodes cache it.
	l.maxBegun, l.maxAge = maxLife, 2*s.rest(rng)
	l.outside.next = l.born + minRest
	// A strong read updates the memory of its node, but strong reads are to be checked too.
	if s.lives++; s.lives%2 == 0 {
		l.strong = s.strong
	}
}

// rest returns how long to leave a record alone after outside writes.
func (s *slot) rest(rng *rand.Rand) time.Duration {
	more := max(s.bound/4, minRest)
	return s.bound + more + time.Duration(rng.Int64N(int64(more)))
}

// strongShare returns the share of strong reads on the n-th record. On average it is share.
// One record in three gets only default reads, as far as share allows: a strong read updates
// the memory of its node. With a strong read every few milliseconds, no default read would
// show that the node missed an invalidation.
func strongShare(share float64, n int) float64 {
	none := min(1.0/3, (1-share)*2/3) // of the records
	if int(float64(n)*none) != int(float64(n-1)*none) {
		return 0
	}
	return share / (1 - none)
}

func (l *life) due(now time.Duration) bool {
	return l.begun >= l.maxBegun || now-l.born >= l.maxAge
}

// ends reports whether a client is to delete the record now.
func (s *slot) ends(l *life, now time.Duration) bool {
	switch {
	case l.turning || !l.due(now):
		return false
	case !s.outside, l.begun >= 2*l.maxBegun, now-l.born >= 2*l.maxAge:
		return true // outside writers may have been held up
	}
	return !l.outside.ends && now >= l.outside.next
}

// begin chooses the record and the kind of an operation. It writes if write is set and the
// state of the record allows it. Otherwise it reads. Each begin must be followed by an end.
// begin returns the lives that it has finished.
func (s *slot) begin(write bool, now time.Duration, rng *rand.Rand) (l *life, a act, finished []*life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil || s.now.doubtful && s.now.due(now) {
		finished = s.replaceLocked(now, rng)
	}
	l, a = s.now, readDefault
	switch {
	case s.last != nil && !write && rng.IntN(4) == 0:
		l = s.last
		if now >= l.lateFrom {
			l.late--
		}
		if l.late == 0 {
			l.closed, s.last = true, nil
		}
	case l.state == absent && l.early <= 0 && !l.turning:
		a, l.turning = create, true
	case l.state == absent:
		l.early--
	case s.ends(l, now):
		a, l.turning = remove, true
	case write && !(s.outside && s.patient):
		a = put
	}
	if !a.write() && rng.Float64() < l.strong {
		a = readStrong
	}
	l.begun++
	l.busy++
	return l, a, finished
}

// end records the outcome of an operation. It returns the lives that it has finished, and
// whether a refusal was expected: of a write after the deletion, or of a creation after
// another creation with unknown outcome.
func (s *slot) end(l *life, a act, o outcome, now time.Duration, rng *rand.Rand) (finished []*life, expected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endLocked(l, a, o, now, rng)
}

func (s *slot) endLocked(l *life, a act, o outcome, now time.Duration, rng *rand.Rand) (finished []*life, expected bool) {
	if a == create || a == put {
		l.tag = cmp.Or(l.tag, o.cached)
	}
	switch {
	case a == create:
		l.turning = false
		exists := o.code == "already_exists"
		expected = exists && l.doubtful
		switch {
		case o.sure == told || exists:
			l.state, l.remains = live, true
		case o.sure == unknown:
			l.doubtful, l.remains = true, true
		}
	case a == put:
		expected = o.code == "not_found" && (l.turning || l.state == deleted)
	case a == remove && o.sure == nothing && o.code != "not_found":
		l.turning = false // the next operation tries again
	case a == remove:
		l.state, l.turning, l.remains = deleted, false, o.sure == unknown
		finished = s.replaceLocked(now, rng)
	}
	l.busy--
	if l.closed && l.busy == 0 {
		finished = append(finished, l)
	}
	return finished, expected
}

// toDrop chooses a record to drop from the cache: mostly the present one. The id is "" if
// there is none.
func (s *slot) toDrop(rng *rand.Rand) (id, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.now
	if s.last != nil && rng.IntN(4) == 0 {
		l = s.last
	}
	if l == nil {
		return "", ""
	}
	return l.id, l.tag
}

func (s *slot) tagOf(l *life) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.tag
}

// dropped records a drop in the histories of the records that it was for. One that is
// complete already may miss it: then it is held to less.
func (s *slot) dropped(op history.Op, is func(id, tag string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range []*life{s.now, s.last} {
		if l != nil && is(l.id, l.tag) {
			l.key.Record(op)
		}
	}
}

// beginOutside chooses an outside write. ok is false if there is none to make now.
// Otherwise an endOutside must follow.
func (s *slot) beginOutside(now time.Duration, rng *rand.Rand) (l *life, a act, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, a = s.now, put
	if l == nil || l.state != live || l.doubtful && l.due(now) {
		return nil, 0, false
	}
	o := &l.outside
	if s.patient && o.left == 0 {
		if now < o.next || l.turning {
			return nil, 0, false
		}
		o.next, o.left = never, 1+rng.IntN(maxTogether)
	}
	o.left = max(o.left-1, 0)
	if o.ends && l.due(now) && !l.turning && !l.doubtful {
		a, l.turning, o.left = remove, true, 0
	}
	o.running++
	l.begun++
	l.busy++
	return l, a, true
}

// endOutside is end for an outside write.
func (s *slot) endOutside(l *life, a act, o outcome, now time.Duration, rng *rand.Rand) (finished []*life, expected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.outside.running--
	if l.outside.left == 0 && l.outside.running == 0 {
		l.outside.next = now + s.rest(rng)
	}
	if a == remove {
		// Until then, a read may still find the record.
		l.lateFrom = now + s.bound
	}
	return s.endLocked(l, a, o, now, rng)
}

// replaceLocked replaces the current life with a new one. If the old record was deleted, it
// may still be read.
func (s *slot) replaceLocked(now time.Duration, rng *rand.Rand) (finished []*life) {
	before := s.now
	s.now = s.newLife(now, rng)
	closing := []*life{s.last}
	s.last = nil
	switch {
	case before == nil:
	case before.state == deleted:
		s.last = before
	default:
		closing = append(closing, before)
	}
	for _, l := range closing {
		if l != nil {
			l.closed = true
			if l.busy == 0 {
				finished = append(finished, l)
			}
		}
	}
	return finished
}

// drain returns the lives that are not finished. No operation may be running.
func (s *slot) drain() []*life {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lives []*life
	for _, l := range []*life{s.now, s.last} {
		if l != nil {
			lives = append(lives, l)
		}
	}
	s.now, s.last = nil, nil
	return lives
}
