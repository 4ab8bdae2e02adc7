package aside

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// worth decides, from what it measures, whether the look-up pays that a read
// makes after it missed L1, and has reads go straight to the primary where it
// does not (bypass).
//
// With r hits in L1 for each such read, a hit ratio h of L2, a load of time D, a
// read that spends T in the tiers, its load not counted, and a fill of time F for
// each that loaded, the cache gains
//
//	r*D + h*D - T - (1-h)*F/2
//
// per read. A fill is off the caller's path, but it is work for the processors;
// half of it is counted. The means are exponentially weighted over some hundred
// reads. T leaves the read's own load out, rather than being compared with D, since
// loads vary by more than the tiers take.
//
// While reads bypass, two samples of them do not. A fixed share of the keys, by
// hash, has the cache as it would be, so that its ratios show what the others
// would have once they were cached (spatial sampling, as in Waldspurger et al.,
// "Efficient MRC Construction with SHARDS", FAST 2015). From the first bypass on
// those alone are counted, afterwards too: when it ends the other keys are cold,
// and their misses say nothing of what the cache is worth. While it lasts they
// have L1 almost to themselves, so there a hit counts only if an LRU of the sample's
// share of L1 would have had the key; another one counts for L2, where it would have
// been found. And a share of the reads, at random, brings keys that are read again
// and again into L1, which is asked first as ever.
type worth[K comparable] struct {
	off    bool
	seed   maphash.Seed
	hitsL1 func() uint64 // hits in L1 so far
	room   func() int    // of L1, in entries
	l2     bool

	bypassing atomic.Bool
	probing   atomic.Bool   // the next read is to measure a load
	share     atomic.Uint32 // of the samples: one in so many
	slow      atomic.Bool   // loads take so long that they are worth sharing
	expect    atomic.Uint32 // the Expectation of look-ups in L2
	sampling  atomic.Bool   // there was a bypass: only sampled keys count
	sampled   atomic.Uint64 // hits in L1 on sampled keys, while sampling

	mu struct {
		sync.Mutex
		reads    int    // counted since the last turn
		taken    int    // of these: when r was taken last
		hits     uint64 // in L1, when r was taken last
		hitsHere uint64 // in L1, since the last turn
		unloaded int    // reads counted since the last load
		toTurn   int    // reads to count before the next turn
		ghost    ghost  // of L1, while bypassing
		r, h     mean
		tiers    mean // T
		load     mean // D
		fill     mean // F
		turns    uint64
	}
}

const (
	// One key in so many, and one read, goes through the cache while the others
	// bypass it: the more the more a read through it costs, in loads, so that the
	// samples cost no more than a few hundredths of a load for each read. Powers
	// of two, so that the larger sample holds the smaller one.
	largestSample, smallestSample = 64, 512
	// A decision needs so many reads. The first one counts all of them: a cache that
	// is being filled loses at first, and may, until it has lost what lossAtFirst
	// loads take; but not where a read loses more than a quarter of a load. Later ones
	// count those of sampled keys, and whenever one follows upon the last too soon the
	// next takes twice as many.
	lossAtFirst, readsAtGreatLoss = 512, 256
	leastToTurn, mostToTurn       = 64, 4096
	// checkEvery is how often the gain is looked at, in reads that missed L1, and
	// while sampling checkHits, in those that hit it.
	checkEvery, checkHits = 64, 512
	// A loss of less than one part in material of a load is of no interest.
	material = 32
	// Where L2 has everything, loads are so rare that one has to be made, so
	// that its time is known: the first few soon, later ones seldom.
	loadsToKnow, probeSoon, probeSeldom = 8, 256, 16384
	// slowLoad is from when loads of one key are shared while bypassing. The
	// flight that this takes would be a good part of a quicker one.
	slowLoad = time.Millisecond
	// From the one hit ratio on a value is expected in L2, up to the other none.
	expectHits, expectMisses = 0.9, 0.1
)

// mean is an exponentially weighted one, and the plain one of the first values.
type mean struct {
	v float64
	n int
}

func (m *mean) add(x float64, over int) {
	m.n = min(m.n+1, over)
	m.v += (x - m.v) / float64(m.n)
}

const meanOver = 128

func newWorth[K comparable](off bool, hitsL1 func() uint64, room func() int, l2 bool) *worth[K] {
	w := &worth[K]{off: off, seed: maphash.MakeSeed(), hitsL1: hitsL1, room: room, l2: l2}
	w.mu.toTurn = leastToTurn
	w.share.Store(largestSample)
	w.mu.ghost.room = max(1, room()/largestSample)
	return w
}

// pass reports whether a read of key that missed L1 goes past the cache.
func (w *worth[K]) pass(key K) bool {
	if w.bypassing.Load() {
		return !w.sample(key) && rand.Uint32()&(w.share.Load()-1) != 0
	}
	return w.probing.Load() && w.probing.CompareAndSwap(true, false)
}

func (w *worth[K]) sample(key K) bool { return w.samples(w.hash(key)) }

func (w *worth[K]) hash(key K) uint64 { return maphash.Comparable(w.seed, key) }

func (w *worth[K]) samples(hash uint64) bool { return uint32(hash)&(w.share.Load()-1) == 0 }

// hit tells of a hit in L1.
func (w *worth[K]) hit(key K) {
	if !w.sampling.Load() {
		return
	}
	hash := w.hash(key)
	if !w.samples(hash) {
		return
	}
	if w.bypassing.Load() && w.mu.TryLock() { // if not: a key that many ask for at once is in any LRU
		had := w.mu.ghost.touch(hash)
		if !had {
			w.missedLocked(w.l2)
		}
		w.mu.Unlock()
		if !had {
			return
		}
	}
	if w.sampled.Add(1)%checkHits == 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.checkLocked() // or keys that always hit would never be heard of
	}
}

