package outbox

import (
	"container/heap"
	"time"
)

// Batch is what L2 can be told now: debts, or that all is to be cleared.
type Batch[K comparable] struct {
	Debts []Debt[K]
	All   bool
	// Next is when the time of the first of the other debts comes; zero: not known, or
	// there is none.
	Next time.Time
	// More: there may be further debts whose time has come.
	More bool

	now time.Time
	seq uint64 // of All
}

// mostLooked bounds the debts that Take looks at while it holds the lock, which
// reads take as well while there are Writes.
const mostLooked = 4096

// Take takes up to limit debts whose time has come by now, the oldest first. Each
// must then be given to Told or Failed, and a Batch with All to Cleared if L2 was
// cleared.
//
// final is for the last batches before the cache ends: the time of Writes is not
// waited for, since nobody would tell them later; Fences whose time has not come
// are dropped, since they end by themselves.
func (o *Outbox[K]) Take(now time.Time, limit int, final bool) Batch[K] {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := Batch[K]{now: now}
	if o.mu.all && o.mu.busy == 0 {
		if final || !o.mu.latest.After(now) {
			b.All, b.seq, b.More = true, o.mu.allSeq, true
			return b
		}
		b.Next = o.mu.latest
	}
	for looked := 0; len(o.mu.queue) > 0; looked++ {
		it := o.mu.queue[0]
		early := it.due.After(now)
		if early && !final {
			if b.Next.IsZero() || it.due.Before(b.Next) {
				b.Next = it.due
			}
			break
		}
		if len(b.Debts) == limit || looked == mostLooked {
			b.More = true
			break
		}
		heap.Pop(&o.mu.queue)
		if early && it.Kind == Fence {
			o.mu.n[Fence]--
			continue
		}
		b.Debts = append(b.Debts, it.taken(final))
	}
	return b
}

func (it *item[K]) taken(final bool) Debt[K] {
	d := it.Debt
	d.item, d.comesBack = it, !final
	return d
}

// Told notes that L2 was told of a debt. A Write stays if the key was written again.
func (o *Outbox[K]) Told(d Debt[K]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.standsLocked(d) {
		return
	}
	o.unqueueLocked(d.item)
	o.mu.n[d.Kind]--
	if d.Kind == Write {
		delete(o.mu.writes, d.Key)
		o.countLocked()
	}
}

// Failed notes that L2 failed for a debt. It puts one that Take has taken back, behind
// all whose time has come; one of a final batch is not taken again, but it counts. A
// debt that End has returned was never taken.
func (o *Outbox[K]) Failed(b Batch[K], d Debt[K]) {
	if !d.comesBack {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.standsLocked(d) || d.item.index >= 0 {
		return
	}
	d.item.due = b.now.Add(time.Nanosecond)
	o.queueLocked(d.item)
}

// standsLocked reports whether a debt is still as it was when it was handed out.
func (o *Outbox[K]) standsLocked(d Debt[K]) bool {
	if d.Kind != Write {
		return true
	}
	it := o.mu.writes[d.Key]
	return it != nil && it == d.item && it.busy == 0 && it.seq == d.seq
}

// Cleared notes that L2 was cleared for a Batch with All. All stays if a key was
// written since.
func (o *Outbox[K]) Cleared(b Batch[K]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.all && o.mu.busy == 0 && o.mu.allSeq == b.seq {
		o.mu.all = false
	}
	o.countLocked()
}

// queue is a heap of debts: by due, then in the order in which they were added.
type queue[K comparable] []*item[K]

func (q queue[K]) Len() int { return len(q) }

func (q queue[K]) Less(i, j int) bool {
	if d := q[i].due.Compare(q[j].due); d != 0 {
		return d < 0
	}
	return q[i].seq < q[j].seq
}

func (q queue[K]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue[K]) Push(x any) {
	it := x.(*item[K])
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue[K]) Pop() any {
	last := len(*q) - 1
	it := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	it.index = -1
	return it
}

// without returns the queue without the debts of a kind.
func (q queue[K]) without(kind Kind) queue[K] {
	var left queue[K]
	for _, it := range q {
		if it.Kind == kind {
			it.index = -1
			continue
		}
		it.index = len(left)
		left = append(left, it)
	}
	heap.Init(&left)
	return left
}
