package l1

import (
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/asidecache/aside/internal/tags"
)

// Life says how long an entry lives.
type Life struct {
	TTL time.Duration // for how long it is fresh
	// Due is when it is due for a refresh: a hit after that asks for one. It is before
	// TTL; 0, or not before: never.
	Due time.Duration
	// Keep: it is kept for Config.Keep longer, as a stale one.
	Keep  bool
	Marks *tags.Marks // what else is known of the entry, such as its tags
}

// The times of an entry are packed into Entry.meta, so that they take 8 bytes and a hit
// compares one number. From the highest bits:
//
//	39  the moment from which a hit needs attention, since the entry is due or not fresh
//	21  from then until it is not fresh: 5 bits say by how much the other 16 are shifted
//	 1  kept: it ends Config.Keep later, and is stale until then
//	 1  negative
//	 2  in the table: how often it was hit, at most 3. Of what Get returns: stale, and due
//
// Moments are counted from Tier.clock.began in units of some 1 ms. What is due long before
// the end of its life is fresh for up to 1/65536 of that time less.
const (
	flagDue = 1 << iota
	flagStale
	flagNegative
	flagKept

	flagBits  = 4
	lastBits  = 16
	shiftBits = 5
	momentAt  = flagBits + lastBits + shiftBits
	maxMoment = 1<<(64-momentAt) - 1
	unit      = 20 // a moment is the clock's time >> unit
	lastMask  = 1<<lastBits - 1
	shiftMask = 1<<shiftBits - 1
	usedMask  = flagDue | flagStale
)

// Negative: the primary has no such record; Value is the zero value.
func (e Entry[V]) Negative() bool { return e.meta&flagNegative != 0 }

// Plain: neither Negative nor Due nor Stale, which is what most hits are.
func (e Entry[V]) Plain() bool { return e.meta&(flagNegative|flagDue|flagStale) == 0 }

// Due: this hit, and no other at present, is to begin a refresh.
func (e Entry[V]) Due() bool { return e.meta&flagDue != 0 }

// Stale: the entry is past its TTL.
func (e Entry[V]) Stale() bool { return e.meta&flagStale != 0 }

// attention is the moment from which a hit needs attention, fresh that from which the
// entry is not fresh.
func (e Entry[V]) attention() uint64 { return e.meta >> momentAt }

func (e Entry[V]) fresh() uint64 {
	return e.attention() + e.meta>>flagBits&lastMask<<(e.meta>>(flagBits+lastBits)&shiftMask)
}

// end is the moment at which the entry ends, if stale ones are kept for keep.
func (e Entry[V]) end(keep uint64) uint64 {
	if e.meta&flagKept != 0 {
		return e.fresh() + keep
	}
	return e.fresh()
}

// pack makes a meta.
func pack(attention, fresh, flags uint64) uint64 {
	attention = min(attention, maxMoment)
	last := min(fresh, maxMoment) - attention
	shift := uint64(max(0, bits.Len64(last)-lastBits))
	return attention<<momentAt | shift<<(flagBits+lastBits) | last>>shift<<flagBits | flags
}

// moment is the moment of a time of the clock.
func moment(now int64) uint64 { return uint64(now) >> unit }

func (t *Tier[K, V]) moment() uint64 { return moment(t.clock.now()) }

// moments is how many there are in a duration, at least one.
func moments(d time.Duration) uint64 { return max(1, (uint64(max(0, d))+1<<unit-1)>>unit) }

func (t *Tier[K, V]) end(e Entry[V]) uint64 { return e.end(moments(t.keep)) }

// metaOf makes the meta of an entry that is stored now.
func (t *Tier[K, V]) metaOf(negative bool, life Life) uint64 {
	now := t.moment()
	fresh := min(now+moments(life.TTL), maxMoment)
	attention, flags := fresh, uint64(0)
	if life.Due > 0 && life.Due < life.TTL {
		attention = now + moments(life.Due)
	}
	if negative {
		flags = flagNegative
	} else if life.Keep && t.keep > 0 {
		flags = flagKept
	}
	return pack(attention, fresh, flags)
}

// aged looks at a hit that needs attention. ok is false if it is none.
func (t *Tier[K, V]) aged(n *node[K, V], e Entry[V], at uint64) (_ Entry[V], ok bool) {
	switch fresh := e.fresh(); {
	case at >= t.end(e):
		t.remove(n)
	case at < fresh:
		if n.claim(e, at, fresh) {
			e.meta |= flagDue
		}
		return e, true
	case at-fresh < moments(t.revalidate) && t.revalidate > 0:
		e.meta |= flagStale | flagDue
		return e, true
	}
	return Entry[V]{}, false
}

// claim makes the caller the one that refreshes an entry: for others it is not due
// before half of the time that is left has passed. If the entry is gone by then, so be it.
func (n *node[K, V]) claim(e Entry[V], at, fresh uint64) (mine bool) {
	left := fresh - at
	again := at + max(1, left/2+uint64(rand.Int64N(int64(left/8+1))))
	claimed := pack(min(again, fresh), fresh, e.meta&(flagKept|flagNegative))
	for {
		meta := n.meta.Load()
		if meta&^usedMask != e.meta {
			return false
		}
		if n.meta.CompareAndSwap(meta, claimed|meta&usedMask) {
			return true
		}
	}
}

// used is how often the entry was hit, as far as the policy wants to know.
func (n *node[K, V]) used() uint64 { return n.meta.Load() & usedMask }

// use sets it. A hit that comes meanwhile may not count.
func (n *node[K, V]) use(times uint64) {
	for {
		meta := n.meta.Load()
		if n.meta.CompareAndSwap(meta, meta&^usedMask|times) {
			return
		}
	}
}

func (n *node[K, V]) ended(at, keep uint64) bool { return at >= n.entry().end(keep) }

// Stale returns what there is for key, also if it is past its TTL, and by how much it is.
func (t *Tier[K, V]) Stale(key K) (e Entry[V], past time.Duration, ok bool) {
	n := t.find(key)
	if n == nil {
		return e, 0, false
	}
	e, at := n.entry(), t.moment()
	if at >= t.end(e) || !t.good(n) {
		return Entry[V]{}, 0, false
	}
	if fresh := e.fresh(); at >= fresh {
		e.meta |= flagStale
		past = time.Duration((at - fresh) << unit)
	}
	return e, past, true
}