// missedLocked counts a read that missed L1, or would have.
func (w *worth[K]) missedLocked(foundInL2 bool) {
	found := 0.0
	if foundInL2 {
		found = 1
	}
	w.mu.h.add(found, meanOver)
	if w.mu.reads++; w.mu.reads%checkEvery == 0 {
		w.checkLocked()
	}
}

// loadedPast is loaded for a read that bypasses. One in eight is counted: what the
// lock costs, where all take it, is a good part of a quick load.
func (w *worth[K]) loadedPast(d time.Duration) {
	if !w.bypassing.Load() || rand.Uint32()%8 == 0 {
		w.loaded(d)
	}
}

// loaded tells how long a load of one key took, filled how long a fill.
func (w *worth[K]) loaded(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.unloaded = 0
	w.mu.load.add(float64(d), meanOver)
	w.slow.Store(w.mu.load.v >= float64(slowLoad))
}

func (w *worth[K]) filled(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.fill.add(float64(d), meanOver)
}

// read tells of a read that went through the tiers, and how long it took without
// its load.
func (w *worth[K]) read(key K, inTiers time.Duration, foundInL2 bool) {
	hash := w.hash(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.unloaded++
	if !w.sampling.Load() || w.samples(hash) {
		w.mu.tiers.add(float64(inTiers), meanOver)
		if w.bypassing.Load() {
			w.mu.ghost.touch(hash)
		}
		w.missedLocked(foundInL2)
	}
	w.expect.Store(uint32(w.expectationLocked()))
	if u := w.mu.unloaded; u%probeSeldom == 0 || w.mu.load.n < loadsToKnow && u%probeSoon == 0 {
		w.probing.Store(!w.off)
	}
}

func (w *worth[K]) expects() Expectation { return Expectation(w.expect.Load()) }

func (w *worth[K]) expectationLocked() Expectation {
	switch h := w.mu.h; {
	case h.n < checkEvery:
		return ExpectAnything
	case h.v >= expectHits:
		return ExpectValue
	case h.v <= expectMisses:
		return ExpectNothing
	}
	return ExpectAnything
}

func (w *worth[K]) checkLocked() {
	bypassing, sampling := w.bypassing.Load(), w.sampling.Load()
	hits := w.sampled.Load()
	if !sampling {
		hits = w.hitsL1()
	}
	w.mu.r.add(float64(hits-w.mu.hits)/float64(max(1, w.mu.reads-w.mu.taken)), meanOver/checkEvery)
	w.mu.hitsHere += hits - w.mu.hits
	w.mu.hits, w.mu.taken = hits, w.mu.reads
	if w.off || w.mu.load.n < loadsToKnow {
		return
	}
	gain, least := w.gainLocked(), w.mu.load.v/material
	enough, seen := w.mu.toTurn, w.mu.reads
	switch {
	case sampling:
		seen += int(w.mu.hitsHere)
	case gain < -w.mu.load.v/4:
		enough = readsAtGreatLoss
	case gain < 0:
		enough = int(lossAtFirst * w.mu.load.v / -gain)
	}
	if seen < enough || bypassing && gain < least || !bypassing && gain > -least {
		return
	}
	// What was decided a moment ago was wrong, or hangs in the balance.
	if sampling && w.mu.reads < 8*w.mu.toTurn {
		w.mu.toTurn = min(2*w.mu.toTurn, mostToTurn)
	} else {
		w.mu.toTurn = leastToTurn
	}
	if !sampling {
		w.mu.hits = w.sampled.Load()
		w.sampling.Store(true)
	}
	w.mu.reads, w.mu.taken, w.mu.hitsHere = 0, 0, 0
	w.mu.turns++
	share := uint32(largestSample)
	for ; share < smallestSample && float64(share)*w.mu.load.v < largestSample*w.mu.tiers.v; share *= 2 {
	}
	w.share.Store(share)
	w.mu.ghost = ghost{room: max(1, w.room()/int(share))}
	w.bypassing.Store(!bypassing)
}

// gainLocked is what the cache gains per read that misses L1, in nanoseconds.
func (w *worth[K]) gainLocked() float64 {
	m := &w.mu
	return (m.r.v+m.h.v)*m.load.v - m.tiers.v - (1-m.h.v)*m.fill.v/2
}

// Worth is what a cache has measured of its own use, and what it makes of it:
// see Options.NoBypass. The figures are means over the last few hundred reads, and
// from the first bypass on those of a sample of the keys, which is always cached.
type Worth struct {
	Bypassing bool   // reads that miss L1 go straight to the primary, but for samples
	Turns     uint64 // changes of Bypassing
	Bypassed  uint64 // reads that did

	HitsL1PerRead float64       // hits in L1 for each read that missed it
	HitRatioL2    float64       // of the reads that missed L1
	Tiers         time.Duration // that a read which missed L1 spends in the tiers, its load not counted
	Load          time.Duration // of a load, its wait for a place included
	Fill          time.Duration // of storing what was loaded in L2
	// Gain is how much time the cache saves per read that misses L1, the hits
	// in L1 that come of it included. Negative: it costs time.
	Gain time.Duration
}

func (w *worth[K]) stats() Worth {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Worth{
		Bypassing: w.bypassing.Load(), Turns: w.mu.turns,
		HitsL1PerRead: w.mu.r.v, HitRatioL2: w.mu.h.v,
		Tiers: time.Duration(w.mu.tiers.v), Load: time.Duration(w.mu.load.v), Fill: time.Duration(w.mu.fill.v),
	}
	if w.mu.load.n > 0 && w.mu.tiers.n > 0 {
		s.Gain = time.Duration(w.gainLocked())
	}
	return s
}
