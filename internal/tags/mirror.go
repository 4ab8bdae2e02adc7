package tags

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
)

// Marks are what is known of an entry beside its value: its tags, and the moment of the
// table from which they count; and what a loader told that the value does not tell, which
// is for the cache alone. A nil *Marks is an entry of which nothing more is known. Nobody
// changes Marks that are in use.
type Marks struct {
	Tags  []string
	Stamp Stamp

	Version uint64 // 0: the value tells it, or it is not known
	ETag    string
}

// Stamp is a moment, as a node knew it before a record was read.
type Stamp struct {
	driver.TagStamp
	// Own counts the invalidations of this process that L2 was not told of at once. It is
	// 0 for an entry that was found in L2.
	Own uint64
}

// NewMarks makes the marks of an entry; nil without tags.
func NewMarks(names []string, s Stamp) *Marks {
	if len(names) == 0 {
		return nil
	}
	return &Marks{Tags: names, Stamp: s}
}

// Tell returns marks with what a loader told beside.
func (k *Marks) Tell(version uint64, etag string) *Marks {
	if version == 0 && etag == "" {
		return k
	}
	told := new(Marks)
	if k != nil {
		*told = *k
	}
	told.Version, told.ETag = version, etag
	return told
}

// Held are the Marks of an entry that is held for long, and what a Mirror has found of them.
type Held struct {
	*Marks
	judged atomic.Uint64 // the Mirror's age at which the entry was of use; 0: none
}

// Tagged reports whether the entry has tags.
func (k *Marks) Tagged() bool { return k != nil && len(k.Tags) > 0 }

// Mirror is what one node knows of the table of its cache. Its methods are safe for
// concurrent use. Make one with NewMirror.
//
// Within an epoch a mirror only learns, so it goes on refusing what it has refused.
type Mirror struct {
	most int
	age  atomic.Uint64 // moves with every change of what entries are judged by
	_    [48]byte      // hits read age; what is below changes with every load

	mu      sync.RWMutex
	table   Table
	pruned  int    // tags in the table when those below the floor were removed last
	watched bool   // changes of the table are told to this node
	moved   uint64 // how often that happened
	lost    uint64 // how often changes may have been missed
	back    bool   // the table has lost what this node has seen: it must begin anew

	// Invalidations of this process that L2 has not been told of: what own was after
	// each, by tag. Too many of them are one of all tags.
	own     uint64
	pending map[string]uint64
	since   time.Time // when the first of them came; zero: there are none
	all     uint64
}

// NewMirror makes a mirror of a table of at most so many tags.
func NewMirror(most int) *Mirror {
	m := &Mirror{most: most}
	m.age.Store(1) // Held.judged begins with 0
	return m
}

// Verdict is what a Mirror knows of an entry.
type Verdict uint8

const (
	Useful  Verdict = iota
	Useless         // it has been invalidated, or nobody can tell any more
	// Unknown: the entry is of another table, or of a later time, than the node knows. It
	// has to ask for the table, and judge again.
	Unknown
)

// Holds reports whether an entry that is held may be used, as far as this node knows.
// Mostly that is one look at a number.
func (m *Mirror) Holds(h *Held) bool { return h.judged.Load() == m.age.Load() || m.judge(h) }

func (m *Mirror) judge(h *Held) bool {
	age := m.age.Load() // before the rest: if it moves meanwhile, the entry is judged again
	if !m.Good(h.Marks) {
		return false
	}
	h.judged.Store(age)
	return true
}

// Good reports whether an entry may be used, as far as this node knows; one without tags
// always may.
func (m *Mirror) Good(k *Marks) bool { return m.Judge(k) == Useful }

// Judge judges an entry.
func (m *Mirror) Judge(k *Marks) Verdict {
	if !k.Tagged() {
		return Useful
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.judgeLocked(k)
}

func (m *Mirror) judgeLocked(k *Marks) Verdict {
	t := &m.table
	if m.all > k.Stamp.Own {
		return Useless
	}
	if len(m.pending) > 0 {
		for _, tag := range k.Tags {
			if m.pending[tag] > k.Stamp.Own {
				return Useless
			}
		}
	}
	switch {
	case k.Stamp.Epoch != t.Epoch:
		return Unknown
	case k.Stamp.Seq < t.Floor:
		return Useless
	}
	for _, tag := range k.Tags {
		if t.Numbers[tag] > k.Stamp.Seq {
			return Useless
		}
	}
	if k.Stamp.Seq > t.Seq {
		return Unknown
	}
	return Useful
}

// WentBack is for an entry that is Unknown although the table has just been read. If
// the entry is from a later time than the table, the table has lost its latest numbers:
// then it is to begin anew.
func (m *Mirror) WentBack(k *Marks) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k.Stamp.Epoch == m.table.Epoch && k.Stamp.Seq > m.table.Seq {
		m.back = true
		return true
	}
	return false
}

// Stamp returns the moment for a record that is read from now on. ok is false if the
// node has never seen the table.
func (m *Mirror) Stamp() (s Stamp, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Stamp{m.table.TagStamp, m.own}, m.table.Epoch != 0
}

// Watched reports whether changes of the table are told to this node.
func (m *Mirror) Watched() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.watched
}

// Moved tells that the table has changed.
func (m *Mirror) Moved() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved++
}

