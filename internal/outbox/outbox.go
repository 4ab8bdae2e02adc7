// Package outbox keeps what L2 has yet to be told: the debts of one cache to L2,
// which an L2 that failed has not taken.
//
// All debts are in one queue, and one rule says when a debt is told: when its time
// has come, the oldest first. That time is given when the debt is added, and no
// debt is queued while a write of its key without a fence is under way. A debt that
// L2 fails for goes to the end of those whose time has come, so it does not hold up
// the others: one master of a cluster may be down while the rest works. A debt stays
// until L2 has confirmed it.
//
// There are three kinds. They differ where the protocol makes them differ:
//
//   - A Write is a key that was written while L2 did not know of it. L2 may have its
//     old value, so until it has been told this node reads the primary for the key
//     (Holds). That is why a key has one Write at most, the last one; why a Write may
//     not be forgotten; and why too many of them become one debt, All: L2 is to be
//     cleared. Its time is the end of the write, or, if its outcome is unknown, the
//     moment from which the primary does not apply it any more.
//   - A Fence is a key whose write ended with its outcome unknown, behind a fence that
//     L2 has. Its time is the end of the fence. If the primary applied the write after
//     that, readers may have stored the record from before it: so the key is released
//     once more. Until then the fence protects it, so reads ask for nothing here, and
//     it is not told earlier, not even when the cache closes. What does not fit is
//     left to the TTL of the entry.
//   - A Lease is one that L2 may have granted without this node's knowing, or that
//     could not be given back. Nobody fills its key, and readers wait for it until it
//     expires. Its time is at once. What does not fit is left to its expiry.
package outbox

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
)

// Kind is what a debt is about.
type Kind uint8

const (
	Write Kind = iota
	Fence
	Lease
	kinds
)

// Debt is one thing that L2 has to be told.
type Debt[K comparable] struct {
	Kind  Kind
	Key   K                      // of a Write or a Fence
	Token driver.Token           // of that write; L2 may hold its fence although nobody was told
	Lease *driver.AbandonRequest // of a Lease

	item *item[K]
	seq  uint64
	// comesBack: Failed puts it back into the queue.
	comesBack bool
}

// item is a debt in the Outbox.
type item[K comparable] struct {
	Debt[K]
	due   time.Time
	first time.Time // when it came first: due moves on when L2 fails
	busy  int       // writes of the key without a fence under way
	index int       // in the queue; -1: not there, since it is busy or taken
}

// Outbox holds the debts of one cache. Make one with New. All methods are safe for
// concurrent use.
type Outbox[K comparable] struct {
	max       [kinds]int
	writes    atomic.Int64 // or 1 with all set: 0 lets the read path skip the lock
	overflows atomic.Uint64

	mu struct {
		sync.Mutex
		queue  queue[K]
		writes map[K]*item[K] // by key, be they in the queue or not
		n      [kinds]int     // debts, those that are taken included
		seq    uint64
		busy   int // writes without a fence under way, of all keys
		// latest is the last due of all Writes since there were none; since is when the
		// first of them came.
		latest, since time.Time
		// all: there were too many Writes. They are not remembered one by one any
		// more: reads pass the cache by until it has been cleared.
		all    bool
		allSeq uint64 // of the last write under all
	}
}

// New makes an Outbox for so many debts of each kind.
func New[K comparable](maxWrites, maxFences, maxLeases int) *Outbox[K] {
	return &Outbox[K]{max: [kinds]int{maxWrites, maxFences, maxLeases}}
}

// Holds reports whether a key must be read from the primary.
func (o *Outbox[K]) Holds(k K) bool {
	if o.writes.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.mu.writes[k]
	return ok || o.mu.all
}

// Empty reports whether there is nothing to be told.
func (o *Outbox[K]) Empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.mu.all && o.mu.n == [kinds]int{}
}

// Len returns the number of debts of a kind. All counts as one Write.
func (o *Outbox[K]) Len(kind Kind) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.mu.n[kind]
	if kind == Write && o.mu.all {
		n++
	}
	return n
}

// Since returns since when there have been Writes, or All; zero: there are none.
func (o *Outbox[K]) Since() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.since
}

// Overdue returns for how long the first of the debts has waited whose time has come;
// 0 if there is none. It does not see those that are being told, and of a long queue it
// looks at the beginning.
func (o *Outbox[K]) Overdue(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.all {
		return max(0, now.Sub(o.mu.latest))
	}
	longest := time.Duration(0)
	for _, it := range o.mu.queue[:min(len(o.mu.queue), mostLooked)] {
		if !it.due.After(now) {
			longest = max(longest, now.Sub(it.first))
		}
	}
	return longest
}

