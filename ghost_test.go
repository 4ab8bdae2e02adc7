package aside

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Caught: a ghost that forgets the key that came first, used or not.
func TestGhost(t *testing.T) {
	g := ghost{room: 2}
	var got []bool
	for _, k := range []uint64{1, 2, 1, 3, 1, 2, 1} {
		got = append(got, g.touch(k))
	}
	if want := []bool{false, false, true, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("hits %v, want %v", got, want)
	}
}

// While reads bypass, the sampled keys have L1 to themselves, and all of them fit.
// What they hit says nothing of what L1 would be for 64 times as many keys. With an
// L2 it says what that would be.
// Caught: counting those hits. Uniform reads of 200,000 keys, L1 with room for 10,000,
// were taken for 3 hits a miss (it is 0.05), and ended their bypass twice in 600,000
// reads. And leaving them out: L2 was never seen to have anything.
func TestSampleHasItsShareOfL1Only(t *testing.T) {
	const keys, room = 64_000, 1000 // so 1.6 % of the reads would hit
	measured := func(room int, l2 bool) (hitsL1, ratioL2 float64) {
		w := newWorth[int](false, func() uint64 { return 0 }, func() int { return room }, l2)
		w.sampling.Store(true)
		w.bypassing.Store(true)
		r, inL1 := rand.New(rand.NewPCG(1, 2)), map[int]bool{}
		for range 2_000_000 {
			k := r.IntN(keys)
			switch {
			case inL1[k]:
				w.hit(k)
			case w.sample(k):
				w.read(k, 0, false)
				inL1[k] = true
			}
		}
		s := w.stats()
		return s.HitsL1PerRead, s.HitRatioL2
	}
	if r, h := measured(room, true); r > 0.1 || h < 0.9 {
		t.Errorf("%.2f hits in L1 for each read that missed it, want about 0.02; %.2f of those are found in L2, want nearly all", r, h)
	}
	if r, h := measured(room, false); r > 0.1 || h > 0 {
		t.Errorf("without L2: %.2f hits in L1, want about 0.02; %.2f found in L2", r, h)
	}
	if r, _ := measured(keys, false); r < 1 {
		t.Errorf("%.2f hits in an L1 with room for all: the test shows nothing", r)
	}
}