// Lost tells that changes may have been missed, and that none are told until the table
// has been read again.
func (m *Mirror) Lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost++
	m.watched = false
}

// Question is one request to the Tier.
type Question struct {
	driver.TagRequest
	seen        driver.TagStamp // what the node knew
	moved, lost uint64
	whole       bool
}

// Ask makes a request for what the node does not know, which also invalidates some tags.
func (m *Mirror) Ask(key string, invalidate []string) Question {
	m.mu.RLock()
	defer m.mu.RUnlock()
	q := Question{seen: m.table.TagStamp, moved: m.moved, lost: m.lost, whole: !m.watched}
	q.TagRequest = driver.TagRequest{
		Key: key, Invalidate: invalidate, Known: q.seen, Renew: m.back, Fresh: max(1, rand.Uint64()), Max: m.most,
	}
	if q.whole {
		q.Known.Seq = 0 // all tags: to see whether what the node knows is still there
	}
	return q
}

// Learn takes in the answer to a question. again: that did not suffice, ask again, but
// for nothing to be invalidated. more: the table has changed since.
func (m *Mirror) Learn(q Question, a driver.TagTable) (again, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.table
	switch {
	case a.Epoch == t.Epoch:
		if q.whole && q.seen.Epoch == a.Epoch && !m.coversLocked(q.seen, a) {
			m.back = true
			return true, true
		}
	case q.Known.Epoch != t.Epoch:
		return true, true // another answer came first, and which of the tables is the last?
	default:
		m.table, m.pruned, m.back = Table{TagStamp: a.TagStamp, Floor: a.Floor}, 0, false
		m.age.Add(1)
		if m.all > 0 && a.Epoch != q.Fresh { // others have made it, maybe before what this node owes
			m.back, again = true, true
		}
	}
	if a.Seq > t.Seq {
		m.age.Add(1)
	}
	t.Seq, t.Floor = max(t.Seq, a.Seq), max(t.Floor, a.Floor)
	if t.Numbers == nil {
		t.Numbers = map[string]uint64{}
	}
	for _, c := range a.Changed {
		t.Numbers[c.Tag] = max(t.Numbers[c.Tag], c.Number)
	}
	m.pruneLocked()
	m.watched = m.watched || m.lost == q.lost
	return again, m.moved != q.moved
}

// pruneLocked forgets the tags below the floor, when they have become many.
func (m *Mirror) pruneLocked() {
	t := &m.table
	if len(t.Numbers) < 2*m.pruned+256 {
		return
	}
	for tag, n := range t.Numbers {
		if n <= t.Floor {
			delete(t.Numbers, tag)
		}
	}
	m.pruned = len(t.Numbers)
}

// coversLocked reports whether an answer with all tags has what the node knew when it
// asked.
func (m *Mirror) coversLocked(seen driver.TagStamp, a driver.TagTable) bool {
	if a.Seq < seen.Seq {
		return false
	}
	has := make(map[string]uint64, len(a.Changed))
	for _, c := range a.Changed {
		has[c.Tag] = c.Number
	}
	for tag, n := range m.table.Numbers {
		if n > a.Floor && n <= seen.Seq && has[tag] < n {
			return false
		}
	}
	return true
}

// Alone makes m the table itself, of a cache without L2.
func (m *Mirror) Alone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table.Epoch, m.watched = 1, true
}

// Invalidate invalidates tags in a table that is this node's alone. It needs no clock:
// nothing outlives it.
func (m *Mirror) Invalidate(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.table
	if t.Numbers == nil {
		t.Numbers = map[string]uint64{}
	}
	t.Seq++
	for _, tag := range names {
		t.Numbers[tag] = t.Seq
	}
	if len(t.Numbers) > m.most+m.most/8 { // a few more than that, since it looks at all
		t.bound(m.most)
	}
	m.age.Add(1)
}

// Pend invalidates tags on this node, until L2 has been told.
func (m *Mirror) Pend(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own++
	if m.since.IsZero() {
		m.since = time.Now()
	}
	if m.pending == nil {
		m.pending = map[string]uint64{}
	}
	for _, tag := range names {
		m.pending[tag] = m.own
	}
	if len(m.pending) > m.most {
		m.all, m.pending = m.own, nil
	}
	m.age.Add(1)
}

// Pending returns how many tags L2 has yet to be told of. All tags count as one.
func (m *Mirror) Pending() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.all > 0 {
		return len(m.pending) + 1
	}
	return len(m.pending)
}

// PendingSince returns since when there have been tags that L2 has yet to be told of; zero:
// there are none.
func (m *Mirror) PendingSince() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.since
}

// Owed returns some of the tags that L2 has yet to be told of, and which moment that is
// up to. all: the table is to begin anew instead.
func (m *Mirror) Owed(most int) (names []string, all bool, upTo uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all > 0 {
		m.back = true
		return nil, true, m.own
	}
	for tag := range m.pending {
		if len(names) == most {
			break
		}
		names = append(names, tag)
	}
	return names, false, m.own
}

// Told tells that L2 has been told of what Owed returned, and the answer was learned.
func (m *Mirror) Told(names []string, all bool, upTo uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all && m.all <= upTo {
		m.all = 0
	}
	for _, tag := range names {
		if m.pending[tag] <= upTo {
			delete(m.pending, tag)
		}
	}
	if m.all == 0 && len(m.pending) == 0 {
		m.since = time.Time{}
	}
}