// Overflowed reports whether there were too many Writes, and L2 has not been cleared
// since.
func (o *Outbox[K]) Overflowed() bool {
	if o.writes.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.all
}

// Overflows returns how often that has happened.
func (o *Outbox[K]) Overflows() uint64 { return o.overflows.Load() }

// Begin notes that a write of k without a fence begins. It must be followed by End.
func (o *Outbox[K]) Begin(k K) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.busy++
	if it := o.writeLocked(k); it != nil {
		it.busy++
		o.unqueueLocked(it)
	}
	o.countLocked()
}

// End notes that the write ended and that the primary may apply it until due. It
// returns the debt, for who wants to tell L2 at once.
func (o *Outbox[K]) End(k K, token driver.Token, due time.Time) Debt[K] {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.busy--
	if it, ok := o.mu.writes[k]; ok && it.busy > 0 {
		it.busy--
	}
	return o.addWriteLocked(k, token, due)
}

// AddWrite adds a Write, which is told from due on.
func (o *Outbox[K]) AddWrite(k K, token driver.Token, due time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.addWriteLocked(k, token, due)
}

func (o *Outbox[K]) addWriteLocked(k K, token driver.Token, due time.Time) Debt[K] {
	if due.After(o.mu.latest) {
		o.mu.latest = due
	}
	o.mu.seq++
	d := Debt[K]{Kind: Write, Key: k, Token: token, seq: o.mu.seq}
	it := o.writeLocked(k)
	if it == nil {
		o.mu.allSeq = o.mu.seq
	} else {
		d.item = it
		it.Debt = d
		if due.After(it.due) {
			it.due = due
		}
		o.queueLocked(it)
	}
	o.countLocked()
	return d
}

// writeLocked returns the key's Write, or nil once there are too many.
func (o *Outbox[K]) writeLocked(k K) *item[K] {
	if it, ok := o.mu.writes[k]; ok {
		return it
	}
	if o.mu.all {
		return nil
	}
	if len(o.mu.writes) >= o.max[Write] {
		o.overflows.Add(1)
		o.mu.all, o.mu.allSeq = true, o.mu.seq
		o.mu.writes, o.mu.n[Write] = nil, 0
		o.mu.queue = o.mu.queue.without(Write)
		return nil
	}
	if o.mu.writes == nil {
		o.mu.writes = make(map[K]*item[K])
	}
	it := &item[K]{Debt: Debt[K]{Kind: Write, Key: k}, index: -1}
	o.mu.writes[k] = it
	o.mu.n[Write]++
	return it
}

func (o *Outbox[K]) countLocked() {
	n := int64(o.mu.n[Write])
	if o.mu.all {
		n++
	}
	switch {
	case n == 0:
		o.mu.latest, o.mu.since = time.Time{}, time.Time{}
	case o.mu.since.IsZero():
		o.mu.since = time.Now()
	}
	o.writes.Store(n)
}

// AddFence adds a Fence, which is told from due on. It reports whether there was
// room.
func (o *Outbox[K]) AddFence(k K, token driver.Token, due time.Time) bool {
	return o.add(Debt[K]{Kind: Fence, Key: k, Token: token}, due)
}

// AddLease adds a Lease. It reports whether there was room.
func (o *Outbox[K]) AddLease(a driver.AbandonRequest) bool {
	return o.add(Debt[K]{Kind: Lease, Lease: &a}, time.Now())
}

func (o *Outbox[K]) add(d Debt[K], due time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.n[d.Kind] >= o.max[d.Kind] {
		return false
	}
	o.mu.n[d.Kind]++
	o.mu.seq++
	d.seq = o.mu.seq
	o.queueLocked(&item[K]{Debt: d, due: due, index: -1})
	return true
}

// queueLocked puts a debt where it belongs in the queue, unless it is busy.
func (o *Outbox[K]) queueLocked(it *item[K]) {
	switch {
	case it.busy > 0:
		return
	case it.index >= 0:
		heap.Fix(&o.mu.queue, it.index)
	default:
		heap.Push(&o.mu.queue, it)
	}
	if it.first.IsZero() {
		it.first = it.due
	}
}

func (o *Outbox[K]) unqueueLocked(it *item[K]) {
	if it.index >= 0 {
		heap.Remove(&o.mu.queue, it.index)
	}
}
