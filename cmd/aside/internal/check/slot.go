package check

import (
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

	mu   sync.Mutex
	now  *life
	last *life // deleted but still read; or nil
	next int   // number of the next life among all of the run
	step int   // from it to the one after it
}

// life is the life of one record, from before its creation until after its deletion. The
// slot's mutex guards it.
type life struct {
	id  string
	key *history.Key

	strong   float64 // share of its reads
	state    state
	born     time.Duration // by the run's clock
	maxBegun int           // it ends after this number of operations,
	maxAge   time.Duration // or at that age
	early    int           // remaining reads before its creation
	late     int           // remaining reads after its deletion

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
}

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
	return l
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
		if l.late--; l.late == 0 {
			l.closed, s.last = true, nil
		}
	case l.state == absent && l.early <= 0 && !l.turning:
		a, l.turning = create, true
	case l.state == absent:
		l.early--
	case !l.turning && l.due(now):
		a, l.turning = remove, true
	case write:
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
