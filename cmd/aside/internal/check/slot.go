package check

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// slot is a place for one record at a time. All clients work on it.
type slot struct {
	// patient: it is seldom used, and its records live until a default read could
	// have been too stale. They get default reads alone; see strongShare.
	patient  bool
	newID    func() string
	targets  int
	ops      int           // of a life, about
	strong   float64       // share of the reads
	maxStale time.Duration // for default reads

	mu   sync.Mutex
	now  *life
	last *life // deleted, and still read; or nil
	next int   // number of the next life among all of the run
	step int   // from it to the one after it
}

// life is that of one record, from before its creation until after its deletion.
// The slot's mutex guards it.
type life struct {
	id  string
	key *history.Key

	strong   float64 // share of its reads
	state    state
	born     time.Duration // by the run's clock
	maxBegun int           // it ends after so many operations,
	maxAge   time.Duration // or at that age
	early    int           // reads still to go before its creation
	late     int           // reads still to come after its deletion

	begun int // operations
	busy  int // of them, under way
	// closed: no operation will begin. With none under way its history is whole.
	closed bool
	// turning: an operation under way creates or deletes the record.
	turning bool
	// doubtful: a creation had an unknown outcome. It may be applied at any time,
	// and after a deletion it would bring the record back, which no promise
	// forbids. So such a record is not deleted before the end of the run.
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

// How old records get: old enough for several nodes to have them in memory, and
// young enough for a history that is checked in well under a second, and for
// many creations and deletions.
const (
	minAge = 2 * time.Second
	maxAge = 10 * time.Second
	// patience is how much seldomer a patient slot is used than another.
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
			// Seldom written too, so that no write of a node's own brings its
			// memory up to date either.
			l.strong = 0
		}
	}
	return l
}

// strongShare is the share of strong reads on the n-th record, so that it is
// share on all. One record in three gets default reads alone, or as far as share
// lets it: a strong read brings the memory of its node up to date, and with one
// of them every few milliseconds no default read would ever show that nobody had
// told the node of a change.
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

// begin chooses the record for an operation, and what that does: it writes if it
// is to and the record's state lets it, or else reads. Every begin is followed by
// an end. Lives that are finished by the call are returned.
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

// end takes in what became of an operation. Lives that are finished by it are
// returned, and whether a refusal was to be expected: of a write that came
// behind the deletion, or of a creation after one of unknown outcome.
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

// replaceLocked puts a new life in the place of the current one, which may still
// be read if it was deleted.
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

// drain returns the lives that are not finished. No operation may be under way.
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
