package aside

import (
	"container/list"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
)

// pending remembers the keys that were written without L2 knowing, in the order
// in which their writes ended. Until L2 has been told, this node reads the
// primary for them and stores nothing for others.
type pending[K comparable] struct {
	max       int
	overflows *atomic.Uint64
	n         atomic.Int64 // entries, or 1 with all set: 0 lets the read path skip the lock

	mu struct {
		sync.Mutex
		keys   map[K]*list.Element // in order
		order  list.List           // of *unsent[K], the key whose last write ended first in front
		cursor *list.Element       // where take goes on; nil: at the front
		seq    uint64
		busy   int // unfenced writes under way, of all keys
		// all: more keys than max were written. They are not remembered one by
		// one any more: the cache as a whole is bypassed, then cleared.
		all    bool
		allSeq uint64    // of the last write under all
		allDue time.Time // see unsent.due
	}
}

type unsent[K comparable] struct {
	key  K
	busy int    // unfenced writes of this key under way
	seq  uint64 // order of the last write to end
	// due is the time from which telling L2 is of use: the primary may yet
	// apply a write of unknown outcome before.
	due time.Time
	// token of the last write, whose fence L2 may hold although nobody was told.
	token driver.Token
}

func (p *pending[K]) len() int { return int(p.n.Load()) }

// holds reports whether a key must be read from the primary.
func (p *pending[K]) holds(k K) bool {
	if p.n.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.mu.keys[k]
	return ok || p.mu.all
}

// begin notes that an unfenced write of k starts. It must be followed by end.
func (p *pending[K]) begin(k K) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.busy++
	if u := p.entryLocked(k); u != nil {
		u.busy++
	}
	p.countLocked()
}

// end notes that it ended, and may take effect until due. It returns the
// write's place in the order of writes.
func (p *pending[K]) end(k K, token driver.Token, due time.Time) (seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.busy--
	if e, ok := p.mu.keys[k]; ok {
		if u := e.Value.(*unsent[K]); u.busy > 0 {
			u.busy--
		}
	}
	p.addLocked(k, token, due)
	return p.mu.seq
}

// add notes a key that L2 must be told of, from due on.
func (p *pending[K]) add(k K, token driver.Token, due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(k, token, due)
}

func (p *pending[K]) addLocked(k K, token driver.Token, due time.Time) {
	p.mu.seq++
	if u := p.entryLocked(k); u != nil {
		u.seq, u.token = p.mu.seq, token
		if due.After(u.due) {
			u.due = due
		}
		e := p.mu.keys[k]
		p.passLocked(e)
		p.mu.order.MoveToBack(e)
	} else {
		p.mu.allSeq = p.mu.seq
		if due.After(p.mu.allDue) {
			p.mu.allDue = due
		}
	}
	p.countLocked()
}

// passLocked moves the cursor on if it is at e.
func (p *pending[K]) passLocked(e *list.Element) {
	if p.mu.cursor == e {
		p.mu.cursor = e.Next()
	}
}

// entryLocked returns the key's entry, or nil once single keys are not
// remembered any more.
func (p *pending[K]) entryLocked(k K) *unsent[K] {
	if e, ok := p.mu.keys[k]; ok {
		return e.Value.(*unsent[K])
	}
	if p.mu.all || len(p.mu.keys) >= p.max {
		if !p.mu.all {
			p.mu.all = true
			p.overflows.Add(1)
			p.mu.allSeq = p.mu.seq
			for e := p.mu.order.Front(); e != nil; e = e.Next() {
				if u := e.Value.(*unsent[K]); u.due.After(p.mu.allDue) {
					p.mu.allDue = u.due
				}
			}
			p.mu.keys, p.mu.cursor = nil, nil
			p.mu.order.Init()
		}
		return nil
	}
	if p.mu.keys == nil {
		p.mu.keys = make(map[K]*list.Element)
	}
	u := &unsent[K]{key: k}
	p.mu.keys[k] = p.mu.order.PushBack(u)
	return u
}

// overflowed reports whether single keys are not remembered any more.
func (p *pending[K]) overflowed() bool {
	if p.n.Load() == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.all
}

func (p *pending[K]) countLocked() {
	n := int64(len(p.mu.keys))
	if p.mu.all {
		n++
	}
	p.n.Store(n)
}

// batch is what L2 can be told now.
type batch[K comparable] struct {
	keys   []K
	seqs   []uint64
	tokens []driver.Token
	all    bool
	seq    uint64
	more   bool      // there may be more behind it
	next   time.Time // when the first of those that it passed over can be told (zero: not known)
}

// mostLooked bounds the keys that take looks at while it holds the lock that every
// read takes.
const mostLooked = 4096

// take returns up to limit keys whose time has come, oldest write first. It goes on
// where it stopped, until rewind is called.
func (p *pending[K]) take(now time.Time, limit int) (b batch[K]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	later := func(t time.Time) {
		if b.next.IsZero() || t.Before(b.next) {
			b.next = t
		}
	}
	if p.mu.all {
		if p.mu.busy > 0 {
			return b
		}
		if p.mu.allDue.After(now) {
			later(p.mu.allDue)
			return b
		}
		b.all, b.seq = true, p.mu.allSeq
		return b
	}
	e := p.mu.cursor
	if e == nil {
		e = p.mu.order.Front()
	}
	looked := 0
	for ; e != nil && len(b.keys) < limit && looked < mostLooked; e = e.Next() {
		looked++
		switch u := e.Value.(*unsent[K]); {
		case u.busy > 0:
		case u.due.After(now):
			later(u.due)
		default:
			b.keys = append(b.keys, u.key)
			b.seqs = append(b.seqs, u.seq)
			b.tokens = append(b.tokens, u.token)
		}
	}
	p.mu.cursor, b.more = e, e != nil
	return b
}

// rewind has take begin at the oldest again.
func (p *pending[K]) rewind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.cursor = nil
}

// sent notes that L2 was told of b.keys[i], unless the key was written again.
func (p *pending[K]) sent(b batch[K], i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.mu.keys[b.keys[i]]; ok {
		if u := e.Value.(*unsent[K]); u.busy == 0 && u.seq == b.seqs[i] {
			p.passLocked(e)
			p.mu.order.Remove(e)
			delete(p.mu.keys, b.keys[i])
		}
	}
	p.countLocked()
}

// sentAll notes that the cache was cleared, unless a key was written since.
func (p *pending[K]) sentAll(b batch[K]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.all && p.mu.busy == 0 && p.mu.allSeq == b.seq {
		p.mu.all, p.mu.allDue = false, time.Time{}
	}
	p.countLocked()
}
