package aside

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// pending remembers the keys that were written without L2 knowing, in the order
// in which their writes ended. Until L2 has been told, this node reads the
// primary for them and stores nothing for others.
type pending[K comparable] struct {
	max int
	n   atomic.Int64 // entries, or 1 with all set: 0 lets the read path skip the lock

	mu struct {
		sync.Mutex
		keys map[K]*unsent
		seq  uint64
		busy int // unfenced writes under way, of all keys
		// all: more keys than max were written. They are not remembered one by
		// one any more: the cache as a whole is bypassed, then cleared.
		all    bool
		allSeq uint64    // of the last write under all
		allDue time.Time // see unsent.due
	}
}

type unsent struct {
	busy int    // unfenced writes of this key under way
	seq  uint64 // order of the last write to end
	// due is the time from which telling L2 is of use: the primary may yet
	// apply a write of unknown outcome before.
	due time.Time
	// token of the last write, whose fence L2 may hold although nobody was told.
	token Token
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
func (p *pending[K]) end(k K, token Token, due time.Time) (seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.busy--
	if u := p.mu.keys[k]; u != nil && u.busy > 0 {
		u.busy--
	}
	p.addLocked(k, token, due)
	return p.mu.seq
}

// add notes a key that L2 must be told of, from due on.
func (p *pending[K]) add(k K, token Token, due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addLocked(k, token, due)
}

func (p *pending[K]) addLocked(k K, token Token, due time.Time) {
	p.mu.seq++
	if u := p.entryLocked(k); u != nil {
		u.seq, u.token = p.mu.seq, token
		if due.After(u.due) {
			u.due = due
		}
	} else {
		p.mu.allSeq = p.mu.seq
		if due.After(p.mu.allDue) {
			p.mu.allDue = due
		}
	}
	p.countLocked()
}

// entryLocked returns the key's entry, or nil once single keys are not
// remembered any more.
func (p *pending[K]) entryLocked(k K) *unsent {
	if u := p.mu.keys[k]; u != nil {
		return u
	}
	if p.mu.all || len(p.mu.keys) >= p.max {
		if !p.mu.all {
			p.mu.all = true
			p.mu.allSeq = p.mu.seq
			for _, u := range p.mu.keys {
				if u.due.After(p.mu.allDue) {
					p.mu.allDue = u.due
				}
			}
			p.mu.keys = nil
		}
		return nil
	}
	if p.mu.keys == nil {
		p.mu.keys = make(map[K]*unsent)
	}
	u := &unsent{}
	p.mu.keys[k] = u
	return u
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
	tokens []Token
	all    bool
	seq    uint64
	next   time.Time // if nothing can be told now: when to look again (zero: unknown)
}

// take returns up to limit keys whose time has come and whose last write ended
// after the write number after, oldest write first.
func (p *pending[K]) take(now time.Time, limit int, after uint64) (b batch[K]) {
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
	for k, u := range p.mu.keys {
		switch {
		case u.busy > 0 || u.seq <= after:
		case u.due.After(now):
			later(u.due)
		default:
			b.keys = append(b.keys, k)
			b.seqs = append(b.seqs, u.seq)
			b.tokens = append(b.tokens, u.token)
		}
	}
	sort.Sort((*bySeq[K])(&b))
	if len(b.keys) > limit {
		b.keys, b.seqs, b.tokens = b.keys[:limit], b.seqs[:limit], b.tokens[:limit]
	}
	return b
}

// sent notes that L2 was told of b.keys[i], unless the key was written again.
func (p *pending[K]) sent(b batch[K], i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.mu.keys[b.keys[i]]; u != nil && u.busy == 0 && u.seq == b.seqs[i] {
		delete(p.mu.keys, b.keys[i])
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

// bySeq sorts a batch by the order of the writes.
type bySeq[K comparable] batch[K]

func (b *bySeq[K]) Len() int           { return len(b.keys) }
func (b *bySeq[K]) Less(i, j int) bool { return b.seqs[i] < b.seqs[j] }
func (b *bySeq[K]) Swap(i, j int) {
	b.keys[i], b.keys[j] = b.keys[j], b.keys[i]
	b.seqs[i], b.seqs[j] = b.seqs[j], b.seqs[i]
	b.tokens[i], b.tokens[j] = b.tokens[j], b.tokens[i]
}
